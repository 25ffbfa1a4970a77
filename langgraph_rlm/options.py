"""Options: the type of each argument of `create_rlm` and `ChatRLM`, checked before anything is made
of it. Makes nothing.

A wrong type would otherwise fail far from its cause, or never: a message as `prompt` fails in the
first model call, and a LangGraph store given as the name of a folder would become a folder.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from pydantic import BaseModel
from typing_extensions import is_typeddict

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.errors import ConfigurationError, shown
from langgraph_rlm.models.caching import CACHE_LIVES
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.tools.approvals import INTERRUPT_MODES


@dataclass(frozen=True)
class Option:
    """What one option takes."""

    fits: Callable[[Any], bool]
    wanted: str
    """Completes the sentence `NAME=VALUE must be ...`."""
    hint: Callable[[Any], str] = lambda _: ""
    """What to do about a value that does not fit; may be empty."""


def check_options(given: Mapping[str, Any]) -> None:
    """Check options by their names; None is an option that was left out, and names without a row in
    the table pass.

    Raises:
        ConfigurationError: a value is of a wrong type. The message says what it must be.
    """
    for name, value in given.items():
        option = OPTIONS.get(name)
        if option is None or value is None or option.fits(value):
            continue
        parts = [f"{name}={shown(value)} must be {option.wanted}.", option.hint(value)]
        raise ConfigurationError(" ".join(part for part in parts if part))


def unknown_option(owner: str, name: str, known: Collection[str]) -> ConfigurationError:
    """The error for an option that is not there, with the nearest names that are.

    Args:
        owner: who was given it, such as `ChatRLM`.
        name: the option.
        known: the options there are.
    """
    near = get_close_matches(name, known, n=3)
    told = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known)}."
    return ConfigurationError(f"{owner} has no option {name!r}. {told}")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_collection(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _has_mappings(value: Any) -> bool:
    return is_dict(value) and all(_is_mapping(each) for each in value.values())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_interrupt_mode(value: Any) -> bool:
    return value in INTERRUPT_MODES


def _is_cache_life(value: Any) -> bool:
    return value in CACHE_LIVES


def _is_limits(value: Any) -> bool:
    return isinstance(value, Limits | Mapping)


def _is_checkpointer(value: Any) -> bool:
    return isinstance(value, BaseCheckpointSaver | bool)


def _is_store(value: Any) -> bool:
    return isinstance(value, BaseStore)


def _is_schema(value: Any) -> bool:
    if not isinstance(value, type):
        return False
    kind: Any = value
    return issubclass(kind, BaseModel) or is_typeddict(kind) or is_dataclass(kind)


def _is_blob_store(value: Any) -> bool:
    return isinstance(value, str | Path | BlobStore) or _is_store(value)


def _prompt_hint(value: Any) -> str:
    return "Give the message's text: prompt=message.text." if isinstance(value, BaseMessage) else ""


def _store_hint(value: Any) -> str:
    if isinstance(value, str | Path | BlobStore):
        return "Where contexts and long values are kept is blob_store=."
    return ""


OPTIONS: Mapping[str, Option] = {
    "models": Option(_is_mapping, "a dict of models by name: {'cheap': 'openai:gpt-5-mini'}"),
    "model_options": Option(
        _has_mappings, "a dict of dicts by part: {'sub_model': {'reasoning_effort': 'low'}}"
    ),
    "fallbacks": Option(
        _is_mapping, "a dict of lists of models by part: {'model': ['anthropic:claude-opus-5']}"
    ),
    "tools": Option(_is_list, "a list of LangChain tools and functions"),
    "child_tools": Option(_is_list, "a list of tools, or of names of the root's tools"),
    "external_tools": Option(
        _is_list, "a list of schemas: OpenAI functions, JSON schemas, classes"
    ),
    "interrupt_on": Option(_is_mapping, "a dict by tool name: {'send_email': True}"),
    "interrupt_mode": Option(_is_interrupt_mode, " or ".join(map(repr, INTERRUPT_MODES))),
    "not_idempotent": Option(_is_collection, "a list of names of tools"),
    "limits": Option(_is_limits, "a Limits, or a dict of some of its fields"),
    "prices": Option(
        _is_mapping, "a dict by model name: {'my-model': {'input': 0.5, 'output': 2}}"
    ),
    "skills": Option(_is_list, "a list of folders: ['skills/', 'team/pdf-tables']"),
    "prompt": Option(_is_text, "a str", _prompt_hint),
    "window_tokens": Option(_is_count, "a whole number of tokens, at least 1"),
    "compact_at": Option(_is_share, "a share of the window, above 0 and at most 1"),
    "prompt_caching": Option(_is_cache_life, "'5m', '1h' or None"),
    "checkpointer": Option(
        _is_checkpointer, "a LangGraph checkpointer, such as InMemorySaver(), or a bool"
    ),
    "store": Option(_is_store, "a LangGraph BaseStore, such as InMemoryStore()", _store_hint),
    "blob_store": Option(_is_blob_store, "a folder, a URL, a LangGraph BaseStore or a BlobStore"),
    "context_schema": Option(_is_schema, "a dataclass, a pydantic model or a TypedDict"),
    "name": Option(_is_text, "a str"),
}
