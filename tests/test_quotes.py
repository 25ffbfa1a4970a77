"""Quotes: what an answer quotes is found, nearly found, or not found; and hostile ones end in time."""

import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ConfigurationError, Quote, averify_quotes, create_rlm, verify_quotes
from langgraph_rlm.coverage.normalised import Normalised, normalise
from langgraph_rlm.coverage.quote_marks import MOST_QUOTES, quotes_in
from langgraph_rlm.errors import InputError
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.testing import ScriptedModel, cell

TEXT = """[page 1 of a.pdf]
Ann signed the lease on 3 March — after two months
of talks, she said “it was high time”.
[page 2 of a.pdf]
Ben never signed: naïve as he was, he trusted a word and a handshake, and paid for it in May.
"""


def only(answer: str, contexts: Any = TEXT) -> Quote:
    [quote] = verify_quotes(answer, contexts)
    return quote


def there(quote: Quote, text: str = TEXT) -> str:
    assert quote.start_char is not None and quote.start is not None
    piece = text[quote.start_char : quote.end_char]
    assert text.encode()[quote.start : quote.end].decode() == piece
    return piece


@pytest.mark.parametrize(
    "answer",
    [
        'He says "Ann signed the lease".',
        "He says “signed the lease on 3 March - after two months of talks”.",
        "«of talks, she said 'it was high time'»",
        'It ends so: "he trusted a word and a handshake, and paid for it in May."',
        'With a comma of our own: "Ann signed the lease," it says.',
        "> Ann signed the lease on 3 March – after\n> two months of talks\n\nis what it says.",
        "> “Ann signed the lease on 3 March”",
        '"na\u00efve as he\u00a0was, he trusted"',
    ],
)
def test_what_stands_there_is_exact_whatever_its_marks(answer: str) -> None:
    quote = only(answer)
    assert (quote.status, quote.similarity) == ("exact", 1.0)
    assert normalise(there(quote).encode()) == normalise(quote.text.strip().rstrip(",").encode())
    assert answer[quote.answer_start : quote.answer_end].strip()


def test_parts_around_dots_stand_in_their_order() -> None:
    quote = only('"Ann signed the lease [...] it was high time … paid for it in May"')
    assert quote.status == "exact" and len(quote.parts) == 3
    assert [TEXT.encode()[start:end].decode() for start, end in quote.parts][
        1
    ] == "it was high time"
    assert only('"paid for it in May ... Ann signed the lease"').status != "exact"


def test_upper_case_and_other_words_are_not_the_same() -> None:
    assert only('"ann signed THE lease on 3 March"').status != "exact"
    near = only('"Ben never signed: naive as he was, he trusted words and a handshake"')
    assert near.status == "near" and 0.75 <= near.similarity < 1
    assert there(near).startswith("Ben never signed") and near.page == 2
    lost = only('"the contract was void from its first day"')
    assert (lost.status, lost.context, lost.start) == ("not_found", None, None)


def test_what_is_not_a_quote_is_not_checked() -> None:
    answer = 'A "word", 5" of pipe and 3" more, `"some code in here"`.\n\n```\n"Ann signed the lease"\n```\n\n"over\n\nan empty line"'
    assert [each.text for each in quotes_in(answer)] in ([], ["some code in here"])


def test_where_it_stands_by_page_file_and_name(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text(TEXT)
    (tmp_path / "docs" / "b.txt").write_text(
        "[page 7 of b.pdf]\nCarl came late, as he always did.\n"
    )
    store = BlobStore.open(tmp_path / "blobs")
    contexts = {
        "letters": ingest(tmp_path / "docs", store),
        "note": "Dora was there before all the others.",
    }
    answer = '"Ben never signed" and "Carl came late" and "Dora was there before"'
    first, second, third = verify_quotes(answer, contexts, blob_store=store)
    assert (first.path, first.page, first.context) == ("a.txt", 2, "letters")
    assert (second.path, second.page) == ("b.txt", 7) and second.digest
    assert (third.context, third.path, third.page) == ("note", None, None)
    assert asdict(third)["status"] == "exact"


def test_strings_of_json_are_quoted_as_they_are_meant(tmp_path: Path) -> None:
    store = BlobStore.open(tmp_path)
    handle = ingest(['He said "never again" —\nand left.', "tab\tand back\\slash"], store)
    [quote] = verify_quotes("“He said 'never again' - and left”", handle, blob_store=store)
    assert quote.status == "exact" and quote.start == 1


async def test_a_thread_s_own_contexts() -> None:
    model = ScriptedModel(replies=[cell("""FINAL('It says "Ann signed the lease".')""")])
    graph = create_rlm(model, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    out = await graph.ainvoke({"query": "q", "context": TEXT}, config)
    graph.rlm.sessions.close()
    [quote] = await averify_quotes(out["answer"], (graph, config))
    assert (quote.status, quote.context, quote.page) == ("exact", "context_0", 1)
    assert verify_quotes(out["answer"], (graph, config)) == [quote]
    with pytest.raises(ConfigurationError, match="no thread"):
        verify_quotes("a", (graph, {"configurable": {"thread_id": "2"}}))
    with pytest.raises(InputError, match="must be a str"):
        verify_quotes("a", {"x": 5})  # type: ignore[dict-item]


def test_answers_made_to_be_slow_end_in_time() -> None:
    for answer in (
        '"' * 100_000,
        "“a b c " * 20_000,
        '"a b c d e\n' * 5_000,
        "> " * 50_000,
        ("> a b c\n\n") * 1_000,
        "```\n" * 30_000,
        "- " * 50_000 + ">",
    ):
        assert len(verify_quotes(answer, TEXT)) <= MOST_QUOTES
    text = "a b " * 100_000
    quotes = " and ".join(f'"{"a b " * 600}{number}"' for number in range(10))
    assert all(quote.status != "exact" for quote in verify_quotes(quotes, text))


def test_many_quotes_of_a_large_text() -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijkl", k=7)) for _ in range(40_000)]
    text = " ".join(words)
    places = range(0, 40_000, 1000)
    exact = " ".join(f'"{" ".join(words[at : at + 12])}"' for at in places)
    assert {quote.status for quote in verify_quotes(exact, text)} == {"exact"}
    changed = " ".join(
        f'"{" ".join([*words[at : at + 6], "other", *words[at + 7 : at + 14]])}"' for at in places
    )
    found = verify_quotes(changed, text)
    assert {quote.status for quote in found} == {"near"}
    assert [text[: quote.start_char].count(" ") for quote in found] == [*places]


letters = st.text(st.sampled_from("ab \n\t“”\"'—é日\u00ad\u00a0…"), max_size=200)


@given(letters)
@settings(max_examples=300, deadline=None)
def test_each_part_of_a_normalised_text_is_found_where_it_stood(text: str) -> None:
    data = text.encode()
    found = Normalised(data)
    whole = found.data.decode()
    for start in range(len(whole)):
        for end in range(start + 1, min(start + 4, len(whole)) + 1):
            piece = whole[start:end]
            first, last = found.stored(len(whole[:start].encode()), len(whole[:end].encode()))
            if "." not in piece and not piece.startswith(" ") and not piece.endswith(" "):
                assert normalise(data[first:last]).decode() == piece
