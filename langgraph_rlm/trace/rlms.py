"""RLMs: a trace in the form of the official package, `rlms`, whose visualizer opens it.

Source: `rlm/logger/rlm_logger.py` and `rlm/core/types.py` of rlms 0.1.3, and what
`visualizer/src/lib/parse-logs.ts` of https://github.com/alexzhang13/rlm reads of it: a line of
`metadata`, then a line for each `iteration` of the root. A child is the `metadata` of the call that
asked it, with `run_metadata` and `iterations` of its own.

What a log of ours does not have is not made up: `locals` is empty, since no value of a variable is
kept, and `prompt` has the question and the newest of the messages after it, not the system prompt.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from langgraph_rlm.budget.usage import Share, Usage
from langgraph_rlm.errors import BlobError
from langgraph_rlm.trace.reading import Trace
from langgraph_rlm.trace.records import Record, Shown
from langgraph_rlm.trace.scope import model_in
from langgraph_rlm.trace.texts import dumps

MOST_MESSAGES = 20
"""Most messages of a prompt, the newest: each turn of the official package repeats all before it,
which is quadratic."""

ENVIRONMENT = "local"
"""What `environment_type` says: the name that comes nearest, of those that the package has."""

JSON = dict[str, Any]


def rlms_lines(trace: Trace) -> Iterator[str]:
    """Give the lines of a trace, without their ends. Blocks: it reads the blob store."""
    runs = _Runs(trace)
    root = trace.head["root"]
    started = _timestamp(runs.rlm(root).get("from"))
    yield dumps({"type": "metadata", **started, **runs.metadata(root)})
    for iteration in runs.iterations(root):
        yield dumps(iteration)


class _Runs:
    """The RLMs of a trace, in the form of the official package."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._by_rlm: dict[str, list[Any]] = defaultdict(list)
        self._by_cell: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self._cells: dict[tuple[str, str], Any] = {}
        for record in trace.records:
            self._sort(record)

    def _sort(self, record: Record) -> None:
        """Put a record where it is looked for."""
        if record["type"] == "rlm" or record["type"] == "question" or record["type"] == "turn":
            self._by_rlm[record["rlm"]].append(record)
        elif record["type"] == "cell":
            self._cells[record["rlm"], record["place"]] = record
        elif record["type"] == "reply":
            cell = record["call"].rpartition("/")[0]
            self._by_cell[record["rlm"], cell].append(record)

    def rlm(self, id: str) -> Any:
        """The record of an RLM."""
        return self._by_rlm[id][0]

    def metadata(self, id: str) -> JSON:
        """What the official package says of a run before it starts."""
        head = self._trace.head
        limits = head.get("limits") or {}
        return {
            "root_model": self.rlm(id).get("model", "unknown"),
            "max_depth": limits.get("max_depth"),
            "max_iterations": limits.get("max_iterations"),
            "backend": "langgraph-rlm",
            "backend_kwargs": {"thread": head["thread"], "version": head["version"]},
            "environment_type": ENVIRONMENT,
            "environment_kwargs": {"sandbox": head.get("sandbox", "unknown")},
            "other_backends": None,
        }

    def iterations(self, id: str) -> Iterator[JSON]:
        """The turns of an RLM, each with what its model was shown, its cells and their calls."""
        said: list[JSON] = []
        questions = {each["number"]: each for each in self._of(id, "question")}
        turns = self._of(id, "turn")
        asked = -1
        for index, turn in enumerate(turns):
            if turn["question"] != asked:
                asked = turn["question"]
                said.append({"role": "user", "content": self._question(questions[asked])})
            blocks = [self._block(id, place) for place in turn["cells"]]
            is_last = index == len(turns) - 1
            reply = self._text(turn["reply"])
            yield {
                "type": "iteration",
                "iteration": index + 1,
                **_timestamp(turn.get("at")),
                "prompt": [said[0], *said[1:][-MOST_MESSAGES:]],
                "response": reply,
                "code_blocks": blocks,
                "final_answer": self._final(id, turn, is_last=is_last),
                "iteration_time": _duration(turn, blocks),
            }
            said.append({"role": "assistant", "content": reply})
            said += [{"role": "user", "content": _shown(block)} for block in blocks]

    def _of(self, id: str, kind: str) -> list[Any]:
        return [record for record in self._by_rlm[id] if record["type"] == kind]

    def _question(self, question: Any) -> str:
        """The question in the words by which the visualizer finds it."""
        return f'Answer the original query: "{self._text(question["question"])}"'

    def _block(self, id: str, place: str) -> JSON:
        cell = self._cells[id, place]
        outcome = cell.get("outcome", cell["state"])
        error = self._text(cell.get("error"))
        if not error and outcome != "ok":
            error = f"The cell did not end well: {outcome}."
        shown = [self._text(cell.get(name)) for name in ("stdout", "value")]
        final = self._text(cell.get("final")) if "final" in cell else None
        result: JSON = {
            "stdout": "\n".join(text for text in shown if text),
            "stderr": error,
            "locals": {},
            "execution_time": cell.get("seconds", 0.0),
            "rlm_calls": [*self._asked(id, place)],
            "final_answer": final,
        }
        return {"code": self._text(cell["code"]), "result": result}

    def _asked(self, id: str, place: str) -> Iterator[JSON]:
        """The calls of a cell that models or children have answered."""
        for reply in self._by_cell[id, place]:
            if "prompt" in reply and reply["state"] in ("answered", "failed"):
                yield self._completion(reply)

    def _completion(self, reply: Any) -> JSON:
        usage: Share | None = reply.get("usage")
        summary = _summary(usage)
        known = summary["model_usage_summaries"].values()
        call: JSON = {
            "root_model": reply.get("model") or model_in(usage) or "unknown",
            "prompt": self._text(reply["prompt"]),
            "response": self._text(reply.get("value")),
            "usage_summary": summary,
            "execution_time": reply.get("seconds", 0.0),
            # what the visualizer reads, which the package itself does not write any more
            "prompt_tokens": sum(each["total_input_tokens"] for each in known),
            "completion_tokens": sum(each["total_output_tokens"] for each in known),
        }
        if "error" in reply:
            call["error"] = self._text(reply["error"])
        if "child" in reply:
            run = self.metadata(reply["child"])
            call["metadata"] = {
                "run_metadata": run,
                "iterations": [*self.iterations(reply["child"])],
            }
        return call

    def _final(self, id: str, turn: Any, *, is_last: bool) -> str | None:
        """The answer, where a turn gave it. At a limit its last turn does."""
        for place in turn["cells"]:
            cell = self._cells[id, place]
            if "final" in cell:
                return self._text(cell["final"])
        rlm = self.rlm(id)
        if is_last and rlm["state"] == "done" and "answer" in rlm:
            return self._text(rlm["answer"])
        return None

    def _text(self, shown: Shown | None) -> str:
        """A text in whole; of one that is gone, what its record shows."""
        if shown is None or isinstance(shown, str):
            return shown or ""
        try:
            return self._trace.text(shown["ref"])
        except BlobError:
            return f"{shown['start']}[...]"


def _timestamp(at: float | None) -> JSON:
    """The time as the package writes it, local and without a zone; nothing for None."""
    if at is None:
        return {}
    local = datetime.fromtimestamp(at, UTC).astimezone().replace(tzinfo=None)
    return {"timestamp": local.isoformat()}


def _duration(turn: Any, blocks: Sequence[JSON]) -> float | None:
    """Seconds of a turn: its model, its code, and what the code waited for one after the other."""
    if "seconds" not in turn:
        return None
    cells = sum(block["result"]["execution_time"] for block in blocks)
    return round(turn["seconds"] + cells, 3)


def _shown(block: JSON) -> str:
    """What a model is shown of a cell."""
    result = block["result"]
    return "\n".join(part for part in (result["stdout"], result["stderr"]) if part)


def _summary(usage: Share | Usage | None) -> JSON:
    """A usage in the form of the package: by model, whatever the depth."""
    models: dict[str, JSON] = {}
    for key, spending in usage["breakdown"].items() if usage else ():
        model = models.setdefault(
            key.partition("/")[2],
            {"total_calls": 0, "total_input_tokens": 0, "total_output_tokens": 0},
        )
        model["total_calls"] += spending["model_calls"]
        model["total_input_tokens"] += spending["input_tokens"]
        model["total_output_tokens"] += spending["output_tokens"]
        if spending["model_calls"] > spending["unpriced_calls"]:
            model["total_cost"] = model.get("total_cost", 0.0) + spending["cost"]
    summary: JSON = {"model_usage_summaries": models}
    costs = [model["total_cost"] for model in models.values() if "total_cost" in model]
    if costs:
        summary["total_cost"] = sum(costs)
    return summary
