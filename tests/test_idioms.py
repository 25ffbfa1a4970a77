"""Idioms: which of the programs that models write every day each sandbox runs, to the last one."""

import os
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from langgraph_rlm.errors import RLMError

from .idioms import IDIOMS, SANDBOXES, not_run, opened

pytestmark = pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")

LACKING = {
    "monty": """
        syntax: del item
        syntax: del name
        syntax: del slice
        syntax: globals
        syntax: dir
        syntax: callable
        syntax: bound method
        syntax: method of type
        syntax: bytearray
        classes: inheritance
        classes: property
        classes: classmethod
        classes: staticmethod
        classes: len and getitem
        classes: lt for sorting
        classes: vars
        classes: enum
        classes: abstract
        generators: yield
        generators: yield from
        generators: kept generator
        context managers: contextmanager
        context managers: suppress
        context managers: redirect
        strings: translate
        sorting: by value
        exceptions: own exception
        exceptions: raise from
        exceptions: args
        exceptions: traceback
        exceptions: groups
        typing and dataclasses: alias
        typing and dataclasses: TypedDict
        typing and dataclasses: NamedTuple
        regular expressions: verbose
        collections: OrderedDict
        collections: ChainMap
        functools and operator: cmp_to_key
        functools and operator: function name
        json: default
        json: literal_eval
        numbers: fractions
        numbers: bits
        dates: week number
        dates: zone
        async: threads
        other modules: difflib
        other modules: pprint
        other modules: uuid
        other modules: logging
        other modules: warnings
        other modules: types
        other modules: xml
        numpy and pandas: numpy mean
        numpy and pandas: numpy shape
        numpy and pandas: pandas group
        numpy and pandas: pandas csv
        files: write and read
        files: pathlib
        files: json file
        files: temporary
        files: sqlite
    """,
    "python": "",
    "local": "",
}
"""The idioms that a sandbox does not run: anything that changes here is seen."""


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(IDIOMS) >= 109
    assert len({idiom.id for idiom in IDIOMS}) == len(IDIOMS)


def test_each_prints_in_cpython_what_the_table_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for idiom in IDIOMS:
        if idiom.is_at_hand:
            printed = StringIO()
            with redirect_stdout(printed):
                exec(idiom.program, {"__name__": "cell"})
            assert printed.getvalue() == idiom.printed, idiom.id
    assert os.listdir(tmp_path)  # those of files wrote theirs


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_what_a_sandbox_does_not_run_is_exactly_this(sandbox: str) -> None:
    try:
        backend = opened(sandbox)
    except RLMError as error:
        pytest.skip(f"{sandbox} does not start here: {error}")
    idioms = [idiom for idiom in IDIOMS if idiom.is_at_hand or sandbox == "monty"]
    lacking = [idiom.id for idiom, _ in not_run(backend, idioms)]
    backend.close()
    assert lacking == [line.strip() for line in LACKING[sandbox].splitlines() if line.strip()]
