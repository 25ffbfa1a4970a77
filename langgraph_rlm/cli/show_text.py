"""Show text: a trace as what `show` prints. Reads records alone."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.cli.display_text import MARKDOWN, clipped, counted, money, seconds, summary
from langgraph_rlm.cli.trace_index import TraceIndex
from langgraph_rlm.hosting.pauses import WITHIN
from langgraph_rlm.hosting.visible import printable

if TYPE_CHECKING:
    from langgraph_rlm.trace.records import CallRecord, ReplyRecord, TurnRecord

STATES = {"done": "green", "paused": "yellow", "stopped": "red", "running": "cyan"}
"""Colours of the states of a thread."""
MOST_CHILDREN = 3
"""Children of a call that are shown before the others are folded."""
LINE_CHARS = 160
"""Most characters of a text on one line of the tree."""
BETWEEN = ", "


def thread_shown(index: TraceIndex, *, turns_alone: bool) -> Iterator[RenderableType]:
    """Give the whole thread: what was asked, how it went, the answer and what it took."""
    head = index.head
    state = head["state"]
    yield Text.assemble(
        ("Thread ", "dim"), (printable(head["thread"]), "bold"), "  ", (state, STATES[state])
    )
    for question in index.questions[index.root]:
        yield Text.assemble(("Question  ", "dim"), printable(index.text(question["question"])))
        for context in question["contexts"]:
            name = context.get("user_name") or context.get("name") or "context"
            size = f"{context['length']:,} characters"
            yield Text(f"          {printable(name)}: {size}", style="dim")
        if "settings" in question:
            yield Text(f"          {_settings(question['settings'], index)}", style="dim")
    tree = _rlm(index, index.root, "", turns_alone=turns_alone)
    yield tree
    yield from _ends(index, index.root)
    if coverage := _coverage(index):
        yield Text(coverage, style="dim")
    usage = head.get("usage")
    if usage is not None:
        yield Text(summary(usage, usage["seconds"]), style="cyan")
    if len(head["branches"]) > 1:
        others = [each["checkpoint"] for each in head["branches"] if not each["current"]]
        told = f"{counted(len(others), 'other branch', 'other branches')}: --checkpoint "
        yield Text(told + ", ".join(others[:MOST_CHILDREN]), style="dim")


def _ends(index: TraceIndex, rlm: str) -> Iterator[RenderableType]:
    """Give the answer, or what is waited for."""
    for record in index.trace.records:
        if record["type"] == "pause":
            where = record.get("place", "")
            tool = record.get("tool", "a question")
            yield Text(f"Waits for an answer: {printable(tool)} ({where})", style="yellow")
    record = index.rlms[rlm]
    if "answer" in record:
        reason = record.get("stop_reason", "answered")
        title = "Answer" if reason == "answered" else f"Answer (at the limit {reason})"
        yield Text(title, style="bold green")
        yield Padding(_prose(index.text(record["answer"])), (0, 0, 0, 2), expand=False)


def _prose(text: str) -> RenderableType:
    shown = printable(text)
    return Markdown(shown) if MARKDOWN.search(shown) else Text(shown)


def _coverage(index: TraceIndex) -> str:
    """Say how much of each context models have seen, where that is known."""
    parts: list[str] = []
    for each in index.coverage:
        share = each["seen_share"]
        seen = "not known" if share is None else f"{share:.0%}"
        whole = " (and code read it as a whole)" if each["whole"] else ""
        parts.append(f"{printable(each['name'])} {seen}{whole}")
    return f"Seen by models: {BETWEEN.join(parts)}" if parts else ""


def _rlm(index: TraceIndex, rlm: str, path: str, *, turns_alone: bool) -> Tree:
    record = index.rlms[rlm]
    name = "Root" if not path else f"Child at {path}"
    label = Text.assemble(
        (name, "bold cyan"), "  ", (record["state"], STATES[record["state"]]), "  "
    )
    label.append(record.get("model", ""), style="dim")
    tree = Tree(label, guide_style="dim")
    for turn in index.turns[rlm]:
        _turn(tree, index, turn, path, turns_alone=turns_alone)
    return tree


def _turn(
    tree: Tree, index: TraceIndex, turn: "TurnRecord", path: str, *, turns_alone: bool
) -> None:
    rlm = turn["rlm"]
    about = [_said(turn)]
    if "limit" in turn:
        about.append(f"asked for the best answer at {turn['limit']}")
    if "problem" in turn:
        about.append(f"nothing to run: {turn['problem']}")
    if turns_alone and turn["cells"]:
        first = index.text(index.cell(rlm, turn["cells"][0])["code"]).strip()
        about.append(_line(first))
    where = f"{path}{WITHIN}{turn['place']}" if path else turn["place"]
    label = Text.assemble(
        (f"Turn {where}", "bold"), "  ", (BETWEEN.join(filter(None, about)), "dim")
    )
    node = tree.add(label)
    if turns_alone:
        return
    prose = index.text(turn.get("prose")).strip()
    if prose:
        node.add(Text(clipped(prose)))
    for call in index.calls[rlm, turn["place"]]:
        _call(node, index, call, path)
    for place in turn["cells"]:
        if (rlm, place) in index.at:
            _cell(node, index, rlm, place, path, is_whole=False)


def _said(record: Any) -> str:
    """Say what a turn took."""
    parts: list[str] = []
    usage = record.get("usage")
    if "seconds" in record:
        parts.append(seconds(record["seconds"]))
    if usage is not None:
        from langgraph_rlm.budget.usage import whole

        total = whole(usage)
        parts.append(f"{total['input_tokens']:,} in, {total['output_tokens']:,} out")
        if total["cost"]:
            parts.append(money(total["cost"]))
    return BETWEEN.join(parts)


def _cell(
    node: Tree, index: TraceIndex, rlm: str, place: str, path: str, *, is_whole: bool
) -> None:
    cell = index.cell(rlm, place)
    outcome = cell.get("outcome", cell["state"])
    style = "dim" if outcome == "ok" else "red"
    took = seconds(cell["seconds"]) if "seconds" in cell else ""
    where = f"{path}{WITHIN}{place}" if path else place
    label = Text(f"Cell {where}  {BETWEEN.join(filter(None, (outcome, took)))}", style=style)
    inner = node.add(label)
    code = index.text(cell["code"]).strip("\n")
    inner.add(code_shown(code if is_whole else clipped(code, 40)))
    for call in index.calls[rlm, place]:
        _call(inner, index, call, path)
    for key in ("stdout", "value", "error"):
        text = index.text(cell.get(key)).strip()
        if text:
            shown = printable(text) if is_whole else clipped(text)
            inner.add(Text(shown, style="red" if key == "error" else "dim"))
    for name, file in cell.get("files", {}).items():
        size = "gone" if file is None else f"{file['size']:,} bytes"
        inner.add(Text(f"out/{printable(name)}: {size}", style="magenta"))


def code_shown(code: str) -> Syntax:
    """Give code in colours."""
    lines = [line if len(line) <= 1_000 else f"{line[:1_000]}..." for line in code.split("\n")]
    return Syntax(
        printable("\n".join(lines)),
        "python",
        theme="ansi_dark",
        background_color="default",
        word_wrap=True,
    )


def _call(node: Tree, index: TraceIndex, call: "CallRecord", path: str) -> None:
    """Give one line for a call, with its first children below."""
    replies = index.replies[call["rlm"], call["place"]]
    label = Text.assemble((call["function"], "bold magenta"), f"  {_counts(call, replies)}")
    where = f"{path}{WITHIN}{call['place']}" if path else call["place"]
    label.append(f"  {where}", style="dim")
    inner = node.add(label)
    if call["items"] == 1 and replies:
        _reply(inner, index, call, replies[0])
    children = [reply for reply in replies if reply.get("child") in index.rlms]
    for reply in children[:MOST_CHILDREN]:
        inner.add(_child(index, reply, path))
    if len(children) > MOST_CHILDREN:
        more = counted(len(children) - MOST_CHILDREN, "more child", "more children")
        inner.add(Text(f"{more}: --place {where}", style="dim"))
    elsewhere = [reply for reply in replies if "thread" in reply and reply not in children]
    for reply in elsewhere[:MOST_CHILDREN]:
        inner.add(Text(_named(reply), style="dim"))
    if len(elsewhere) > MOST_CHILDREN:
        more = counted(len(elsewhere) - MOST_CHILDREN, "more such child", "more such children")
        inner.add(Text(more, style="dim"))


def _counts(call: "CallRecord", replies: "Sequence[ReplyRecord]") -> str:
    by_state: dict[str, int] = {}
    for reply in replies:
        by_state[reply["state"]] = by_state.get(reply["state"], 0) + 1
    told = BETWEEN.join(f"{number:,} {state}" for state, number in sorted(by_state.items()))
    return told if call["items"] == 1 else f"{call['items']:,} items: {told or 'none answered'}"


def _reply(node: Tree, index: TraceIndex, call: "CallRecord", reply: "ReplyRecord") -> None:
    asked = index.text(reply.get("prompt") or call.get("request"))
    node.add(Text.assemble(("> ", "dim"), _line(asked)))
    answered = index.text(reply.get("value"))
    if "error" in reply:
        node.add(Text(f"! {_line(index.text(reply['error']))}", style="red"))
    elif answered:
        node.add(Text.assemble(("< ", "dim"), _line(answered)))
    if "decision" in reply:
        by = reply["decision"].get("by")
        told = reply["decision"]["type"] + (f" by {by}" if by else "")
        node.add(Text(f"decided: {printable(told)}", style="yellow"))


def _child(index: TraceIndex, reply: "ReplyRecord", path: str) -> Text:
    child = index.rlms[reply["child"]]  # type: ignore[typeddict-item]
    where = f"{path}{WITHIN}{reply['place']}" if path else reply["place"]
    turns = counted(len(index.turns[child["rlm"]]), "turn")
    answer = _line(index.text(child.get("answer")))
    return Text.assemble(
        (f"{where}{WITHIN}", "cyan"), f"  {turns}, {child['state']}  ", (answer, "dim")
    )


def _named(reply: "ReplyRecord") -> str:
    """Name the thread of a child elsewhere, whose records are not here."""
    why = " or has not begun" if reply["state"] == "open" else ""
    thread = printable(reply.get("thread", ""))
    return f"{reply['place']}: a child on thread {thread}, which is not in this database{why}"


def _line(text: str) -> str:
    """Give the start of a text on one line."""
    line = " ".join(printable(text[: 4 * LINE_CHARS]).split())
    if len(line) <= LINE_CHARS and len(text) <= 4 * LINE_CHARS:
        return line
    return f"{line[:LINE_CHARS]}..."


def place_shown(index: TraceIndex, path: str) -> Iterator[RenderableType]:
    """Give one entry of a log in full: a child RLM, a turn, a cell, a call or an answer."""
    rlm, place = index.find(path)
    prefix = path.rpartition(WITHIN)[0]
    if not place:
        yield _rlm(index, rlm, prefix, turns_alone=False)
        yield from _ends(index, rlm)
        return
    record = index.at[rlm, place]
    tree = Tree(Text(f"{record['type'].capitalize()} {path}", style="bold cyan"), guide_style="dim")
    if record["type"] == "turn":
        tree.add(Text(printable(index.text(record["reply"]))))
    elif record["type"] == "cell":
        _cell(tree, index, rlm, place, prefix, is_whole=True)
    elif record["type"] == "call":
        for reply in index.replies[rlm, place]:
            node = tree.add(
                Text(f"{reply['place']}  {reply['state']}  {_said(reply)}", style="bold")
            )
            _reply(node, index, record, reply)
    elif record["type"] == "reply":
        _whole_reply(tree, index, record)
    else:
        for key in ("question", "summary", "answer", "error"):
            if key in record:
                tree.add(Text(printable(index.text(record[key]))))
    yield tree


def _settings(settings: dict[str, Any], index: TraceIndex) -> str:
    """Tell what a question had of its own, in a line."""
    told = {**settings}
    if "prompt" in told:
        told["prompt"] = index.text(told["prompt"])
    return _line(", ".join(f"{name}={value!r}" for name, value in told.items()))


def _whole_reply(tree: Tree, index: TraceIndex, reply: "ReplyRecord") -> None:
    call = index.at[reply["rlm"], reply["call"]]
    tree.add(
        Text(f"{call['function']}, {reply['state']}, {_said(reply)}".rstrip(", "), style="dim")
    )
    asked = index.text(reply.get("prompt") or call.get("request"))
    for title, text in (
        ("asked", asked),
        ("thoughts", index.text(reply.get("thoughts"))),
        ("answered", index.text(reply.get("value"))),
        ("error", index.text(reply.get("error"))),
    ):
        if text:
            tree.add(Text(title, style="bold")).add(Text(printable(text)))
    if "decision" in reply:
        tree.add(Text(printable(json.dumps(reply["decision"], default=str)), style="yellow"))


def spending_shown(by_question: Sequence[Usage], total: Usage) -> RenderableType:
    """Give what a thread has spent, by question and by depth and model."""
    table = _table("question")
    for number, usage in enumerate(by_question):
        calls = usage["sub_calls"] + usage.get("failed_sub_calls", 0)
        table.add_row(str(number), f"{usage['turns']:,}", f"{calls:,}", *_amounts(usage))
    by_model = _table("depth", "model", is_by_model=True)
    for key, spending in sorted(total["breakdown"].items()):
        depth, _, model = key.partition("/")
        by_model.add_row(
            depth, printable(model), f"{spending['model_calls']:,}", *_amounts(spending)
        )
    return Group(table, by_model)


def _table(*first: str, is_by_model: bool = False) -> Table:
    from rich import box

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in first:
        table.add_column(name, overflow="fold")
    counts = ("calls",) if is_by_model else ("turns", "sub-calls")
    for name in (*counts, "tokens in", "out", "cost"):
        table.add_column(name, justify="right")
    return table


def _amounts(spending: Any) -> tuple[str, str, str]:
    cost = money(spending["cost"])
    if spending["unpriced_calls"]:
        unpriced = counted(spending["unpriced_calls"], "call")
        cost = f"{cost} + {unpriced} of unknown price" if spending["cost"] else "unknown price"
    return f"{spending['input_tokens']:,}", f"{spending['output_tokens']:,}", cost
