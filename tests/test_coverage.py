"""Coverage: runs made so that what models have seen is known, and what is never claimed."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ChatRLM, create_rlm
from langgraph_rlm.cli.coverage_text import coverage_line
from langgraph_rlm.coverage.mapped import unescaped
from langgraph_rlm.coverage.matching import LEAST, Match, Matcher, TooMuchWork
from langgraph_rlm.coverage.of_log import Bounds
from langgraph_rlm.coverage.of_log import covered as covered_in
from langgraph_rlm.coverage.series import Series
from langgraph_rlm.coverage.shares import shares_of
from langgraph_rlm.coverage.tree import coverage_of
from langgraph_rlm.history.run_tree import run_tree
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.server.settings import Alias
from langgraph_rlm.testing import ScriptedModel, cell
from tests.openai_server import OpenAIServer
from tests.servers import Served

PREVIEW = 300
"""Characters of a context that each question shows."""
THREAD: Any = {"configurable": {"thread_id": "1"}}


def lines(count: int, seed: int = 1) -> str:
    """Lines of 81 letters: random words, none of which is there twice."""
    rng = random.Random(seed)
    return "".join(
        " ".join(f"{rng.getrandbits(32):08x}" for _ in range(9)) + "\n" for _ in range(count)
    )


TEXT = lines(500)  # 40,500 bytes
LINE = "the same line again and again, word by word\n"


class Asked:
    """Runs of one thread: each question has its context and its cells, one a turn."""

    def __init__(self, *questions: tuple[Any, list[str]], sub: Any = None, **options: Any) -> None:
        codes = [code for _, cells in questions for code in cells]
        self.graph = create_rlm(
            ScriptedModel(replies=[cell(code) for code in codes]),
            sub_model=sub or ScriptedModel(answer=lambda _: "ok"),
            checkpointer=InMemorySaver(),
            **options,
        )
        self.outs = [
            self.graph.invoke({"query": "q", "context": context}, THREAD)
            for context, _ in questions
        ]
        self.graph.rlm.sessions.close()

    @property
    def coverage(self) -> Any:
        """What the last run gives; the trace says the same."""
        found: Any = self.outs[-1]["coverage"]
        shares = {name: each["seen"] for name, each in found["contexts"].items()}
        assert {each["name"]: each["seen_share"] for each in self.records} == shares
        assert json.dumps(found)
        return found

    @property
    def records(self) -> Any:
        """What the trace has of each context."""
        rlm = self.graph.rlm
        tree = asyncio.run(run_tree(self.graph, THREAD))
        return coverage_of(tree, rlm.blobs, output_chars=rlm.output_chars)


def covered(context: Any, *codes: str, **options: Any) -> Any:
    return Asked((context, [*codes]), **options).coverage


def seen(context: Any, *codes: str, **options: Any) -> float:
    return covered(context, *codes, **options)["seen"]


def about(size: float) -> Any:
    """A share of TEXT, which is given in four digits."""
    return pytest.approx(size / len(TEXT), abs=0.0002)


# What prompts hold


def test_chunks_over_all_of_a_text() -> None:
    got = covered(
        TEXT,
        "llm_query_batched([f'Sum up:\\n{context[i:i + 2000]}' for i in range(0, len(context), 2000)])\nFINAL('x')",
    )
    assert got == {
        "seen": 1.0,
        "size": 40_500,
        "whole": True,
        "contexts": {"context_0": {"seen": 1.0, "read": 0.0, "whole": True, "size": 40_500}},
    }


def test_chunks_over_half_of_a_text() -> None:
    assert (
        seen(
            TEXT,
            "llm_query_batched([f'Sum up: {context[i:i + 2025]}' for i in range(0, 20250, 2025)])\nFINAL('x')",
        )
        == 0.5
    )


def test_chunks_that_overlap_count_once() -> None:
    assert seen(
        TEXT,
        "llm_query_batched([f'{context[i:i + 3000]} ?' for i in range(0, 18000, 1000)])\nFINAL('x')",
    ) == about(20_000)


def test_what_is_found_read_and_asked_about() -> None:
    at = TEXT.index("\n", 30_000) + 1
    code = f"hit = grep({TEXT[at : at + 8]!r})[0]\npiece = peek(hit['start'], hit['start'] + 4050)\nllm_query(f'What of {{piece}}')\nFINAL('x')"
    got = covered(TEXT, code)
    assert got["whole"] is False
    assert got["seen"] == about(4050 + PREVIEW)
    assert got["contexts"]["context_0"]["read"] == about(4050)


def test_ranges_are_known_without_a_look_at_the_text() -> None:
    got = covered(
        TEXT,
        "ranges = chunk_ranges(4050)\nllm_query_batched('Sum up', ranges=ranges[:4])\nFINAL('x')",
    )
    assert got["seen"] == about(4 * 4050)
    assert got["contexts"]["context_0"]["read"] == got["seen"] and not got["whole"]


def test_a_context_too_large_to_be_bound_is_not_used_as_a_variable() -> None:
    large = lines(4000)
    code = "try:\n    context[0]\nexcept NameError:\n    llm_query('q', ranges=[(0, 32_400)])\nFINAL('x')"
    got = covered(large, code, limits={"max_heap_bytes": 1 << 20})
    assert got["seen"] == 0.1 and not got["whole"]


def test_a_call_that_failed_or_was_refused_has_sent_nothing() -> None:
    failing = ScriptedModel(answer=lambda _: OSError("gone"))
    code = "try:\n    llm_query(context[:20250])\nexcept RuntimeError:\n    FINAL('x')"
    assert seen(TEXT, code, sub=failing) == about(PREVIEW)
    refused = "try:\n    llm_query_batched([context[:9000], context[9000:]])\nexcept ValueError:\n    FINAL('x')"
    assert seen(TEXT, refused, limits={"max_sub_calls": 1}) == about(PREVIEW)


def test_a_prompt_in_json_or_as_a_repr_counts_as_what_it_stands_for() -> None:
    text = "".join(
        f'{number} says: "é — \\n {word} 😀"\n' for number, word in enumerate(lines(20).split())
    )
    for written in (
        "json.dumps(context)",
        "json.dumps(context, ensure_ascii=False)",
        "repr(context)",
        "json.dumps({'text': [context]})",
    ):
        assert seen(text, f"import json\nllm_query('Sum up: ' + {written})\nFINAL('x')") == 1.0, (
            written
        )


def test_rows_that_sql_gave_and_a_prompt_holds(tmp_path: Path) -> None:
    table = "id,word\n" + "".join(
        f"{number},{line}\n" for number, line in enumerate(lines(100).splitlines())
    )
    (tmp_path / "t.csv").write_text(table)
    got = covered(
        tmp_path / "t.csv",
        "rows = sql('SELECT word FROM t WHERE id < 50')\nllm_query('\\n'.join(row['word'] for row in rows))\nFINAL('x')",
    )
    assert got["whole"] is False and got["contexts"]["context_0"]["read"] == 1.0
    assert got["seen"] == pytest.approx(50 * 80 / len(table), abs=0.01)  # but for the numbers


# What is shown


def test_what_a_cell_prints_counts_once_the_root_was_shown_it() -> None:
    assert seen(TEXT, "print(context[:4050])", "FINAL('x')") == 0.1
    assert seen(TEXT, "print(context[:4050])\nFINAL('x')") == about(PREVIEW)
    assert seen(TEXT, "context[4050:8100]", "FINAL('x')") == about(4050 + PREVIEW)
    assert seen(TEXT, "raise ValueError(context[4050:4455])", "FINAL('x')") == about(405 + PREVIEW)


def test_what_is_cut_out_of_an_output_was_not_shown() -> None:
    limits = {"max_output_chars": 1000}
    assert seen(TEXT, "print(context[4050:8100])", "FINAL('x')", limits=limits) == about(
        1000 + PREVIEW
    )


def test_a_best_answer_at_a_limit_has_seen_the_last_output() -> None:
    assert seen(TEXT, "print(context[:4050])", "so far", limits={"max_iterations": 1}) == 0.1


def test_an_output_that_was_summed_up_at_once_or_cut_is_not_known_to_be_seen() -> None:
    class Narrow(ScriptedModel):
        """Refuses what is long, as providers do."""

        def _reply(self, messages: Any) -> Any:
            if any(len(message.text) > 16_000 for message in messages):
                raise ValueError("maximum context length is 6000 tokens")
            return super()._reply(messages)

    root = Narrow(replies=[cell("print(context[:16200])"), "so far"])
    graph = create_rlm(root, limits={"max_iterations": 1}, window_tokens=100_000)
    out = graph.invoke({"query": "q", "context": TEXT})
    graph.rlm.sessions.close()
    assert out["answer"] == "so far"
    assert out["coverage"]["seen"] == about(PREVIEW)


# Code that has the context as a variable


@pytest.mark.parametrize(
    ("code", "whole", "read"),
    [
        ("n = len(context)\nok = isinstance(context, str)", False, 0),
        ("a = context[:405]\nb = context[-405:]", False, 810),
        ("if len(context) < 5:\n    a = context[:405]", False, 0),  # who knows
        ("text = context", True, 0),
        ("n = context.count('e')", True, 0),
        ("a = context[n:n + 5] if (n := 3) else ''", True, 0),
        ("def f():\n    return context\n", True, 0),
        ("n = globals", True, 0),
        ("context = 5", False, 0),
        ("a = peek(0, 405)", False, 405),
        ("this is not python(context", False, 0),
    ],
)
def test_what_code_read_is_known_or_said_not_to_be(code: str, whole: bool, read: int) -> None:
    got = covered(TEXT, code, "FINAL('x')")
    assert got["whole"] is whole
    assert got["contexts"]["context_0"]["read"] == about(read)
    assert got["seen"] == about(PREVIEW)


def test_a_context_that_is_handed_on_as_it_is_was_not_read_by_code() -> None:
    got = covered(
        TEXT, "FINAL(rlm_query('q', context=context))"
    )  # there are no children: it is a prompt
    assert got["seen"] == 1.0 and not got["whole"]


# Repeats


def test_what_repeats_is_claimed_for_one_place() -> None:
    text = TEXT + LINE * 1000
    code = f"llm_query_batched([context[i:i + 88] for i in range({len(TEXT)}, len(context), 88)])\nFINAL('x')"
    assert seen(text, code, limits={"max_sub_calls": 5000}) <= (PREVIEW + 300) / len(text)


def test_the_same_chunk_asked_again_is_not_another_one() -> None:
    text = LINE * 1000
    assert seen(text, "llm_query_batched([context[:4400]] * 5)\nFINAL('x')") == pytest.approx(
        4400 / len(text), abs=0.002
    )


def test_what_repeats_takes_few_steps_for_each_byte() -> None:
    """A place of it may be any of dozens, and not each is worth extending."""
    rng = random.Random(1)
    says = "line {} says that all is well in the {} th house of the street\n"
    some = [says.format(number, number * 7919 % 1000) for number in range(20)]
    text = "".join(rng.choices(some, k=3000)).encode()
    matcher = Matcher(text)
    found = [matcher.matches(text[at : at + 2000]) for at in range(0, len(text), 2000)]
    assert sum(match.size for each in found for match in each) >= 0.99 * len(text)
    assert matcher.steps < 6 * len(text)


def test_a_repeated_line_counts_for_the_place_beside_its_neighbour() -> None:
    first, second = lines(1, 5), lines(1, 6)
    text = f"{lines(20, 7)}{first}{LINE}{lines(20, 8)}{second}{LINE}{lines(10, 9)}"
    code = "rows = context.splitlines()\nprint('\\n'.join(f'{n}: {row}' for n, row in enumerate(rows) if 42 <= n <= 43))"
    [record] = Asked((text, [code, "FINAL('x')"])).records
    at = text.index(second)
    assert [at, at + len(second) + len(LINE)] in record["seen"]


# Kinds of contexts


def test_a_text_of_many_scripts_is_cut_between_characters() -> None:
    text = "".join(
        f"日本語の文章{number:04d}、и русский текст, ça — naïve 😀\n" for number in range(500)
    )
    [record] = Asked(
        (
            text,
            ["llm_query_batched([context[i:i + 777] for i in range(0, 10_000, 777)])\nFINAL('x')"],
        )
    ).records
    data = text.encode()
    for start, end in (*record["sent"], *record["shown"]):
        assert data[start:end].decode() in text
    assert record["seen"] == [[0, len(text[:10_101].encode())]]


def test_items_of_a_list_that_were_sent_one_by_one() -> None:
    items = [f'{number}: "{line}"\nend' for number, line in enumerate(lines(50).splitlines())]
    assert (
        seen(items, "llm_query_batched([f'Sum up {item}' for item in context])\nFINAL('x')") == 1.0
    )
    half = seen(items, "llm_query_batched([f'Sum up {item}' for item in context[:25]])\nFINAL('x')")
    assert half == pytest.approx(0.5, abs=0.01)


def test_messages_documents_and_dicts() -> None:
    texts = lines(20).splitlines()
    documents = [Document(page_content=text) for text in texts]
    code = "llm_query_batched([each['page_content'] for each in context])\nFINAL('x')"
    marks = sum(len(json.dumps({"page_content": "", "metadata": {}})) - 4 for _ in texts)
    assert seen(documents, code) == pytest.approx(1 - marks / (marks + 20 * 85), abs=0.1)
    as_dict = {f"key {number}": text for number, text in enumerate(texts)}
    assert seen(as_dict, "llm_query_batched([*context.values()])\nFINAL('x')") > 0.75


def test_files_of_a_folder_each_by_itself(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(lines(100, number))
    asked = Asked(
        (tmp_path, ["llm_query(context['1.txt'])\nllm_query(context['3.txt'])\nFINAL('x')"])
    )
    assert asked.coverage["seen"] == pytest.approx((2 * 8100 + PREVIEW) / 32_400, abs=0.0002)
    assert {by["place"] for by in asked.records[0]["by"] if by["kind"] == "sent"} == {
        "0.0/0/0",
        "0.0/1/0",
    }


def test_contexts_have_their_names() -> None:
    contexts = {"old": TEXT.encode(), "new": lines(100, 3).encode()}
    got = covered(contexts, "llm_query(new)\nFINAL('x')")
    assert got["contexts"]["new"] == {"seen": 1.0, "read": 0.0, "whole": False, "size": 8100}
    assert got["contexts"]["old"]["whole"] is False
    assert got["size"] == 40_500 + 8100


def test_no_context_no_coverage() -> None:
    [out] = Asked((None, ["FINAL('x')"])).outs
    assert "coverage" not in out


# Threads


def test_a_further_question_counts_on() -> None:
    first, second = (
        "llm_query(context[:20250])\nFINAL('x')",
        "llm_query(context_0[20250:])\nFINAL('x')",
    )
    asked = Asked((TEXT, [first]), (None, [second]))
    assert asked.outs[0]["coverage"]["seen"] == 0.5
    assert asked.coverage["seen"] == 1.0


def test_a_further_question_with_a_context_of_its_own() -> None:
    new = lines(500, 2)
    got = Asked(
        (TEXT, ["text = context\nFINAL('x')"]), (new, ["llm_query(text)\nFINAL('x')"])
    ).coverage
    assert got["contexts"]["context_0"]["seen"] == 1.0
    assert got["contexts"]["context_1"]["seen"] == about(PREVIEW)
    assert not got["contexts"]["context_1"]["whole"]


def test_one_name_for_two_contexts_is_that_of_the_newer() -> None:
    first, second = {"report": lines(10, 1).encode()}, {"report": lines(10, 2).encode()}
    got = Asked((first, ["FINAL('x')"]), (second, ["llm_query(report)\nFINAL('x')"])).coverage
    assert {name: each["seen"] == 1.0 for name, each in got["contexts"].items()} == {
        "context_0": False,
        "report": True,
    }


# Children


def children(*codes: str) -> ScriptedModel:
    """The root models of children, and the models that these ask."""

    class Child(ScriptedModel):
        def _reply(self, messages: Any) -> Any:
            is_root = len(messages) > 1
            self.answer = None if is_root else lambda _: "ok"
            return super()._reply(messages)

    return Child(replies=[cell(code) for code in codes])


def test_a_child_has_seen_what_its_models_have() -> None:
    sub = children("llm_query(context[:1000])\nFINAL('x')")
    code = "FINAL(rlm_query('q', context=context[20000:30000]))"
    asked = Asked((TEXT, [code]), sub=sub, limits={"max_depth": 2})
    assert asked.coverage["seen"] == about(PREVIEW + 1000)
    [record] = asked.records
    sent = [by for by in record["by"] if by["kind"] == "sent"]
    assert [by["range"] for by in sent] == [[20_000, 21_000]]
    assert sent[0]["place"] == "0.0/0/0"
    tree = asyncio.run(run_tree(asked.graph, THREAD))
    assert sent[0]["rlm"] == tree.children["0.0/0/0"].rlm_id
    assert tree.log["0.0/0/0"]["seen"]  # type: ignore[typeddict-item]


def test_a_child_of_a_child_that_got_json() -> None:
    sub = children("llm_query(context[0])\nFINAL(rlm_query('q', context=context[1]))", "FINAL('x')")
    code = "FINAL(rlm_query('q', context=[context[8100:12150], context[20250:24300]]))"
    assert seen(TEXT, code, sub=sub, limits={"max_depth": 3}) >= (PREVIEW + 4050) / len(TEXT)


def test_a_child_without_a_context_is_asked_its_prompt() -> None:
    sub = children("FINAL('x')")
    short = "FINAL(rlm_query(f'Sum up {context[8100:10125]}'))"
    assert seen(TEXT, short, sub=sub, limits={"max_depth": 2}) == about(PREVIEW + 2025)
    long = "FINAL(rlm_query(f'Sum up {context[8100:20250]}'))"
    got = seen(
        TEXT, long, sub=sub, limits={"max_depth": 2}
    )  # its question has the ends, its preview the start
    assert got == pytest.approx((PREVIEW + 2000 - 7 + 1000) / len(TEXT), abs=0.0003)


# Where it is told


def test_a_chat_model_tells_it_with_its_answer() -> None:
    model = ChatRLM(
        model=ScriptedModel(replies=[cell("llm_query(context)\nFINAL('x')")]),
        sub_model=ScriptedModel(answer=lambda _: "ok"),
    )
    reply = model.invoke([HumanMessage(TEXT), HumanMessage("What is it?")])
    assert reply.response_metadata["coverage"]["seen"] > 0
    assert set(reply.response_metadata["coverage"]) == {"seen", "size", "whole", "contexts"}


def test_the_server_tells_it_beside_the_choices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer(reply=lambda _: cell("text = context\nFINAL('x')")) as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        aliases = {"loop": Alias(model="root", direct_below_tokens=0, sandbox="monty")}
        with Served(create_app(Settings(db=str(tmp_path / "s.db"), aliases=aliases))) as served:
            client = openai.OpenAI(base_url=served.url, max_retries=0)
            asked: Any = [{"role": "user", "content": TEXT}, {"role": "user", "content": "?"}]
            done: Any = client.chat.completions.create(model="loop", messages=asked)
            assert done.coverage["whole"] and 0 < done.coverage["seen"] < 0.02
            parts = [*client.chat.completions.create(model="loop", messages=asked, stream=True)]
    told: Any = [part for part in parts if getattr(part, "coverage", None)]
    assert [part.choices[0].finish_reason for part in told] == ["stop"]


def test_the_command_s_last_line() -> None:
    known: Any = {"seen": 0.8399, "size": 1_200_000, "whole": False, "contexts": {}}
    assert coverage_line(known) == "seen by models: 83 % of 1.2 MB"
    assert coverage_line({**known, "seen": 0.9999}).startswith("seen by models: 99 %")
    assert coverage_line({**known, "seen": 0.001}).startswith("seen by models: under 1 %")
    whole = coverage_line({**known, "whole": True})
    assert whole == "seen by models: 83 % of 1.2 MB; code read it as a whole"
    assert "not known" in coverage_line({**known, "seen": None})


# Bounds


def test_what_is_too_large_or_takes_too_long_is_not_known() -> None:
    asked = Asked(
        (TEXT, ["text = context\nllm_query(text[:20250])\nllm_query('q' * 4000)\nFINAL('x')"])
    )
    tree = asyncio.run(run_tree(asked.graph, THREAD))
    for bounds in (Bounds(most_bytes=40_000), Bounds(most_steps=1000)):
        shares = shares_of(
            covered_in(tree.log, asked.graph.rlm.blobs, bounds=bounds), asked.graph.rlm.blobs
        )
        assert shares is not None
        assert shares["seen"] is None and shares["contexts"]["context_0"]["seen"] is None


def test_texts_made_to_be_slow_end_in_time() -> None:
    with pytest.raises(TooMuchWork):
        Matcher((b"x" * 100 + b"\n") * 1000, 100_000).matches((b"x" * 99 + b"y") * 10_000)


def test_an_answer_is_given_though_its_context_is_gone(tmp_path: Path) -> None:
    store = tmp_path / "store"

    def lose(_: str) -> str:
        for file in store.rglob("*"):
            if file.is_file() and file.read_bytes() == TEXT.encode():
                file.unlink()
        return "ok"

    out = Asked(
        (TEXT, ["FINAL(llm_query('a'))"]), sub=ScriptedModel(answer=lose), blob_store=store
    ).outs[0]
    assert out["answer"] == "ok"


# What the matcher promises


def simple(text: bytes, haystack: bytes) -> set[int]:
    """Bytes of a text that stand in a haystack with at least LEAST others around them."""
    inside: set[int] = set()
    for start in range(len(text) - LEAST + 1):
        if text[start : start + LEAST] in haystack:
            inside |= set(range(start, start + LEAST))
    return inside


alphabets = st.sampled_from(["ab", "abcdefgh \n", "aé日😀 "])


@st.composite
def texts(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A haystack, and a text made of parts of it and of others."""
    letters = draw(alphabets)
    haystack = draw(st.text(letters, max_size=400))
    parts: list[str] = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(haystack)))
        parts += [
            haystack[start : start + draw(st.integers(0, 200))],
            draw(st.text(letters, max_size=40)),
        ]
    return haystack.encode(), "".join(parts).encode()


@given(texts())
@example((b"a" * 100, b"a" * 200))
@settings(max_examples=200, deadline=None)
def test_a_match_is_really_there_and_none_is_missed(both: tuple[bytes, bytes]) -> None:
    haystack, text = both
    found = Matcher(haystack).matches(text)
    check(found, haystack, text)
    within = {byte for match in found for byte in range(match.start, match.end)}
    assert all(byte in within for byte in simple(text, haystack) if text.isascii())


def check(found: list[Match], haystack: bytes, text: bytes) -> None:
    for match in found:
        piece = text[match.start : match.end]
        assert piece == haystack[match.at : match.at + match.size]
        assert match.size >= LEAST and piece.decode()


@given(texts(), texts())
@settings(max_examples=100, deadline=None)
def test_a_series_finds_what_one_text_alone_does(
    one: tuple[bytes, bytes], other: tuple[bytes, bytes]
) -> None:
    matcher = Matcher(one[0])
    series = Series(matcher)
    for text in (one[1], one[1] + other[1], other[1] + one[1], one[1]):
        found = series.matches(text)
        check(found, one[0], text)
        inside = {byte for match in found for byte in range(match.start, match.end)}
        alone = {byte for match in matcher.matches(text) for byte in range(match.start, match.end)}
        assert not text.isascii() or alone <= inside


@given(st.text(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_escapes_are_undone_and_found_again(text: str, is_ascii: bool) -> None:
    written = json.dumps(text, ensure_ascii=is_ascii)[1:-1].encode("utf-8", "surrogatepass")
    mapped = unescaped(written, 7)
    assert mapped.data == text.encode("utf-8", "surrogatepass")
    for end in range(len(text) + 1):
        size = len(text[:end].encode("utf-8", "surrogatepass"))
        start, last = mapped.stored(0, size)
        assert start == 7 and json.loads(b'"%s"' % written[: last - 7]) == text[:end]
        assert mapped.own(last) == size
