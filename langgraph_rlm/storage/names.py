"""Names: warns of contexts that are names of files where their content may be meant. Reads none."""

import os
import warnings

from langgraph_rlm.storage.json_types import is_array

MOST_OF_A_PATH = 1000
"""Characters; a longer text is not the name of a file."""

MOST_NAMES = 20
"""Items of a list that are looked up: the first ones stand for all."""


def warn_of_file_names(context: object) -> None:
    """Warn if a text, or each text of a list, is the name of a file, as `glob.glob` gives them."""
    if _is_file_name(context):
        warnings.warn(
            f"The context is the text {context!r} itself, though there is a file of that name: "
            f"give Path({context!r}) to read it.",
            UserWarning,
            stacklevel=3,
        )
    elif is_array(context) and context and all(map(_is_file_name, context[:MOST_NAMES])):
        warnings.warn(
            f"The context is a list of texts such as {context[0]!r}, though there are files of "
            "these names: give [Path(name) for name in names] to read them.",
            UserWarning,
            stacklevel=3,
        )


def _is_file_name(value: object) -> bool:
    return isinstance(value, str) and len(value) < MOST_OF_A_PATH and os.path.exists(value)
