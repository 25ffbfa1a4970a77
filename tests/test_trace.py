"""A run as plain records: what they say of real runs, as lines of JSON, as a page, in the form of rlms, in a notebook."""

import asyncio
import base64
import gzip
import hashlib
import json
import re
import stat
from collections import defaultdict
from pathlib import Path
from typing import Any, TypedDict

import nbformat
import pytest
from click.testing import CliRunner
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from nbclient import NotebookClient
from pydantic import TypeAdapter

from langgraph_rlm import BlobError, ConfigurationError, create_rlm, fork, save_trace, show
from langgraph_rlm.cli.main import main
from langgraph_rlm.log.entries import Log
from langgraph_rlm.testing import ScriptedModel, cell
from langgraph_rlm.trace import Trace, atrace_of, trace_of
from langgraph_rlm.trace.follow import Follower
from langgraph_rlm.trace.records import Record, TextRecord
from langgraph_rlm.trace.rlms import rlms_lines

from .models import rlm, root, thread
from .pictures import png
from .test_notebooks import ThisInterpreter

LINE: TypeAdapter[Any] = TypeAdapter(Record | TextRecord)
PAGE = Path(__file__).parent.parent / "langgraph_rlm" / "trace" / "page" / "app.js"
with_page = pytest.mark.skipif(not PAGE.exists(), reason="web/ is not built into trace/page/")

HOSTILE = "</script><!-- <img src=x onerror=alert(1)> & \u2028 \ud800 \x00 '\""
"""What must come through every field as it is."""


def price(item: str) -> float:
    """What something costs."""
    if item == "nothing":
        raise ValueError("no such thing")
    return 2.5


def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


FIRST = "found = grep('needle', max_matches=3)\nprint(len(found), llm_query_batched(['w' * 700, 'b', 'c']))"
SECOND = "try:\n    price('nothing')\nexcept RuntimeError as error:\n    print(error)\nprint(price('tea'))"
THIRD = "kid = rlm_query('sum up', context='a b c ' * 300)\nFINAL(kid)"


def graph(*codes: str, saver: Any = None, **options: Any) -> Any:
    child = ScriptedModel(
        replies=[cell("FINAL(llm_query('deep'))"), "never"], answer=None, model_name="child"
    )
    options = {"limits": {"max_depth": 2}, "tools": [price, search], **options}
    return rlm(root(*codes), sub=child, checkpointer=saver or InMemorySaver(), **options)


def done(**options: Any) -> Any:
    """A graph whose thread "t" has run three turns with a tool that failed once, and a child."""
    found = graph(FIRST, SECOND, THIRD, **options)
    found.invoke({"query": "find it", "context": "a needle\n" * 100}, thread())
    return found


def of(trace: Trace, type: str, **wanted: Any) -> list[Any]:
    """The records of a type that have some values."""
    return [
        record
        for record in trace.records
        if record["type"] == type and wanted.items() <= record.items()
    ]


def only(trace: Trace, type: str, **wanted: Any) -> Any:
    [record] = of(trace, type, **wanted)
    return record


def test_a_run_as_records(tmp_path: Path) -> None:
    """Each entry of each log is a record, and says what it belongs to."""
    run = done(blob_store=tmp_path)
    trace = trace_of(run, thread())
    head = trace.head
    assert (head["state"], head["questions"], head["namespace"]) == ("done", 1, "")
    assert head["limits"]["max_depth"] == 2
    state = run.get_state(thread()).values
    assert head["root"] == state["trajectory"] and head["usage"] == state["usage"]
    mine: Log = state["log"]
    assert {
        record["place"]
        for record in trace.records
        if record.get("rlm") == head["root"] and "place" in record
    } == set(mine)
    child = only(trace, "rlm", depth=1)
    assert (child["parent"], child["parent_place"]) == (head["root"], "2.0/0/0")
    assert only(trace, "reply", rlm=head["root"], place="2.0/0/0")["child"] == child["rlm"]
    assert len({record["id"] for record in trace.records}) == len(trace.records)


def test_what_calls_and_their_answers_say() -> None:
    trace = trace_of(done(), thread())
    root_id = trace.head["root"]
    prompt = only(trace, "reply", rlm=root_id, place="0.0/0/0")["prompt"]
    assert prompt["chars"] == 700 and trace.text(prompt["ref"]) == "w" * 700
    failed = only(trace, "reply", rlm=root_id, place="1.0/0/0")
    assert failed["state"] == "failed" and "no such thing" in failed["error"]
    bought = only(trace, "reply", rlm=root_id, place="1.0/1/0")
    assert (bought["state"], bought["value"], bought["is_json"]) == ("answered", "2.5", True)
    assert json.loads(only(trace, "call", rlm=root_id, place="1.0/1")["request"]) == {"item": "tea"}
    [digest] = only(trace, "cell", rlm=root_id, place="0.0")["reads"]
    assert digest == only(trace, "question", rlm=root_id)["contexts"][0]["digest"]
    assert trace.context(digest).startswith("a needle")


def test_when_everything_was() -> None:
    """Times follow each other, and what is spent only grows."""
    trace = trace_of(done(), thread())
    only_run = trace.head["runs"]
    assert [run["ended"] for run in only_run] == ["finished"]
    began, ended = only_run[0]["from"], only_run[0]["to"]
    for record in trace.records:
        if "at" in record and record["type"] != "spent":
            assert began <= record["at"] <= ended and record["run"] == only_run[0]["run"]
    for reply in of(trace, "reply"):
        assert reply.get("waited", 0) >= 0
    spent = only(trace, "spent")
    for column in ("at", "cost", "tokens", "sub_calls"):
        assert spent[column] == sorted(spent[column])
    usage = trace.head["usage"]
    assert spent["sub_calls"][-1] == usage["sub_calls"]
    assert spent["tokens"][-1] == usage["input_tokens"] + usage["output_tokens"]


def test_what_a_turn_says_is_told_apart() -> None:
    reply = f"<think>hm</think>First I look.\n{cell('print(1)')}\nThen I wait."
    run = rlm([reply, 'I have seen it.\n\nFINAL("yes it is")'], checkpointer=InMemorySaver())
    run.invoke({"query": "q"}, thread())
    trace = trace_of(run, thread())
    first, last = of(trace, "turn")
    assert (first["thoughts"], first["prose"], first["cells"]) == (
        "<think>hm</think>",
        "First I look.\n\nThen I wait.",
        ["0.0"],
    )
    assert last["final"] == "yes it is" and last["cells"] == []


def test_what_models_have_seen_of_a_context() -> None:
    run = rlm(root("FINAL(llm_query(peek(0, 600)))"), checkpointer=InMemorySaver())
    text = "".join(f"line {number} of the context\n" for number in range(100))
    run.invoke({"query": "q", "context": text}, thread())
    trace = trace_of(run, thread())
    covered = only(trace, "coverage")
    assert covered["read"] == [[0, 600]] and [0, 600] in covered["sent"]
    assert 0 < covered["seen_share"] < 1
    assert trace.head["coverage"] == {covered["name"]: covered["seen_share"]}
    places = {by["place"] for by in covered["by"] if by["kind"] == "sent"}
    assert places <= {record["place"] for record in of(trace, "reply")}


def test_refusals_queries_and_calls_of_the_model_itself(tmp_path: Path) -> None:
    call = {"name": "look", "args": {"item": "tea"}, "id": "one", "type": "tool_call"}
    look = {"name": "look", "parameters": {"type": "object", "properties": {"item": {}}}}
    replies = [
        AIMessage("I look it up.", tool_calls=[call]),
        cell("print(sql('select count(*) as n from rows'))"),
        cell("FINAL({'n': 'many'})"),
        cell("FINAL({'n': 2})"),
    ]
    run = rlm(
        replies,
        checkpointer=InMemorySaver(),
        external_tools=[{"type": "function", "function": look}],
        response_format={"type": "object", "properties": {"n": {"type": "integer"}}},
    )
    table = tmp_path / "rows.csv"
    table.write_text("a,b\n1,2\n3,4\n")
    run.invoke({"query": "q", "context": table}, thread())
    pause = only(trace_of(run, thread()), "pause")
    assert (pause["kind"], pause["arguments"], pause["place"]) == (
        "external",
        {"item": "tea"},
        "0/0/0",
    )
    run.invoke(Command(resume=2.5), thread())
    trace = trace_of(run, thread())
    native = only(trace, "call", place="0/0")
    assert "cell" not in native and only(trace, "reply", call="0/0")["value"] == "2.5"
    assert only(trace, "reply", call="0/0")["decision"]["type"] == "result"
    query = only(trace, "call", call="sql")
    assert "select count" in query["request"]
    assert only(trace, "reply", call=query["place"])["value"] == '[{"n":2}]'
    refused = only(trace, "refused")
    assert (refused["turn"], json.loads(refused["answer"])) == (2, {"n": "many"})
    assert "integer" in refused["error"]
    assert trace.head["structured"] == {"n": 2}
    for record in trace.records:
        LINE.validate_python(record, strict=True)


# Runs that are not over


def test_a_pause_and_who_decided() -> None:
    run = graph("print(price('tea'))", "FINAL('bought')", interrupt_on={"price": True})
    run.invoke({"query": "q"}, thread())
    trace = trace_of(run, thread())
    assert trace.head["state"] == "paused" and [each["ended"] for each in trace.head["runs"]] == [
        "paused"
    ]
    pause = only(trace, "pause")
    assert (pause["kind"], pause["tool"], pause["arguments"], pause["place"]) == (
        "approval",
        "price",
        {"item": "tea"},
        "0.0/0/0",
    )
    assert pause["schema"]["oneOf"]
    assert only(trace, "reply")["state"] == "paused" and only(trace, "cell")["state"] == "open"
    config: Any = {"configurable": {"thread_id": "t", "user_id": "ann"}}
    run.invoke(Command(resume={pause["interrupt"]: {"type": "approve"}}), config)
    trace = trace_of(run, thread())
    assert not of(trace, "pause") and [each["ended"] for each in trace.head["runs"]] == [
        "paused",
        "finished",
    ]
    decision = only(trace, "reply")["decision"]
    assert (decision["type"], decision["by"]) == ("approve", "ann")


async def test_a_run_that_was_cut_off_and_continued() -> None:
    """What was answered is there; the rest is open, and done by the next invocation."""

    class Slow(ScriptedModel):
        async def _agenerate(self, messages: list[Any], *args: Any, **kwargs: Any) -> Any:
            if messages[-1].text == "b" and not goes_on.is_set():
                waiting.set()
                await goes_on.wait()
            return await super()._agenerate(messages, *args, **kwargs)

    waiting, goes_on = asyncio.Event(), asyncio.Event()
    code = "FINAL(str(llm_query_batched(['a', 'b'])))"
    run = rlm(root(code), sub=Slow(answer=str.upper), checkpointer=InMemorySaver())
    task = asyncio.create_task(run.ainvoke({"query": "q"}, thread()))
    await waiting.wait()
    await asyncio.sleep(0.05)
    trace = await atrace_of(run, thread())
    assert trace.head["state"] == "running" and trace.head["runs"][-1]["ended"] == "running"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    trace = await atrace_of(run, thread())
    assert trace.head["state"] == "stopped" and trace.head["runs"][-1]["ended"] == "killed"
    assert [reply["state"] for reply in of(trace, "reply")] == ["answered", "open"]
    goes_on.set()
    await run.ainvoke(None, thread())
    trace = await atrace_of(run, thread())
    assert [each["ended"] for each in trace.head["runs"]] == ["killed", "finished"]


def test_the_branches_of_a_forked_thread() -> None:
    run = done()
    old = trace_of(run, thread())
    [end] = old.head["branches"]
    assert end["current"] and end["checkpoint"] == old.head["checkpoint"]
    run.invoke(None, fork(run, thread(), "0.0/0/1", "another"))
    new = trace_of(run, thread())
    [left, current] = new.head["branches"]
    assert (left["current"], left["place"], left["question"]) == (False, "0.0/0/1", "find it")
    assert current["current"] and left["checkpoint"] == end["checkpoint"]
    assert only(new, "reply", rlm=new.head["root"], place="0.0/0/1")["value"] == "another"
    before = {"configurable": {"thread_id": "t", "checkpoint_id": end["checkpoint"]}}
    again = trace_of(run, before)
    assert {record["id"]: record for record in again.records[1:]} == {
        record["id"]: record for record in old.records[1:]
    }


# Threads of other graphs


class Outer(TypedDict, total=False):
    query: str
    answer: str


def test_rlms_that_are_nodes_of_a_larger_graph(tmp_path: Path) -> None:
    """Found by their channels, with the graph and with its checkpointer alone."""
    saver = InMemorySaver()
    builder: Any = StateGraph(Outer)
    for name in ("first", "second"):
        builder.add_node(name, create_rlm(root(f"FINAL('{name}')"), blob_store=tmp_path))
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    builder.add_edge("second", END)
    outer = builder.compile(checkpointer=saver)
    outer.invoke({"query": "q"}, thread())
    for given in (outer, saver):
        trace = trace_of(given, thread(), blob_store=tmp_path)
        assert [each["answer"] for each in of(trace, "rlm")] == ["first", "second"]
        assert trace.head["root"] == trace.head["roots"][-1] and trace.head["answer"] == "second"
        assert trace.head["namespace"].startswith("second:") and "limits" not in trace.head
        one: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": trace.head["namespace"]}}
        assert trace_of(given, one, blob_store=tmp_path).head["answer"] == "second"


def test_a_thread_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match="no thread 'other'"):
        trace_of(done(), thread("other"))
    with pytest.raises(ConfigurationError, match="has none"):
        trace_of(rlm(["FINAL(1)"]), thread())


def test_a_thread_without_times(tmp_path: Path) -> None:
    """Threads of earlier versions: what they do not say is left out, never made up."""
    run = graph(FIRST, "FINAL('yes')", blob_store=tmp_path)
    run.invoke({"query": "find it", "context": "a needle"}, thread())
    log = run.get_state(thread()).values["log"]
    stamps = {"at", "seconds", "run"}
    old = {
        place: {
            key: value
            for key, value in entry.items()
            if key not in stamps and not (entry["kind"] == "turn" and key == "usage")
        }
        for place, entry in log.items()
    }
    run.update_state(thread(), {"log": old}, as_node="finalize")
    trace = trace_of(run, thread())
    assert trace.head["runs"] == [] and not of(trace, "spent")
    for record in trace.records:
        allowed = {"at"} if record["type"] == "question" else set[str]()
        assert record.keys() & stamps == allowed
    for line in lines_of(run, tmp_path / "old.jsonl"):
        LINE.validate_python(json.loads(line), strict=True)


# Lines of JSON


def lines_of(run: Any, path: Path, **options: Any) -> list[str]:
    save_trace(run, thread(), path, **options)
    read = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return read.decode().split("\n")[:-1]


def refs_in(value: Any) -> set[str]:
    """The digests of the texts that a record refers to."""
    if isinstance(value, dict):
        own = {value["ref"]} if {"ref", "chars", "start"} <= value.keys() else set[str]()
        return own.union(*map(refs_in, value.values()))
    return set[str]().union(*map(refs_in, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_lines_are_as_documented_and_have_every_text(name: str, tmp_path: Path) -> None:
    """A reader of the file alone can rebuild every text."""
    run = done(blob_store=tmp_path)
    lines = [json.loads(line) for line in lines_of(run, tmp_path / name)]
    for line in lines:
        LINE.validate_python(line, strict=True)
    texts = {line["digest"]: line["text"] for line in lines if line["type"] == "text"}
    refs = set[str]().union(*map(refs_in, lines))
    contexts = {
        context["digest"]
        for line in lines
        if line["type"] == "question"
        for context in line["contexts"]
    }
    assert refs and refs | contexts <= texts.keys()
    assert "a needle\n" * 100 in texts.values()
    without = lines_of(run, tmp_path / name, contexts=False)
    assert len(without) < len(lines)


def documented() -> dict[str, set[str]]:
    """The fields of each type of record, by docs/trace.md."""
    page = (Path(__file__).parent.parent / "docs" / "trace.md").read_text()
    found: dict[str, set[str]] = defaultdict(set)
    for part in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        name = re.match(r"`(\w+)`", part)
        if name:
            found[name[1]].update(re.findall(r"^\| `(\w+)`", part, flags=re.MULTILINE))
    return found


def test_quotes_of_the_answer_are_checked(tmp_path: Path) -> None:
    text = "[page 1 of a.pdf]\nAnn signed the lease on 3 March.\n[page 2 of a.pdf]\nBob paid for the flat in June."
    answer = 'It says "Ann signed the lease", "Bob paid for the flats in June" and "nobody ever paid rent".'
    run = rlm([f"FINAL({answer!r})"], checkpointer=InMemorySaver(), blob_store=tmp_path / "blobs")
    run.invoke({"query": "q", "context": text}, thread())
    exact, near, absent = trace_of(run, thread()).head["quotes"]
    assert (exact["status"], exact["page"]) == ("exact", 1)
    assert text.encode()[exact["start"] : exact["end"]] == b"Ann signed the lease"
    assert (near["status"], near["page"]) == ("near", 2)
    assert 0.7 < near["similarity"] < 1
    assert absent["status"] == "not_found" and "start" not in absent


def test_every_field_is_documented() -> None:
    told = documented()
    for kind in (*Record.__args__, TextRecord):
        hints = kind.__annotations__
        [name] = re.findall(r"'(\w+)'", str(hints["type"]))
        fields = set[str](kind.__required_keys__ | kind.__optional_keys__)
        shared = {"type", "id", "rlm", "place", "at", "seconds", "run"}
        assert told[name] - shared == fields - shared, name


def test_hostile_texts_come_through_as_they_are(tmp_path: Path) -> None:
    """Lone surrogates too, which no encoding has: they are escapes of JSON."""
    path = tmp_path / "t.jsonl"
    long = HOSTILE + "x" * 600
    run = rlm(
        [f"{HOSTILE}\n{cell('print(llm_query(str(context)))')}", "FINAL('end')"],
        sub=lambda text: HOSTILE,
        checkpointer=InMemorySaver(),
        blob_store=tmp_path / "blobs",
    )
    run.invoke({"query": HOSTILE, "context": {"name": long}}, thread())
    lines = [json.loads(line) for line in lines_of(run, path)]
    turn = next(line for line in lines if line["type"] == "turn")
    assert HOSTILE in turn["reply"] and turn["prose"] == HOSTILE
    assert next(line for line in lines if line["type"] == "question")["question"] == HOSTILE
    assert next(line for line in lines if line["type"] == "reply")["value"] == HOSTILE
    assert any(
        long in json.loads(line["text"].split("\n")[0])
        for line in lines
        if line["type"] == "text" and line["text"].startswith('["name"')
    )


# The official package's form


def test_the_form_of_rlms(tmp_path: Path) -> None:
    """The fields that `rlm/core/types.py` of rlms 0.1.3 writes, with a child's trajectory in its call."""
    lines = [json.loads(line) for line in rlms_lines(trace_of(done(), thread()))]
    metadata, *iterations = lines
    assert (
        metadata.keys() == {"type", "timestamp", *RLMS["metadata"]}
        and metadata["type"] == "metadata"
    )
    assert [line["iteration"] for line in iterations] == [1, 2, 3]
    assert [line["final_answer"] for line in iterations] == [None, None, "len=4"] or iterations[-1][
        "final_answer"
    ]
    for line in iterations:
        assert_iteration(line)
    calls = iterations[0]["code_blocks"][0]["result"]["rlm_calls"]
    assert [call["prompt"] for call in calls] == ["w" * 700, "b", "c"]
    [child] = iterations[2]["code_blocks"][0]["result"]["rlm_calls"]
    assert child["metadata"].keys() == {"run_metadata", "iterations"}
    for line in child["metadata"]["iterations"]:
        assert_iteration(line)
    assert not iterations[1]["code_blocks"][0]["result"]["rlm_calls"]


RLMS = json.loads((Path(__file__).parent / "rlms_fields.json").read_text())
"""The keys of the official package's JSONL, by what has them."""


def assert_iteration(line: dict[str, Any]) -> None:
    assert line.keys() == {"type", "iteration", "timestamp", *RLMS["iteration"]}
    assert all(message.keys() == {"role", "content"} for message in line["prompt"])
    for block in line["code_blocks"]:
        assert block.keys() == set(RLMS["code_block"])
        assert block["result"].keys() == set(RLMS["result"])
        assert isinstance(block["result"]["execution_time"], float)
        for call in block["result"]["rlm_calls"]:
            assert set(RLMS["call"]) <= call.keys() <= {*RLMS["call"], *RLMS["call_may_have"]}
            assert call["usage_summary"].keys() <= set(RLMS["usage_summary"])
            for model in call["usage_summary"]["model_usage_summaries"].values():
                assert model.keys() <= set(RLMS["model_usage"])


# The page


def parts_of_page(page: str) -> dict[str, Any]:
    """The data of a page, by the id of its element."""
    found = re.findall(
        r'<script type="application/json" id="(\w+)">(.*?)</script>', page, re.DOTALL
    )
    return {name: json.loads(text) for name, text in found}


@with_page
def test_a_page_is_one_file_that_needs_no_network(tmp_path: Path) -> None:
    run = done(blob_store=tmp_path)
    save_trace(run, thread(), tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text()
    [policy] = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    script = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    style = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    for kind, [text] in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    parts = parts_of_page(page)
    trace = trace_of(run, thread())
    assert parts["boot"] == {"mode": "static", "traces": [{"records": trace.records}]}
    [texts] = parts["texts"]
    assert refs_in(trace.records) <= texts.keys()
    assert all(
        hashlib.sha256(text.encode()).hexdigest() == digest for digest, text in texts.items()
    )
    save_trace(run, thread(), tmp_path / "t.html", contexts=False)
    [without] = parts_of_page((tmp_path / "t.html").read_text())["texts"]
    assert len(without) < len(texts)


@with_page
def test_hostile_texts_stay_data_in_a_page(tmp_path: Path) -> None:
    """No text of a run ends its element, and none is markup."""
    run = rlm(
        [f"{HOSTILE}\n{cell('print(llm_query(context))')}", "FINAL('</script><b>bold')"],
        sub=lambda text: HOSTILE,
        checkpointer=InMemorySaver(),
    )
    run.invoke({"query": HOSTILE, "context": HOSTILE * 50}, thread())
    save_trace(run, thread(), tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text()
    assert page.count("</script>") == 4 and "<!--" not in page
    assert "onerror=alert(1)>" not in page and "<b>bold" not in page
    parts = parts_of_page(page)
    asked = [each for each in parts["boot"]["traces"][0]["records"] if each["type"] == "question"]
    assert asked[0]["question"] == HOSTILE and HOSTILE * 50 in parts["texts"][0].values()


@with_page
def test_pictures_of_a_page_are_what_their_bytes_are(tmp_path: Path) -> None:
    """A file that code calls a picture is none unless its bytes say so."""
    picture = tmp_path / "a.png"
    picture.write_bytes(png())
    run = rlm(
        root("FINAL(llm_query('what is it?', images=['context']))"), checkpointer=InMemorySaver()
    )
    run.invoke({"query": "q", "context": picture}, thread())
    save_trace(run, thread(), tmp_path / "t.html")
    [shown] = parts_of_page((tmp_path / "t.html").read_text())["pictures"].values()
    assert shown["type"] == "image/png" and base64.b64decode(shown["base64"]) == png()


def test_a_trace_is_saved_by_the_ending_of_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must end in"):
        save_trace(done(), thread(), tmp_path / "t.txt")


# Following


async def test_a_follower_gives_what_is_new(tmp_path: Path) -> None:
    """All records at first, later those that changed; a pause that is answered is gone."""
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "t.db")) as saver:
        run = graph(
            "print(price('tea'))", "FINAL('bought')", interrupt_on={"price": True}, saver=saver
        )
        follower = Follower(run, thread())
        assert not await follower.has_begun()
        with pytest.raises(ConfigurationError):
            await follower.changes()
        await run.ainvoke({"query": "q" * 900}, thread())
        first = await follower.changes()
        assert await follower.has_begun() and first.state == "paused"
        assert first.records == (await atrace_of(run, thread())).records
        again = await follower.changes()
        assert (again.records, again.gone, again.state) == ([], [], "paused")
        pause = next(record for record in first.records if record["type"] == "pause")
        await run.ainvoke(Command(resume={"type": "approve"}), thread())
        then = await follower.changes()
        assert then.state == "done" and then.gone == [pause["id"]]
        changed = {record["id"].rpartition(":")[2] for record in then.records}
        assert {"0.0", "0.0/0/0", "1", "1.0", "trace"} <= changed and "run.0" not in changed
        question = next(record for record in first.records if record["type"] == "question")[
            "question"
        ]
        assert await follower.text(question["ref"]) == "q" * 900 and follower.names(question["ref"])
        assert not follower.names("0" * 64)
        with pytest.raises(BlobError):
            await follower.text("0" * 64)


# The command


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the command with a thread "demo", and no screen to open pages on."""
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", str(tmp_path / "blobs"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    db = str(tmp_path / "threads.db")

    async def ask() -> None:
        async with AsyncSqliteSaver.from_conn_string(db) as saver:
            await graph(FIRST, "FINAL('yes')", saver=saver).ainvoke(
                {"query": "find it", "context": "a needle"}, thread("demo")
            )

    asyncio.run(ask())
    return db


def test_the_command_writes_lines(kept: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["trace", "demo", "--db", kept, "--jsonl"])
    lines = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert done.exit_code == 0 and lines[0]["thread"] == "demo"
    target = tmp_path / "t.jsonl.gz"
    CliRunner().invoke(main, ["trace", "demo", "--db", kept, "--jsonl", str(target)])
    assert gzip.decompress(target.read_bytes()).decode() == done.stdout
    done = CliRunner().invoke(main, ["trace", "demo", "--db", kept, "--format", "rlms"])
    assert json.loads(done.stdout.partition("\n")[0])["type"] == "metadata"


@with_page
def test_the_command_makes_a_private_page(kept: str, tmp_path: Path) -> None:
    """Nobody else on the machine can read it; without a browser it says where it is."""
    done = CliRunner().invoke(main, ["trace", "demo", "--db", kept])
    path = Path(done.stdout.strip())
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "no browser" in done.stderr
        assert parts_of_page(path.read_text())["boot"]["mode"] == "static"
    finally:
        path.unlink()


@with_page
def test_the_command_puts_two_traces_into_a_page(kept: str, tmp_path: Path) -> None:
    target = tmp_path / "both.html"
    lines = CliRunner().invoke(main, ["trace", "demo", "--db", kept, "--jsonl"]).stdout
    end = json.loads(lines.partition("\n")[0])["checkpoint"]
    arguments = ["trace", "demo", "--db", kept, "--html", str(target), "--compare"]
    for other in ("demo", f"demo@{end}"):
        assert CliRunner().invoke(main, [*arguments, other]).exit_code == 0
        traces = parts_of_page(target.read_text())["boot"]["traces"]
        assert [each["records"][0]["checkpoint"] for each in traces] == [end, end]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["other"], "no thread 'other'"),
        (["demo", "--checkpoint", "1f"], "no checkpoint '1f'"),
        (["demo", "--jsonl", "--html", "a.html"], "give no --html"),
        (["demo", "--jsonl", "/nowhere/a.jsonl"], "cannot be written"),
    ],
)
def test_what_the_command_refuses(kept: str, arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(main, ["trace", *arguments, "--db", kept])
    assert done.exit_code and told in done.stderr and "Traceback" not in done.stderr


# Notebooks


def test_outside_of_a_notebook_show_prints(capsys: pytest.CaptureFixture[str]) -> None:
    show(done(), thread())
    told = capsys.readouterr().out
    assert "Thread t: Done. 4 turns, 5 of 5 sub-calls" in told and "Question: find it" in told


NOTEBOOK = """
import asyncio
from langgraph.checkpoint.memory import InMemorySaver
from langgraph_rlm import create_rlm, show
from langgraph_rlm.testing import ScriptedModel, cell

class Sub(ScriptedModel):
    async def _agenerate(self, *args, **kwargs):
        while "1 of 2 sub-calls" not in view.text and self.calls:
            await asyncio.sleep(0.01)
        return await super()._agenerate(*args, **kwargs)

model = ScriptedModel(replies=[cell("print(llm_query('a'), llm_query('b'))"), cell("FINAL('</iframe>')")])
rlm = create_rlm(model, sub_model=Sub(answer=str.upper), checkpointer=InMemorySaver(), sandbox="monty")
config = {"configurable": {"thread_id": "t"}}
view = show(rlm, config)
---
out = rlm.invoke({"query": "q"}, config)
view.wait(30)
---
show(rlm, config).wait(30)
"""


@with_page
def test_a_notebook_shows_progress_and_then_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output of the first cell changes while the second one works."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", str(tmp_path / "blobs"))
    cells = [nbformat.v4.new_code_cell(part.strip()) for part in NOTEBOOK.split("---")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    told: list[str] = []

    class Watched(NotebookClient):
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            if msg["msg_type"] in ("display_data", "update_display_data"):
                told.append(msg["content"]["data"]["text/plain"])
            return super().process_message(msg, cell, cell_index)

    Watched(
        notebook, kernel_manager_class=ThisInterpreter, kernel_name="python3", timeout=60
    ).execute()
    assert told[0] == "The run has not begun."
    assert any(text.startswith("Works. 1 turn, 1 of 2 sub-calls") for text in told)
    for number in (0, 2):
        [output] = notebook.cells[number].outputs
        assert "Thread t: Done. 2 turns, 2 of 2 sub-calls" in output["data"]["text/plain"]
        frame = output["data"]["text/html"]
        assert frame.startswith(
            '<iframe title="Trace" sandbox="allow-scripts" srcdoc="&lt;!doctype html&gt;'
        )
        assert frame.count("<") == 2 and frame.endswith("</iframe>")
