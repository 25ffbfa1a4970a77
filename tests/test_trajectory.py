"""A saved run is a test: it replays without a model on today's code, and says where that goes another way."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from langgraph_rlm import BlobError, ConfigurationError, ReplayDivergedError, fork
from langgraph_rlm.history.replay_run import Replayed, replay_run
from langgraph_rlm.history.saved_run import asave_run, load_run, save_run
from langgraph_rlm.testing import ScriptedModel, cell

from .jails import SANDBOXES
from .models import rlm, root, thread

SAVED = sorted((Path(__file__).parent / "trajectories").glob("*.json"))

FIRST = "found = grep('needle', max_matches=3)\nlines = [llm_query('w' * (n + 1)) for n in range(3)]\nprint(len(found), lines, peek(0, 5))"
SECOND = "try:\n    price('nothing')\nexcept RuntimeError as error:\n    print(error)\ncost = price('tea', count=2)\nprint(cost, SHOW_VARS())"
THIRD = "kids = rlm_query_batched(['long ' * 600, 'short'], contexts=['a b c', ['x', 'y']])\nFINAL(f'{lines} {cost} {kids}')"


def price(item: str, count: int = 1) -> float:
    """What something costs."""
    if item == "nothing":
        raise ValueError("no such thing")
    return 2.5 * count


class Sub(ScriptedModel):
    """Answers with the length of its prompt; as the root of a child it writes code that asks one level deeper."""

    def _scripted(self, messages: list[Any]) -> Any:
        return (
            super()._scripted(messages)
            if messages[0].type == "system"
            else f"len={len(messages[-1].text)}"
        )


def sub_model() -> Sub:
    return Sub(
        replies=[
            cell(
                "n = len(context)\ndeeper = rlm_query('sum up', context=str(context)) if n < 5 else n"
            ),
            cell("FINAL(f'{n} {deeper}')"),
        ]
    )


def graph(model: ScriptedModel, saver: Any = None, **options: Any) -> Any:
    options = {"limits": {"max_depth": 3}, "tools": [price], **options}
    return rlm(model, sub=sub_model(), checkpointer=saver or InMemorySaver(), **options)


def saved(
    path: Path, *, query: str = "find it", context: Any = "a needle\n" * 2000, **options: Any
) -> tuple[Path, dict[str, Any]]:
    """A run of three turns with a tool, and children two levels deep, as a file."""
    run = graph(root(FIRST, SECOND, THIRD), **options)
    out = run.invoke({"query": query, "context": context}, thread())
    save_run(run, thread(), path / "run.json")
    return path / "run.json", out


def edited(path: Path, edit: Any) -> Path:
    """The same file after `edit(its content)`."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("sandbox", SANDBOXES)
@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_runs_saved_earlier_still_do_the_same(path: Path, sandbox: str) -> None:
    """Files under `tests/trajectories`, written by the code of their day."""
    assert replay_run(path, sandbox=sandbox, tools=[price]).cells > 0


def test_a_run_replays_with_its_children_and_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file holds all that it takes: it replays on a machine that has none of the run's blobs."""
    path, out = saved(tmp_path)
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", str(tmp_path / "empty"))
    assert replay_run(path, tools=[price]) == Replayed(rlms=4, turns=9, cells=9, calls=7)
    root_rlm = load_run(path)["root"]
    assert root_rlm["answer"] == out["answer"]
    assert list(root_rlm["children"]) == ["2.0/0/0", "2.0/0/1"]
    assert list(root_rlm["children"]["2.0/0/1"]["children"]) == ["0.0/0/0"]
    assert not (tmp_path / "empty").exists()


def test_contexts_may_stay_in_their_store_and_files_be_gzipped(tmp_path: Path) -> None:
    run = graph(root("print(len(context))\nFINAL(context[:3])"))
    run.invoke({"query": "go", "context": "private " * 50_000}, thread())
    save_run(run, thread(), tmp_path / "run.json.gz", contexts=False)
    assert (tmp_path / "run.json.gz").stat().st_size < 2000
    assert replay_run(tmp_path / "run.json.gz").cells == 1
    with pytest.raises(BlobError, match="is missing in the store"):
        replay_run(tmp_path / "run.json.gz", blob_store=tmp_path / "elsewhere")


def test_a_turn_whose_code_now_calls_something_else_is_named_with_the_difference(
    tmp_path: Path,
) -> None:
    path, _ = saved(tmp_path)

    def edit(run: dict[str, Any]) -> None:
        run["root"]["log"]["0"]["reply"] = {"text": cell(FIRST.replace("'w' *", "'v' *"))}

    with pytest.raises(
        ReplayDivergedError,
        match=r"^Cell 0\.0/0 called 'llm_query' with .*, but its log has 'llm_query' with",
    ) as error:
        replay_run(edited(path, edit), tools=[price])
    assert error.value.place == "0.0/0"
    assert '-  "w"' in str(error.value)
    assert '+  "v"' in str(error.value)


def test_a_call_whose_answer_changed_shows_what_its_cell_prints_now(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)

    def edit(run: dict[str, Any]) -> None:
        run["root"]["log"]["1.0/1/0"]["value"] = {"text": "99"}

    with pytest.raises(ReplayDivergedError, match=r"Cell 1\.0 ended 'ok' with") as error:
        replay_run(edited(path, edit), tools=[price])
    assert "-5.0 {" in str(error.value)
    assert "+99 {" in str(error.value)


def test_an_answer_of_a_child_that_changed_is_found_in_the_child(tmp_path: Path) -> None:
    """FINAL prints nothing: the answer itself is compared."""
    path, _ = saved(tmp_path)

    def edit(run: dict[str, Any]) -> None:
        run["root"]["children"]["2.0/0/1"]["log"]["0.0/0/0"]["value"] = {"text": "other"}

    with pytest.raises(
        ReplayDivergedError,
        match=r"^In the child at 2\.0/0/1: Cell 1\.0 answered '2 other', but its log has '2 ",
    ) as error:
        replay_run(edited(path, edit), tools=[price])
    assert error.value.place == "1.0"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("0.0/1/0", r"Call 0\.0/1 lacks an answer in the log"),
        ("0.0/1", r"Call 0\.0/1 is made now, but is not in the log"),
        ("1.0", r"Cell 1\.0 is in its turn's reply, but not in the log"),
        ("0", r"Turn 0 is not in the log, but '1' is"),
        ("run.0", r"Question run\.0 is not in the log"),
    ],
)
def test_an_entry_that_is_gone_is_named(tmp_path: Path, place: str, message: str) -> None:
    path, _ = saved(tmp_path)
    with pytest.raises(ReplayDivergedError, match=message):
        replay_run(edited(path, lambda run: run["root"]["log"].pop(place)), tools=[price])


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("```repl\nx = (1", r"Cell 0\.0 is in the log, but is not come to now"),
        ("```repl\nx = 1", "Cell 0.0 answered '', but its log has '1'"),
        (cell("FINAL(2)") + "\n" + cell("print(3)"), "Cell 0.0 answered '2', but its log has '1'"),
        (cell("print(3)") + "\n" + cell("FINAL(1)"), "Cell 0.0 ended"),
        ("No code. FINAL(1)", r"Cell 0\.0 is in the log, but is not come to now"),
    ],
)
def test_a_reply_that_is_read_otherwise_is_found(tmp_path: Path, reply: str, message: str) -> None:
    """As after a change of the parser."""
    run = graph(root("FINAL(1)"))
    run.invoke({"query": "go"}, thread())
    save_run(run, thread(), tmp_path / "run.json")
    path = edited(
        tmp_path / "run.json", lambda run: run["root"]["log"]["0"].update(reply={"text": reply})
    )
    with pytest.raises(ReplayDivergedError, match=message):
        replay_run(path)


def test_an_answer_in_prose_is_compared(tmp_path: Path) -> None:
    run = graph(ScriptedModel(replies=["FINAL(f(x) is 3)"]))
    run.invoke({"query": "go"}, thread())
    save_run(run, thread(), tmp_path / "run.json")
    assert replay_run(tmp_path / "run.json") == Replayed(rlms=1, turns=1)
    path = edited(tmp_path / "run.json", lambda run: run["root"].update(answer="f(x"))
    with pytest.raises(
        ReplayDivergedError, match=r"Turn 0 answers 'f\(x\) is 3' now, but the run 'f\(x'"
    ):
        replay_run(path)


def test_a_tool_with_another_signature_is_found(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)

    def other(item: str, pieces: int = 1) -> float:
        """What something costs."""
        raise AssertionError("a replay calls no tool")

    other.__name__ = "price"
    with pytest.raises(
        ReplayDivergedError,
        match=r"Cell 1\.0 ended 'error' with .*, but its log has a call 'price'",
    ) as error:
        replay_run(path, tools=[other])
    assert "+TypeError: price" in str(error.value) or "+error: " in str(error.value)


def test_edits_of_blobs_and_other_files_are_refused(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)

    def edit(run: dict[str, Any]) -> None:
        digest = next(iter(run["blobs"]))
        run["blobs"][digest] += "x"

    with pytest.raises(BlobError, match="was edited in the saved run"):
        replay_run(edited(path, edit), tools=[price])
    path.write_text('{"format": "other"}')
    with pytest.raises(ConfigurationError, match="is not a saved run of this version"):
        replay_run(path)
    path.write_text("no json")
    with pytest.raises(ConfigurationError, match="is not a saved run"):
        replay_run(path)
    with pytest.raises(ConfigurationError, match="has no checkpoint to read"):
        save_run(graph(root("1")), thread(), path)


def test_output_that_was_edited_is_not_taken_for_what_code_printed(tmp_path: Path) -> None:
    run = graph(root("print('seen')\nFINAL(1)"))
    run.invoke({"query": "go"}, thread())
    save_run(run, thread(), tmp_path / "run.json")
    path = edited(
        tmp_path / "run.json",
        lambda run: run["root"]["log"]["0.0"].update(stdout={"text": "not seen"}),
    )
    with pytest.raises(ReplayDivergedError, match=r"Cell 0\.0 was edited in the file"):
        replay_run(path)


def test_a_native_call_that_is_gone_is_named(tmp_path: Path) -> None:
    """A call of an external tool that the model made without code."""
    tool: dict[str, Any] = {
        "name": "ext",
        "description": "d",
        "parameters": {"type": "object", "properties": {}},
    }
    replies = [AIMessage("", tool_calls=[{"name": "ext", "args": {}, "id": "e"}]), cell("FINAL(1)")]
    run = graph(ScriptedModel(replies=replies), external_tools=[tool])
    run.invoke({"query": "go"}, thread())
    run.invoke(Command(resume="result"), thread())
    save_run(run, thread(), tmp_path / "run.json")
    assert replay_run(tmp_path / "run.json", external_tools=[tool]).turns == 2
    path = edited(tmp_path / "run.json", lambda run: run["root"]["log"].pop("0/0"))
    with pytest.raises(ReplayDivergedError, match="Call 0/0 is in its turn, but not in the log"):
        replay_run(path, external_tools=[tool])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda run: run.pop("limits"), "limits: Field required"),
        (
            lambda run: run["root"]["log"]["0"].pop("reply"),
            r"root\.log\.0\.turn\.reply: Field required",
        ),
        (lambda run: run["root"]["log"]["0"].update(kind="?"), r"root\.log\.0"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_the_place(
    tmp_path: Path, edit: Any, message: str
) -> None:
    path, _ = saved(tmp_path)
    with pytest.raises(ConfigurationError, match=rf"is not a saved run: {message}"):
        replay_run(edited(path, edit), tools=[price])


def test_a_run_without_checkpoints_cannot_be_saved_or_forked_and_says_so(tmp_path: Path) -> None:
    run = rlm([cell("FINAL(1)")])
    for attempt in (
        lambda: save_run(run, thread(), tmp_path / "run.json"),
        lambda: fork(run, thread(), "0", "x"),
    ):
        with pytest.raises(ConfigurationError, match="no checkpointer"):
            attempt()
    run = graph(root("FINAL(1)"))
    run.invoke({"query": "go"}, thread())
    with pytest.raises(ConfigurationError, match="has no checkpoint 'gone'"):
        save_run(
            run,
            cast(Any, {"configurable": {"thread_id": "t", "checkpoint_id": "gone"}}),
            tmp_path / "run.json",
        )
    with pytest.raises(ConfigurationError, match="thread_id"):
        save_run(run, {}, tmp_path / "run.json")


def test_a_run_that_waits_is_saved_and_replayed_as_far_as_it_came(tmp_path: Path) -> None:
    """One of two children waits for approval; the other has answered."""
    sub = Sub(replies=[cell("got = price(context) if context == 'tea' else 0\nFINAL(got)")])
    run = rlm(
        root("x = 1", "FINAL(rlm_query_batched(['q', 'q'], contexts=['tea', 'jam']))"),
        sub=sub,
        limits={"max_depth": 2},
        tools=[price],
        interrupt_on={"price": True},
        checkpointer=InMemorySaver(),
    )
    run.invoke({"query": "go"}, thread())
    save_run(run, thread(), tmp_path / "paused.json")
    assert replay_run(tmp_path / "paused.json", tools=[price]) == Replayed(
        rlms=3, turns=4, cells=2, calls=2
    )
    run.invoke(Command(resume={"type": "approve"}), thread())
    save_run(run, thread(), tmp_path / "done.json")
    assert replay_run(tmp_path / "done.json", tools=[price]) == Replayed(
        rlms=3, turns=4, cells=4, calls=2
    )


def test_a_fork_is_saved_with_its_own_children(tmp_path: Path) -> None:
    """The thread's history holds the children of both branches, under the same places."""
    run = graph(root("FINAL(rlm_query(llm_query('a'), context='xy'))"))
    run.invoke({"query": "go"}, thread())
    old = run.get_state(thread())
    run.invoke(None, fork(run, thread(), "0.0/0/0", "other"))
    save_run(run, thread(), tmp_path / "new.json")
    save_run(run, old.config, tmp_path / "old.json")
    asked = {}
    for name in ("new", "old"):
        assert replay_run(tmp_path / f"{name}.json").rlms == 3
        children = load_run(tmp_path / f"{name}.json")["root"]["children"]
        asked[name] = {
            place: child["log"]["run.0"]["question"] for place, child in children.items()
        }  # type: ignore[typeddict-item]
    assert asked == {"new": {"0.0/1/0": {"text": "other"}}, "old": {"0.0/1/0": {"text": "len=1"}}}


def test_limits_errors_and_rolled_back_cells_replay(tmp_path: Path) -> None:
    """Outcomes that are not repeated: a time-out is left out, a refused call and a failed one are answered from the log."""
    model = root(
        "x = 1\nwhile True:\n    x += 1",
        "y = 2\n1 / 0",
        "print(llm_query_batched(['a', 'b']))",
        "print(y, llm_query('c'))",
        "FINAL('never')",
    )
    run = graph(model, limits={"max_cell_seconds": 0.5, "max_sub_calls": 2})
    out = run.invoke({"query": "go"}, thread())
    assert out["stop_reason"] == "max_sub_calls"
    save_run(run, thread(), tmp_path / "run.json")
    assert replay_run(tmp_path / "run.json").cells == 3


def test_a_second_question_is_part_of_the_run(tmp_path: Path) -> None:
    model = root("a = context\nFINAL(a)", "FINAL(a + context + context_0)")
    run = graph(model)
    run.invoke({"query": "one", "context": "x"}, thread())
    assert run.invoke({"query": "two", "context": "y"}, thread())["answer"] == "xyx"
    save_run(run, thread(), tmp_path / "run.json")
    assert replay_run(tmp_path / "run.json").cells == 2


def test_runs_are_saved_from_sqlite(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.db")) as saver:
        path, _ = saved(tmp_path, saver=saver)
    assert replay_run(path, tools=[price]).rlms == 4


def test_runs_are_saved_from_async_sqlite(tmp_path: Path) -> None:
    async def play() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "runs.db")) as saver:
            run = graph(root(FIRST, SECOND, THIRD), saver)
            await run.ainvoke({"query": "find it", "context": "a needle\n" * 2000}, thread())
            await asave_run(run, thread(), tmp_path / "run.json")

    asyncio.run(play())
    assert replay_run(tmp_path / "run.json", tools=[price]).rlms == 4
