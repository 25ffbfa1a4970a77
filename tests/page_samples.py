"""Page samples: records of runs that nobody ran, by the format `langgraph-rlm trace 1`.

`story()` has one of everything that the page shows; `crowd()` and `levels()` are large. Real traces
are in `test_page.py`; these are for what a run makes too slowly, or seldom.
"""

import random
from collections.abc import Iterator
from typing import Any

Record = dict[str, Any]
START = 1_790_000_000.0
MODELS = ["gpt-5", "gpt-5-mini"]


def usage(
    cost: float, *, into: int = 900, out: int = 120, model: str = MODELS[0], depth: int = 0
) -> Record:
    """A `Share` of one call."""
    spending = {
        "model_calls": 1,
        "input_tokens": into,
        "output_tokens": out,
        "cost": cost,
        "unpriced_calls": 0,
    }
    return {"turns": 1, "sub_calls": 0, "seconds": 0.0, "breakdown": {f"{depth}/{model}": spending}}


def head(**more: Any) -> Record:
    """The record of the thread."""
    whole = usage(0.4182, into=412_000, out=18_400)
    return {
        "type": "trace", "id": "trace", "format": "langgraph-rlm trace 1", "version": "0.1.0",
        "thread": "leases-2026", "checkpoint": "1f0c-0009", "namespace": "", "root": "r", "roots": ["r"],
        "state": "done", "sandbox": "python", "models": MODELS, "stop_reason": "answer", "questions": 1,
        "limits": {"max_depth": 2, "max_sub_calls": 1000, "max_cost": 0.5, "max_iterations": 30},
        "usage": {**whole, "sub_calls": 52, "turns": 5, "seconds": 41.3}, "branches": [], "files": [],
        "runs": [{"run": "aaaaaaaa", "from": START, "to": START + 60, "ended": "finished"}], **more,
    }  # fmt: skip


def rlm(id: str = "r", parent: str | None = None, place: str | None = None, **more: Any) -> Record:
    """An RLM."""
    return {"type": "rlm", "id": f"rlm:{id}", "rlm": id, "parent": parent, "parent_place": place,
            "depth": 0 if parent is None else 1, "model": MODELS[0], "state": "done", **more}  # fmt: skip


def entry(type: str, place: str, at: float, id: str = "r", **more: Any) -> Record:
    """A record of a log's entry."""
    return {
        "type": type,
        "id": f"{id}:{place}",
        "rlm": id,
        "place": place,
        "at": at,
        "run": "aaaaaaaa",
        **more,
    }


def turn(number: int, at: float, reply: str, id: str = "r", **more: Any) -> Record:
    """A turn with one cell, unless `more` says otherwise."""
    return entry("turn", str(number), at, id, number=number, question=0, reply=reply, cells=[f"{number}.0"],
                 model=MODELS[0], usage=usage(0.0121), seconds=3.2, **more)  # fmt: skip


def cell(place: str, at: float, code: str, id: str = "r", **more: Any) -> Record:
    """A cell that ended well."""
    return entry("cell", place, at, id, turn=int(place[0]), code=code, state="ended",
                 **{"outcome": "ok", "stdout": "", "seconds": 0.02, **more})  # fmt: skip


def batch(place: str, at: float, items: int, id: str = "r", *, slots: int = 16, seed: int = 0,
          function: str = "llm_query_batched", prompt: str = "Which party may end the lease of unit {}, and how?",
          ) -> Iterator[Record]:  # fmt: skip
    """A call of many items, `slots` of which work at once."""
    chance = random.Random(seed)
    yield entry("call", place, at, id, cell=place.split("/")[0], turn=int(place[0]), call="llm",
                function=function, items=items)  # fmt: skip
    free = [at] * slots
    for item in range(items):
        slot = min(range(slots), key=free.__getitem__)
        begun, took = free[slot], chance.uniform(0.6, 2.4)
        free[slot] = begun + took
        made: Record = {
            "value": f"Unit {item}: either party, with {chance.randint(1, 12)} months' notice.",
            "state": "answered",
        }
        if chance.random() < 0.02:
            made = {"error": "RateLimitError: 429, slow down", "state": "failed"}
        yield entry("reply", f"{place}/{item}", begun + took, id, call=place, item=item, prompt=prompt.format(item),
                    model=MODELS[1], usage=usage(0.0004, model=MODELS[1], depth=1), seconds=took, waited=begun - at,
                    **made)  # fmt: skip


def spent(records: list[Record]) -> Record:
    """The series of what was spent, of all that has a cost."""
    paid = [r for r in records if r["type"] in ("turn", "reply") and "usage" in r]
    points = [
        (r["at"], next(iter(r["usage"]["breakdown"].values())), r["type"] == "reply")
        for r in sorted(paid, key=lambda record: record["at"])
    ]
    series: dict[str, list[float]] = {"at": [], "cost": [], "tokens": [], "sub_calls": []}
    cost, tokens, calls = 0.0, 0, 0
    for at, spending, is_reply in points:
        cost += spending["cost"]
        tokens += spending["input_tokens"] + spending["output_tokens"]
        calls += is_reply
        for key, value in zip(series, (at, cost, tokens, calls), strict=True):
            series[key].append(value)
    return {"type": "spent", "id": "spent", **series}


def crowd(calls: int = 10_000) -> list[Record]:
    """One batch of many calls."""
    records = [
        head(thread=f"crowd-{calls}", answer=f"Done: {calls} units."),
        rlm(answer=f"Done: {calls} units.", question="Classify every unit."),
        entry(
            "question",
            "run.0",
            START,
            number=0,
            question="Classify every unit.",
            contexts=[],
            turn=0,
        ),
        turn(0, START + 3, "```repl\nanswers = llm_query_batched(prompts)\n```"),
        cell(
            "0.0", START + 3 + calls * 0.1, "answers = llm_query_batched(prompts)", stdout="x" * 400
        ),
        *batch("0.0/0", START + 3, calls),
    ]
    end = max(record["at"] for record in records if "at" in record)
    records[0]["runs"][0]["to"] = end
    return [*records, spent(records)]


def levels(width: int = 10) -> list[Record]:
    """A tree of three levels: `width` children, each with `width`, each with `width`."""
    records = [head(thread="levels", answer="Done."), rlm(answer="Done.", question="Sum it up.")]
    _level(records, "r", START, 3, width)
    return [*records, spent(records)]


def _level(records: list[Record], id: str, at: float, left: int, width: int) -> float:
    records.append(
        entry("question", "run.0", at, id, number=0, question="Sum it up.", contexts=[], turn=0)
    )
    records.append(turn(0, at + 1, "Asking.\n```repl\nx = rlm_query_batched(parts)\n```", id))
    if left == 0:
        records.append(cell("0.0", at + 2, "FINAL(len(context))", id, final="12"))
        return at + 2
    records.append(entry("call", "0.0/0", at + 1, id, cell="0.0", turn=0, call="rlm", function="rlm_query_batched",
                         items=width))  # fmt: skip
    ends: list[float] = []
    for item in range(width):
        child = f"{id}.{item}"
        records.append(rlm(child, id, f"0.0/0/{item}", answer="12", question=f"Part {item}"))
        end = _level(records, child, at + 1 + item * 0.05, left - 1, width)
        ends.append(end)
        records.append(entry("reply", f"0.0/0/{item}", end, id, call="0.0/0", item=item, prompt=f"Part {item}", child=child,
                             value="12", usage=usage(0.001), seconds=end - at - 1, state="answered"))  # fmt: skip
    records.append(cell("0.0", max(ends) + 0.1, "x = rlm_query_batched(parts)", id, final="12"))
    return max(ends) + 0.1


def untimed(records: list[Record]) -> list[Record]:
    """The records as a thread of an earlier version gives them: nothing says when it was."""
    times = {"at", "seconds", "waited", "run", "from", "to"}
    bare = [{key: value for key, value in record.items() if key not in times} for record in records]
    bare[0]["runs"] = []
    return [record for record in bare if record["type"] != "spent"]


def mapped(records: list[Record], text: str, texts: dict[str, str], **more: Any) -> list[Record]:
    """The records with a coverage of their first context, of what the root's calls and first cell have of it,
    and with three quotes of the answer: one that is there, one that nearly is, one that is not."""
    data, root = text.encode(), records[0]["root"]
    question = next(record for record in records if record["type"] == "question")
    by = [
        {"range": [start, end], "kind": "sent", "rlm": root, "place": record["place"]}
        for record in records if record["type"] == "reply" and record["rlm"] == root
        for start, end in _found(data, _text(record.get("prompt", ""), texts))
    ]  # fmt: skip
    by.append({"range": [0, 907], "kind": "shown", "rlm": root, "place": "0.0"})
    digest = question["contexts"][0]["digest"]
    ranges = {
        kind: joined([one["range"] for one in by if one["kind"] == kind])
        for kind in ("sent", "shown")
    }
    seen = joined([*ranges["sent"], *ranges["shown"]])
    coverage = {
        "type": "coverage", "id": "coverage:0", "rlm": root, "digest": digest, "name": "context_0", "kind": "text",
        "size": len(data), **ranges, "read": [[0, 907]], "seen": seen, "whole": True, "by": by,
        "seen_share": sum(end - start for start, end in seen) / len(data), **more,
    }  # fmt: skip
    said = "The landlord may end this lease with three months' notice to the end of a quarter."
    near, nearly = (
        "The landlord may end this lease at once when the premises are rebuilt.",
        "The landlord may end this lease at once if",
    )
    quotes = [
        quote(said, "exact", digest, data.find(said.encode()), 1.0),
        quote(near, "near", digest, data.find(nearly.encode()), 0.912),
        {
            "text": "a right of first refusal in every lease",
            "status": "not_found",
            "similarity": 0.2,
        },
    ]
    rest = [record for record in records[1:] if record["type"] != "coverage"]
    return [{**records[0], "quotes": quotes}, *rest, coverage]


def quote(text: str, status: str, digest: str, start: int, similarity: float) -> Record:
    """A quote that was looked for."""
    return {
        "text": text,
        "status": status,
        "similarity": similarity,
        "digest": digest,
        "start": start,
        "end": start + len(text),
    }


def joined(ranges: list[list[int]]) -> list[list[int]]:
    """Ranges, sorted, those that touch as one."""
    kept: list[list[int]] = []
    for start, end in sorted(ranges):
        if kept and start <= kept[-1][1]:
            kept[-1][1] = max(end, kept[-1][1])
        else:
            kept.append([start, end])
    return kept


def _text(text: Any, texts: dict[str, str]) -> str:
    return texts[text["ref"]] if isinstance(text, dict) else text


def _found(data: bytes, prompt: str) -> Iterator[tuple[int, int]]:
    part = prompt.partition("LEASE ")[2].strip().encode()
    at = data.find(part) if part else -1
    if at >= 0:
        yield at, at + len(part)


PAYLOADS = (
    "javascript:window.hostile=1//<img src=x onerror='window.hostile=1'><b>bold</b></script><script>window.hostile=1</script>"
    "<!-- '\"><svg onload=window.hostile=1> \u202egnp.exe\u202c \u0000\u001b[31m \U000e0041 ```python\n<i>x</i>\n``` ${window.hostile=1}",
    "__proto__",
    "constructor",
)
KEPT = {
    "type",
    "id",
    "rlm",
    "place",
    "call",
    "cell",
    "child",
    "parent",
    "parent_place",
    "root",
    "roots",
    "ref",
    "digest",
}
"""What names records: this package makes it, and the tree is built of it."""


def hostile(
    records: list[Record], texts: dict[str, str]
) -> Iterator[tuple[list[Record], dict[str, str]]]:
    """The records and texts with each of the payloads in place of every string that is not a name of a record."""
    for payload in PAYLOADS:
        yield [_spoilt(record, payload) for record in records], dict.fromkeys(texts, payload)


def _spoilt(value: Any, payload: str) -> Any:
    if isinstance(value, dict):
        return {key: item if key in KEPT else _spoilt(item, payload) for key, item in value.items()}
    if isinstance(value, list):
        return [_spoilt(item, payload) for item in value]
    return payload if isinstance(value, str) else value
