"""Replay: a thread's conversation as updates, for a client that loads its session. Runs nothing."""

from collections.abc import Sequence

from langgraph_rlm.acp.shown import Shower, Update, message, said_by_user
from langgraph_rlm.trace.records import QuestionRecord, Record


def replayed(records: Sequence[Record], shower: Shower, answer: str) -> list[Update]:
    """Give the questions of a thread, how each was worked on, and its answer. Blocks.

    Args:
        records: all of the thread.
        shower: has shown nothing yet.
        answer: to the last question; empty where there is none.
    """
    updates = shower.new(record for record in records if record["type"] in ("trace", "rlm"))
    questions = _questions(records)
    ends = [question["turn"] for question in questions[1:]]
    for question, end in zip(questions, [*ends, None], strict=True):
        updates += said_by_user(shower.text(question["question"]), question["id"])
        within = [
            record
            for record in records
            if record["type"] in ("turn", "cell", "call", "reply")
            and question["turn"] <= shower.place_of(record)[0]
            and (end is None or shower.place_of(record)[0] < end)
        ]
        updates += shower.new(within)
        said = answer if end is None else _answer(within, shower)
        updates += message(said, f"{question['id']}:answer")
    return updates


def _questions(records: Sequence[Record]) -> list[QuestionRecord]:
    """Give the questions to the thread itself: those of its newest root."""
    head = next(record for record in records if record["type"] == "trace")
    return [
        record
        for record in records
        if record["type"] == "question" and record["rlm"] == head["root"]
    ]


def _answer(records: Sequence[Record], shower: Shower) -> str:
    """Find the answer that a question got: the last that code or a reply gave as final."""
    finals = [
        shower.text(record.get("final"))
        for record in records
        if (record["type"] == "turn" or record["type"] == "cell") and shower.is_of_root(record)
    ]
    return next((final for final in reversed(finals) if final), "")
