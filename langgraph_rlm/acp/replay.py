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
    for question, after in zip(questions, [*questions[1:], None], strict=True):
        updates += said_by_user(shower.text(question["question"]), question["id"])
        within = [record for record in records if _is_of(record, question, after, shower)]
        updates += shower.new(within)
        said = answer if after is None else _answer(within, shower)
        updates += message(said, f"{question['id']}:answer")
    return updates


def _questions(records: Sequence[Record]) -> list[QuestionRecord]:
    """Give the questions to the thread itself; a larger graph may have asked several RLMs."""
    head = next(record for record in records if record["type"] == "trace")
    asked = [record for record in records if record["type"] == "question"]
    return [question for rlm in head["roots"] for question in asked if question["rlm"] == rlm]


def _is_of(
    record: Record, question: QuestionRecord, after: QuestionRecord | None, shower: Shower
) -> bool:
    """Whether a record is of the work on a question, and not on the one after it."""
    if record["type"] not in ("turn", "cell", "call", "reply"):
        return False
    rlm, place = shower.position(record)
    if rlm != question["rlm"] or place[0] < question["turn"]:
        return False
    return after is None or after["rlm"] != rlm or place[0] < after["turn"]


def _answer(records: Sequence[Record], shower: Shower) -> str:
    """Find the answer that a question got: the last that code or a reply gave as final."""
    finals = [
        shower.text(record.get("final"))
        for record in records
        if (record["type"] == "turn" or record["type"] == "cell") and shower.is_of_root(record)
    ]
    return next((final for final in reversed(finals) if final), "")
