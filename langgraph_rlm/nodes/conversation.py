"""Conversation: the root model's messages, rendered from the log alone. A prefix that was sent is
never rewritten."""

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
)

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.log.entries import CellEntry, LogEntry, QuestionEntry, TurnEntry
from langgraph_rlm.log.places import (
    cells_of,
    compactions,
    context_names,
    handles_of,
    questions_of,
    refusal,
    turn_at,
    turn_count,
)
from langgraph_rlm.log.python import assigned_names
from langgraph_rlm.log.reply import Reply, reply_of, text_of_reply
from langgraph_rlm.log.steps import all_are_well, any_shows
from langgraph_rlm.log.text import clip, shortened
from langgraph_rlm.models.replies import EMPTY_REPLY, with_thoughts
from langgraph_rlm.nodes.native_calls import native_messages
from langgraph_rlm.nodes.skills import new_skills
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
from langgraph_rlm.repl.base import capacity_of, gives_files, imports_skills, reads_files
from langgraph_rlm.repl.host import is_loaded, limits_of_thread
from langgraph_rlm.repl.host_functions import descriptions, reserved
from langgraph_rlm.runtime.beginnings import Beginning
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import MEDIA, ContextHandle
from langgraph_rlm.tables.catalog import lines, tables_among
from langgraph_rlm.tools import RLMTool
from langgraph_rlm.tools.annotations import shown_name

MAX_FILES_TOLD = 10
"""Most names of files that are told of one cell."""

BRIEF_CHARS = 300
"""Characters that are shown of a question whose turns are summed up."""

_system_text = lru_cache(maxsize=64)(system_prompt)
_question_text = lru_cache(maxsize=64)(question_prompt)


def conversation(state: RLMState, rlm: RLMRuntime, *, limit: str | None = None) -> list[AnyMessage]:
    """Render everything that the root model is sent. Blocks: it may read the blob store.

    Args:
        state: of the RLM.
        rlm: its runtime.
        limit: the limit that was reached, when the model is to give its best answer so far.
    """
    log, questions = state["log"], questions_of(state["log"])
    id, look, last = state["trajectory"], _look(state, rlm), turn_count(log) - 1
    begun = rlm.beginnings.of(id, log, look)
    messages: list[AnyMessage] = [SystemMessage(_system(state, rlm)), *begun.messages]
    for index in range(max(begun.questions - 1, 0), len(questions)):
        if index >= begun.questions:
            add(messages, _asked(index, questions, state, rlm))
        first, end = _turns_of(index, questions, log)
        for number in range(max(first, _summed_up(log), begun.turn), end):
            if number == last:  # what came of the last turn may not be all in the log yet
                rlm.beginnings.keep(id, log, look, Beginning(messages[1:], index + 1, number))
            add(messages, _turn(number, number - first + 1, state, rlm))
    if limit is not None:
        add(messages, [_best_answer(limit, state, rlm)])
    return messages


def _look(state: RLMState, rlm: RLMRuntime) -> Hashable:
    """All but the log's own entries that messages are made with."""
    most = rlm.output_chars(state.get("depth", 0), state.get("model"))
    summaries = len(compactions(state["log"]))
    return rlm.limits, most, bool(state.get("answer_schema")), summaries


def _summed_up(log: Mapping[str, LogEntry]) -> int:
    """The number of the first turn that no summary stands for."""
    summaries = compactions(log)
    return summaries[-1]["turn"] if summaries else 0


def _turns_of(
    index: int, questions: Sequence[QuestionEntry], log: Mapping[str, LogEntry]
) -> tuple[int, int]:
    """The numbers of a question's first turn, and of the first turn after its last."""
    is_last = index + 1 == len(questions)
    end = turn_count(log) if is_last else questions[index + 1]["turn"]
    return questions[index]["turn"], end


def _asked(
    index: int, questions: Sequence[QuestionEntry], state: RLMState, rlm: RLMRuntime
) -> list[AnyMessage]:
    """A question, and the summary of its turns where there is one."""
    first, end = _turns_of(index, questions, state["log"])
    start, is_last = _summed_up(state["log"]), index + 1 == len(questions)
    is_brief = not is_last and end <= start
    shown: list[AnyMessage] = [
        HumanMessage(_question(questions[: index + 1], rlm, is_brief=is_brief))
    ]
    if first < start <= end:
        summary = rlm.blobs.get_text(compactions(state["log"])[-1]["summary"])
        shown.append(HumanMessage(summary_prompt(summary=summary, turns=start)))
    return shown


def _turn(number: int, iteration: int, state: RLMState, rlm: RLMRuntime) -> list[AnyMessage]:
    """A reply, with what was asked for it at a limit, and what came of it."""
    log, turn = state["log"], turn_at(state["log"], number)
    called = native_messages(number, turn, log, rlm)
    shown: list[AnyMessage] = []
    if turn["limit"] is not None:
        shown.append(_best_answer(turn["limit"], state, rlm))
    shown.append(_said(turn, [call for call, _ in called], rlm))
    shown += [result for _, result in called]
    if not turn["limit"]:
        most = rlm.output_chars(state.get("depth", 0), state.get("model"))
        outcome = _outcome(number, iteration, turn, log, rlm, most)
        shown += [HumanMessage(outcome)] if outcome else []
    return shown


def _said(turn: TurnEntry, calls: list[ToolCall], rlm: RLMRuntime) -> AIMessage:
    """A reply without its thoughts. Beside tool calls these are sent too: providers want them back
    there, signed as they were. It is never empty, which many providers refuse."""
    text = text_of_reply(turn, rlm.blobs)
    if not calls:
        return AIMessage(text if text.strip() else EMPTY_REPLY)
    said = AIMessage(text, tool_calls=calls)
    if "thoughts" not in turn:
        return said
    return with_thoughts(said, json.loads(rlm.blobs.get_text(turn["thoughts"])))


def _best_answer(limit: str, state: RLMState, rlm: RLMRuntime) -> HumanMessage:
    reason = f"Limit {limit} of {getattr(rlm.limits, limit)} reached."
    is_structured = bool(state.get("answer_schema"))
    return HumanMessage(best_answer_prompt(reason=reason, structured=is_structured))


def add(messages: list[AnyMessage], more: Iterable[AnyMessage]) -> None:
    """Add messages to a conversation. Neighbours that a user would have said become one message:
    some chat templates refuse two of one role in a row."""
    for message in more:
        before = messages[-1] if messages else None
        if isinstance(message, HumanMessage) and isinstance(before, HumanMessage):
            messages[-1] = HumanMessage(f"{before.text}\n\n{message.text}")
        else:
            messages.append(message)


def _system(state: RLMState, rlm: RLMRuntime) -> str:
    depth = state.get("depth", 0)
    most = rlm.output_chars(depth, state.get("model"))
    limits = rlm.limits.model_copy(update={"max_output_chars": most})
    tools = rlm.toolset.at(depth).values()
    given = [rlm.prompt, _text(state.get("instructions"), rlm.blobs)]
    return _system_text(
        depth=depth,
        functions=_functions(limits, rlm.is_recursive(depth)),
        tools=tuple(_tool(tool) for tool in tools),
        models=tuple(sorted(rlm.models)),
        interpreter=rlm.sandbox(state["log"]).notes,
        limits=limits,
        instructions="\n\n".join(text for text in given if text) or None,
        schema=_text(state.get("answer_schema"), rlm.blobs),
        gives_files=depth == 0 and gives_files(rlm.sandbox(state["log"])),
    )


def _tool(tool: RLMTool) -> ToolDoc:
    """What the prompt says of a tool; one that has another name in code is said to."""
    is_renamed = tool.function != tool.name
    description = f"(`{shown_name(tool.name)}`) {tool.description}"
    if not is_renamed:
        description = tool.description
    return ToolDoc(tool.signature, description)


def _text(text: Text | None, blobs: BlobStore) -> str | None:
    return None if text is None else blobs.get_text(text)


@lru_cache(maxsize=8)
def _functions(limits: Limits, is_recursive: bool) -> tuple[FunctionDoc, ...]:
    """What the prompt says of the host functions."""
    rows = descriptions(limits, is_recursive=is_recursive)
    return tuple(FunctionDoc(row.kind, row.shown, row.text) for row in rows)


def _question(questions: Sequence[QuestionEntry], rlm: RLMRuntime, *, is_brief: bool) -> str:
    """What a question's message says. It is brief once all of its turns are summed up: long ones
    would fill the window."""
    handles, names = handles_of(questions), context_names(questions)
    backend = rlm.sessions.sandboxes.of(questions)
    limits, capacity = limits_of_thread(rlm.limits, questions), capacity_of(backend)
    shown: list[ContextDoc] = []
    for name in names:
        handle = handles[name]
        shown_name, *others = _names_of(handle, name, is_first=name == names[0])
        loaded = is_loaded(handle, limits, capacity)
        doc = ContextDoc(
            name=shown_name,
            kind=handle.kind,
            length=handle.length,
            items=handle.items,
            loaded=loaded,
            path=_is_worth_opening(handle, is_loaded=loaded) and reads_files(backend),
            preview="" if is_brief else rlm.preview(handle),
            also=tuple(others),
            tables=() if is_brief else _tables(handle, handles, rlm),
            shape=_shape(handle, rlm, is_brief=is_brief),
            shown=tuple(rlm.names_shown(handle)),
        )
        shown.append(doc)
    question = rlm.blobs.get_text(questions[-1]["question"])
    if is_brief:
        question = clip(question, limit=BRIEF_CHARS)
    skills = new_skills(questions, rlm.blobs, with_modules=imports_skills(backend))
    folder = "inputs/skills" if imports_skills(backend) else ""
    return _question_text(
        question=question,
        contexts=tuple(shown),
        first=len(questions) == 1,
        skills=skills,
        skills_folder=folder,
    )


def _is_worth_opening(handle: ContextHandle, *, is_loaded: bool) -> bool:
    """Whether the file of a context has more than the value that code sees."""
    return not is_loaded or handle.about is not None


def _tables(
    handle: ContextHandle, handles: Mapping[str, ContextHandle], rlm: RLMRuntime
) -> tuple[str, ...]:
    """A line about each table of a context."""
    if handle.tables is None:
        return ()
    known = tables_among(handles, rlm.blobs)
    return tuple(lines([each.table for each in known if each.handle == handle]))


def _shape(handle: ContextHandle, rlm: RLMRuntime, *, is_brief: bool) -> str:
    """What the items of a context are. Of a picture it is all that is told, also in brief."""
    return "" if is_brief and handle.kind not in MEDIA else rlm.shape(handle)


def _names_of(handle: ContextHandle, numbered: str, *, is_first: bool) -> list[str]:
    """All names of a context in code, the one that says most first."""
    names = [numbered]
    if is_first:
        names.insert(0, "context")
    if handle.name is not None:
        names.insert(0, handle.name)
    return names


def _outcome(
    number: int,
    iteration: int,
    turn: TurnEntry,
    log: Mapping[str, LogEntry],
    rlm: RLMRuntime,
    most: int,
) -> str:
    """What the model sees after its turn: what its cells did, or why nothing was run.

    Args:
        number: of the turn.
        iteration: its number in its question, from 1.
        turn: its entry.
        log: of the RLM.
        rlm: its runtime.
        most: characters that are shown of one cell's output.
    """
    reply = reply_of(turn, rlm.blobs)
    cells = cells_of(log, number, len(reply.steps))
    ended = enumerate(cells)
    ran = tuple(_cell(index, cell, rlm.blobs, most) for index, cell in ended if cell is not None)
    notices = _rebound(reply.cells, turn.get("rules", 1))
    if reply.problem is not None:
        notices.append(nudge_prompt(reply.problem))
    notices += _about_cells(reply, cells, rlm.blobs)
    refused = refusal(log, number)
    if refused is not None:
        notices.append(refused_prompt(error=rlm.blobs.get_text(refused["error"])))
    if not (ran or notices or turn.get("tool_calls") or reply.final):
        notices.append(nudge_prompt("prose"))
    if not (ran or notices):
        return ""
    limits = rlm.limits
    return _rendered(ran, tuple(notices), iteration, limits.max_iterations, limits.max_cell_seconds)


def _about_cells(reply: Reply, cells: Sequence[CellEntry | None], blobs: BlobStore) -> list[str]:
    """Which blocks did not run, and why an answer in prose beside them was none."""
    own, final = cells[: len(reply.cells)], reply.final
    if any(cell is not None and cell["final"] is not None for cell in cells):
        return []  # code has answered
    notices: list[str] = []
    if None in own[1:]:
        notices.append(nudge_prompt("skipped"))
    if not all_are_well(own):
        return [*notices, nudge_prompt("final_failed")] if final is not None else notices
    if reply.has_early_final or (final is not None and any_shows(own, blobs)):
        notices.append(nudge_prompt("final_unseen"))
    elif final is not None and final.is_word and not all_are_well(cells):
        notices.append(nudge_prompt("no_word", name=final.text))
    return notices


@lru_cache(maxsize=4096)
def _rendered(
    cells: tuple[CellDoc, ...],
    notices: tuple[str, ...],
    iteration: int,
    max_iterations: int,
    max_cell_seconds: float,
) -> str:
    """Every turn shows all turns before it; each outcome is rendered once."""
    return outcome_prompt(
        cells=cells,
        notices=notices,
        iteration=iteration,
        max_iterations=max_iterations,
        max_cell_seconds=max_cell_seconds,
    )


def _cell(index: int, entry: CellEntry, blobs: BlobStore, most: int) -> CellDoc:
    value = _text(entry["value"], blobs)
    return CellDoc(
        number=index + 1,
        stdout=shortened(_text(entry["stdout"], blobs) or "", most),
        value=None if value is None else shortened(value, most),
        error=_text(entry["error"], blobs),
        outcome=entry["outcome"],
        ran=entry.get("ran", True),
        files=_changed_files(entry),
        left_out=tuple(entry.get("left_out", ())),
    )


def _changed_files(entry: CellEntry) -> str:
    """What a cell has changed in `out/`, in a line."""
    changes = list(entry.get("files", {}).items())
    told = [
        f"{name} is gone" if file is None else f"{name} ({file['size']:,} bytes)"
        for name, file in changes[:MAX_FILES_TOLD]
    ]
    if len(changes) > MAX_FILES_TOLD:
        told.append(f"and {len(changes) - MAX_FILES_TOLD} more")
    return ", ".join(told)


def _rebound(cells: Sequence[str], rules: int) -> list[str]:
    """The notice about names of the host that cells have assigned to; none where they have not."""
    assigned = {name for code in cells for name in assigned_names(code)}
    names = sorted(assigned & (reserved(rules) | {"context"}))
    if not names:
        return []
    return [
        f"You assigned to {', '.join(names)}: bound anew to what it was before your next cell. "
        "Use another name."
    ]
