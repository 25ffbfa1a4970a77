"""Conversation: the root model's messages, rendered from the log alone. A prefix once sent is never rewritten."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.log.entries import CellEntry, LogEntry, QuestionEntry, TurnEntry
from langgraph_rlm.log.places import (
    cell_at,
    cell_place,
    compactions,
    context_names,
    handles_of,
    questions_of,
    refusal,
    turn_at,
    turn_count,
)
from langgraph_rlm.log.reply import assigned_names, reply_of
from langgraph_rlm.log.text import clip
from langgraph_rlm.nodes.native_calls import native_messages
from langgraph_rlm.prompts import (
    CellDoc,
    ContextDoc,
    FunctionDoc,
    ToolDoc,
    best_answer_prompt,
    nudge_prompt,
    outcome_prompt,
    question_prompt,
    refused_prompt,
    summary_prompt,
    system_prompt,
)
from langgraph_rlm.repl.host import is_loaded
from langgraph_rlm.repl.host_functions import RESERVED, descriptions
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState
from langgraph_rlm.storage.blobs import BlobStore, Text

BRIEF_CHARS = 300
"""Of a question whose turns are summed up."""

_system_text = lru_cache(maxsize=64)(system_prompt)
_question_text = lru_cache(maxsize=64)(question_prompt)


def conversation(state: RLMState, rlm: RLMRuntime, *, limit: str | None = None) -> list[AnyMessage]:
    """Everything that the root model is sent. Blocks: it may read the blob store.

    Args:
        limit: the limit that was reached, when the model is to give its best answer so far.
    """
    log, questions = state["log"], questions_of(state["log"])
    summaries = compactions(log)
    start = summaries[-1]["turn"] if summaries else 0
    messages: list[AnyMessage] = [SystemMessage(_system(state, rlm))]
    for index, question in enumerate(questions):
        until = questions[index + 1]["turn"] if index + 1 < len(questions) else turn_count(log)
        is_summed_up = index + 1 < len(questions) and until <= start
        messages.append(HumanMessage(_question(questions[: index + 1], rlm, brief=is_summed_up)))
        if question["turn"] < start <= until:
            summary = rlm.blobs.get_text(summaries[-1]["summary"])
            messages.append(HumanMessage(summary_prompt(summary=summary, turns=start)))
        for number in range(max(question["turn"], start), until):
            if (reached := turn_at(log, number)["limit"]) is not None:
                messages.append(_best_answer(reached, state, rlm))
            messages += _turn(number, number - question["turn"] + 1, log, rlm)
    if limit is not None:
        messages.append(_best_answer(limit, state, rlm))
    return merged(messages)


def _turn(
    number: int, iteration: int, log: Mapping[str, LogEntry], rlm: RLMRuntime
) -> list[AnyMessage]:
    """A reply, and what came of it."""
    turn = turn_at(log, number)
    called = native_messages(number, turn, log, rlm)
    reply = AIMessage(rlm.blobs.get_text(turn["reply"]), tool_calls=[call for call, _ in called])
    outcome = "" if turn["limit"] else _outcome(number, iteration, turn, log, rlm)
    return [reply, *(result for _, result in called), *([HumanMessage(outcome)] if outcome else [])]


def _best_answer(limit: str, state: RLMState, rlm: RLMRuntime) -> HumanMessage:
    reason = f"Limit {limit} of {getattr(rlm.limits, limit)} reached."
    return HumanMessage(
        best_answer_prompt(reason=reason, structured=bool(state.get("answer_schema")))
    )


def merged(messages: list[AnyMessage]) -> list[AnyMessage]:
    """Neighbours of one role become one message: some chat templates refuse two in a row."""
    merged: list[AnyMessage] = []
    for message in messages:
        if merged and isinstance(message, HumanMessage) and isinstance(merged[-1], HumanMessage):
            merged[-1] = HumanMessage(f"{merged[-1].text}\n\n{message.text}")
        else:
            merged.append(message)
    return merged


def _system(state: RLMState, rlm: RLMRuntime) -> str:
    instructions, schema = state.get("instructions"), state.get("answer_schema")
    given = [rlm.prompt, rlm.blobs.get_text(instructions) if instructions else None]
    limits = rlm.limits
    return _system_text(
        depth=state.get("depth", 0),
        functions=_functions(limits, rlm.recursive(state.get("depth", 0))),
        tools=tuple(
            ToolDoc(tool.signature, tool.description)
            for tool in rlm.toolset.at(state.get("depth", 0)).values()
        ),
        models=tuple(sorted(rlm.models)),
        interpreter=rlm.interpreter,
        limits=limits,
        instructions="\n\n".join(text for text in given if text) or None,
        schema=rlm.blobs.get_text(schema) if schema else None,
    )


@lru_cache(maxsize=8)
def _functions(limits: Limits, is_recursive: bool) -> tuple[FunctionDoc, ...]:
    """What the prompt says of the host functions."""
    rows = descriptions(limits, is_recursive=is_recursive)
    return tuple(FunctionDoc(row.kind, row.shown, row.text) for row in rows)


def _question(questions: Sequence[QuestionEntry], rlm: RLMRuntime, *, brief: bool) -> str:
    """What a question's message says; in brief once all of its turns are summed up, or long questions would fill the window."""
    handles, names = handles_of(questions), context_names(questions)
    shown: list[ContextDoc] = []
    for name in names:
        handle = handles[name]
        known_as, also = ("context", name) if name == names[0] else (name, None)
        is_bound, preview = (
            is_loaded(handle, rlm.limits),
            "" if brief else rlm.preview(handle),
        )
        shown.append(
            ContextDoc(known_as, handle.kind, handle.length, handle.items, is_bound, preview, also)
        )
    question = rlm.blobs.get_text(questions[-1]["question"])
    if brief:
        question = clip(question, limit=BRIEF_CHARS)
    return _question_text(question=question, contexts=tuple(shown), first=len(questions) == 1)


def _outcome(
    number: int, iteration: int, turn: TurnEntry, log: Mapping[str, LogEntry], rlm: RLMRuntime
) -> str:
    """What the model sees after its turn: what its cells did, or why nothing was run."""
    reply = reply_of(turn, rlm.blobs)
    entries = [cell_at(log, cell_place(number, index)) for index in range(len(reply.steps))]
    ran = tuple(
        _cell(index, entry, rlm.blobs) for index, entry in enumerate(entries) if entry is not None
    )
    notices = [*_rebound(reply.cells)]
    if reply.problem is not None:
        notices.append(nudge_prompt(reply.problem))
    if reply.final is not None and any(cell.outcome != "ok" for cell in ran):
        notices.append(nudge_prompt("final_failed"))
    if (refused := refusal(log, number)) is not None:
        notices.append(refused_prompt(error=rlm.blobs.get_text(refused["error"])))
    if not ran:
        return "\n\n".join(notices) or (
            "" if turn.get("tool_calls") or reply.final else nudge_prompt("prose")
        )
    limits = rlm.limits
    return _rendered(ran, tuple(notices), iteration, limits.max_iterations, limits.max_cell_seconds)


@lru_cache(maxsize=4096)
def _rendered(
    cells: tuple[CellDoc, ...],
    notices: tuple[str, ...],
    iteration: int,
    max_iterations: int,
    max_cell_seconds: float,
) -> str:
    """Every turn renders all turns before it: each is rendered once."""
    return outcome_prompt(
        cells=cells,
        notices=notices,
        iteration=iteration,
        max_iterations=max_iterations,
        max_cell_seconds=max_cell_seconds,
    )


def _cell(index: int, entry: CellEntry, blobs: BlobStore) -> CellDoc:
    def text(of: Text | None) -> str | None:
        return None if of is None else blobs.get_text(of)

    return CellDoc(
        index + 1,
        text(entry["stdout"]) or "",
        text(entry["value"]),
        text(entry["error"]),
        entry["outcome"],
    )


def _rebound(cells: Sequence[str]) -> Iterator[str]:
    names = sorted(
        {name for code in cells for name in assigned_names(code)} & (RESERVED | {"context"})
    )
    if names:
        yield f"You assigned to {', '.join(names)}: bound anew to what it was before your next cell. Use another name."
