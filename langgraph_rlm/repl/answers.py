"""Answers: what the host says to a call of code, at once or as a request. Calls nobody itself.

Reads and the end of a run are answered at once; a question to models or children becomes a
`Request`, which the graph dispatches.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from langgraph_rlm.errors import ContextError, shown
from langgraph_rlm.log.python import names_a_variable
from langgraph_rlm.log.text import answer_text, plain
from langgraph_rlm.repl.base import Answer, HostCall, Raised, RaisedType, Returned
from langgraph_rlm.repl.host import Host, OpenCell
from langgraph_rlm.repl.requests import Request
from langgraph_rlm.schemas.answers import code_schema
from langgraph_rlm.storage.context import ContextHandle, Facts, HandleDict
from langgraph_rlm.storage.first_reads import reader
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.json_types import is_array
from langgraph_rlm.storage.pieces import byte_ranges_of
from langgraph_rlm.storage.ranges import Ranges
from langgraph_rlm.storage.reads import Reader
from langgraph_rlm.storage.references import Names, Reference
from langgraph_rlm.storage.skills import is_file_of_skill


class BadCall(Exception):
    """Code called a host function wrongly.

    Raised in the guest as the built-in exception `type`, and never logged.
    """

    def __init__(self, type: RaisedType, message: str) -> None:
        super().__init__(message)
        self.type: RaisedType = type


Made = Callable[[], Mapping[str, Facts]]


@dataclass(frozen=True)
class Called:
    """One call of a host function, with its arguments bound to their names."""

    name: str
    kind: str
    """The kind of the `HostFunction`."""
    arguments: dict[str, Any]
    cell: OpenCell
    handles: Mapping[str, ContextHandle]
    """The contexts that code may read, by name."""
    host: Host
    source: str
    """The call in the guest's own words; empty where they are not known."""
    made: Made = dict[str, Facts]
    """Tells what is known of the files that earlier cells have made, by name."""
    check: Callable[[], None] = lambda: None
    """Raises once the time of the cell is up."""


def bound(signature: Callable[..., None], call: HostCall, rules: int) -> dict[str, Any]:
    """Bind the arguments of a call to their names, with defaults filled in.

    Args:
        signature: a Python function of the same signature.
        call: of the guest.
        rules: of its turn. By the rules 1, errors named the module `typing`.

    Raises:
        BadCall: where Python would raise a TypeError.
    """
    known = inspect.signature(signature)
    try:
        found = known.bind(*call.args, **call.kwargs)
    except TypeError as error:
        shown = str(known.replace(return_annotation=inspect.Signature.empty))
        if rules > 1:
            shown = shown.replace("typing.", "")
        raise BadCall("TypeError", f"{call.function}{shown}: {error}") from None
    found.apply_defaults()
    return found.arguments


# Reads: answered from the stored text


Reading = Callable[[Reader, dict[str, Any]], tuple[Any, Ranges]]
"""Takes a reader of the context and the call's other arguments; gives the value for code, and the
byte ranges that it has shown."""


def read(reading: Reading) -> Callable[[Called], Answer]:
    """Make the answer of a read."""

    def answer(called: Called) -> Answer:
        arguments = dict(called.arguments)
        handle = context_named(arguments.pop("of"), called)
        try:
            found = _reader(handle, called)
            value, ranges = reading(found, arguments)
        except (ContextError, ValueError, TypeError) as error:
            raise BadCall("ValueError", f"{called.name}: {error}") from None
        if ranges:
            called.cell.note_read(handle.digest, ranges)
        return Returned(value)

    return answer


def _reader(handle: ContextHandle, called: Called) -> Reader:
    return reader(handle, called.host.blobs, called.cell.rules, called.check)


def context_named(of: Any, called: Called) -> ContextHandle:
    """Give the context that `of=` names. Raises `BadCall`."""
    if isinstance(of, str) and of in called.handles:
        return called.handles[of]
    names = [name for name in called.handles if not is_file_of_skill(name)]
    known = ", ".join(names) or "none"
    raise BadCall("ValueError", f"{called.name}: of={of!r} is no context. There are: {known}.")


# Models and children: these become requests


def ask(called: Called) -> Request:
    """Make a request for models or, if RLMs may have children, for RLMs. Raises `BadCall`."""
    name, given = called.name, called.arguments
    model = _model(called)
    if given.get("ranges") is not None:
        return _ask_about_ranges(called, model)
    prompts = _prompts(name, given)
    form = _form(name, given["schema"])
    payload: dict[str, Any] = {"prompts": prompts, "model": model, **form}
    payload |= _images(called, len(prompts))
    if called.kind == "llm":
        return Request("llm", name, payload, len(prompts))
    contexts = _contexts(name, given, len(prompts))
    if called.host.is_recursive:
        payload["contexts"] = [_by_reference(called, context) for context in contexts]
        return Request("rlm", name, payload, len(prompts))
    pairs = zip(prompts, contexts, strict=True)
    rules = called.cell.rules
    payload["prompts"] = [_with_context(prompt, context, rules) for prompt, context in pairs]
    return Request("llm", name, payload, len(prompts))


def _ask_about_ranges(called: Called, model: str | None) -> Request:
    """Make a request for models that names parts of a context, whose text is put behind the prompts
    when they are asked: neither the log nor the store has it once more."""
    name, given = called.name, called.arguments
    handle = context_named(given["of"], called)
    items = [given["ranges"]] if "prompt" in given else given["ranges"]
    if not is_array(items):
        raise BadCall("TypeError", f"{name}: ranges must be a list, as chunk_ranges gives it.")
    asked = given.get("prompts")
    prompts = [_prompt(name, 0, asked)] if isinstance(asked, str) else _prompts(name, given)
    if isinstance(asked, list) and len(prompts) != len(items):
        raise BadCall(
            "ValueError",
            f"{name}: {len(items):,} ranges and {len(prompts):,} prompts: give one prompt for all "
            "ranges as a str, or one for each as a list.",
        )
    try:
        spans = byte_ranges_of(_reader(handle, called), items)
    except (ContextError, ValueError) as error:
        raise BadCall("ValueError", f"{name}: {error}") from None
    called.cell.note_read(handle.digest, chain.from_iterable(spans))
    payload: dict[str, Any] = {"prompts": prompts, "model": model, **_form(name, given["schema"])}
    payload |= {"of": handle.digest, "ranges": spans, **_images(called, len(items))}
    return Request("llm", name, payload, len(items))


def _model(called: Called) -> str | None:
    model, known = called.arguments["model"], called.host.models
    if model is None or model in known:
        return model
    names = ", ".join(map(repr, known)) or "none: leave it out"
    raise BadCall(
        "ValueError", f"{called.name}: model={model!r} is not known. Known models: {names}."
    )


def _prompts(name: str, given: Mapping[str, Any]) -> list[str]:
    prompts = [given["prompt"]] if "prompt" in given else given["prompts"]
    if not is_array(prompts):
        kind = type(prompts).__name__
        raise BadCall("TypeError", f"{name}: prompts must be a list of str, got {kind}.")
    return [_prompt(name, index, prompt) for index, prompt in enumerate(prompts)]


def _prompt(name: str, index: int, prompt: Any) -> str:
    if not isinstance(prompt, str):
        kind = type(prompt).__name__
        raise BadCall(
            "TypeError",
            f"{name}: prompt {index} must be a str, got {kind}. Build it with an f-string.",
        )
    if not prompt.strip():
        raise BadCall("ValueError", f"{name}: prompt {index} is empty.")
    return prompt


def _form(name: str, schema: Any) -> dict[str, str]:
    """Give the part of a payload that states the form of the answer; empty for text."""
    if schema is None:
        return {}
    try:
        return {"schema": code_schema(schema)}
    except ValueError as error:
        raise BadCall("ValueError", f"{name}: schema: {error}.") from None


def _images(called: Called, count: int) -> dict[str, list[list[Reference]]]:
    """Give the part of a payload that says what is shown with each prompt; empty for nothing."""
    given = called.arguments.get("images")
    if given is None:
        return {}
    lists = [given] if "prompt" in called.arguments else given
    if not is_array(lists) or len(lists) != count:
        raise BadCall(
            "ValueError",
            f"{called.name}: images must be a list of {count}, one list of names for each prompt.",
        )
    names = Names(called.handles, called.host.blobs, called.made())
    found = [_shown(called.name, each, names) for each in lists]
    return {"images": found} if any(found) else {}


def _shown(name: str, given: Any, names: Names) -> list[Reference]:
    if given is None:
        return []
    listed = [given] if isinstance(given, str) else given
    if not is_array(listed) or not all(isinstance(each, str) for each in listed):
        told = f"{name}: images must be a list of names such as 'context_1', got {shown(given)}."
        raise BadCall("TypeError", told)
    try:
        return names.all([*listed])
    except ValueError as error:
        raise BadCall("ValueError", f"{name}: images: {error}") from None


def _contexts(name: str, given: Mapping[str, Any], count: int) -> list[Any]:
    """Give one context for each prompt; None for a prompt without one."""
    contexts = [given["context"]] if "context" in given else given["contexts"]
    if contexts is None:
        return [None] * count
    if is_array(contexts) and len(contexts) == count:
        return [*contexts]
    raise BadCall("ValueError", f"{name}: contexts must be a list of {count}, one for each prompt.")


def _by_reference(called: Called, value: Any) -> HandleDict | None:
    if value is None:
        return None
    storable = value if isinstance(value, str) else plain(value)
    try:
        return ingest(storable, called.host.blobs).as_dict()
    except ContextError as error:
        raise BadCall("ValueError", f"{called.name}: {error}") from None


def _with_context(prompt: str, context: Any, rules: int) -> str:
    """Put a context into the prompt, where there are no children to take it."""
    if context is None:
        return prompt
    return f"{prompt}\n\n{answer_text(context, rules)}"


# The end of a run


def final(called: Called) -> Answer:
    """End the cell at once with its answer.

    SystemExit is raised in the guest, because it passes the `except Exception` of model code.
    """
    value, cell = called.arguments["value"], called.cell
    if not cell.ended:
        cell.ended = True
        if called.name == "FINAL_VAR" and _is_name(value, called):
            cell.final_name = value.strip()
        else:
            cell.final = value
    return Raised("SystemExit", "the run ends with this answer")


def _is_name(value: Any, called: Called) -> bool:
    """Tell whether what FINAL_VAR was given is the name of a variable, or the answer itself.

    By the rules 1, each word was a name.
    """
    if not isinstance(value, str) or not value.strip().isidentifier():
        return False
    return called.cell.rules == 1 or names_a_variable(called.source, called.cell.code)
