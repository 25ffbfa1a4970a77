"""Pictures and sounds: contexts that code cannot read, and names to models, by reference up to the moment of the call."""

import asyncio
import base64
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langgraph_rlm import ContextError, create_rlm, fork
from langgraph_rlm.documents.kinds import kind_of
from langgraph_rlm.log.text import canonical, digest_of
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.media import MAX_BYTES, is_media, media_of
from langgraph_rlm.storage.pages import NotMade, Pages
from langgraph_rlm.storage.references import Names
from langgraph_rlm.storage.utf8 import NotText
from langgraph_rlm.testing import ScriptedModel, cell, replay_run, save_run

from .jails import SANDBOXES
from .models import FailsOnce, rlm, root, shown, thread
from .openai_server import OpenAIServer
from .pictures import b64, bmp, gif, image_block, image_url, jpeg, pdf, png, png_header, wav, webp

CAT, DOG = png(64, 48), png(32, 16, 0x99)
SEES_NOTHING = {"image_inputs": False, "audio_inputs": False, "pdf_inputs": False}
SEES = {"image_inputs": True, "audio_inputs": True, "pdf_inputs": True, "image_url_inputs": True}


def eyes() -> ScriptedModel:
    """A sub-model that says how many blocks it was shown."""

    class Eyes(ScriptedModel):
        def _scripted(self, messages: list[Any]) -> Any:
            content = messages[-1].content
            return f"saw {len(content) - 1}" if isinstance(content, list) else "saw text"

    return Eyes(replies=["x"])


def blocks(model: ScriptedModel, call: int = -1) -> list[Any]:
    """The content that the model was sent beside the text."""
    content = model.prompts[call][0].content
    assert isinstance(content, list)
    return [block for block in content if block["type"] != "text"]


def ask(*codes: str, context: Any, sub: Any = None, **options: Any) -> dict[str, Any]:
    return rlm(root(*codes), sub=sub or eyes(), **options).invoke(
        {"query": "?", "context": context}
    )


# What can be a context


@pytest.mark.parametrize(
    ("data", "type", "size"),
    [
        (png(64, 48), "image/png", (64, 48)),
        (gif(64, 48), "image/gif", (64, 48)),
        (jpeg(64, 48), "image/jpeg", (64, 48)),
        (webp(64, 48), "image/webp", (64, 48)),
        (bmp(64, 48), "image/bmp", (64, 48)),
        (wav(), "audio/wav", None),
        (b"ID3\3" + bytes(100), "audio/mpeg", None),
        (b"\xff\xfb\x90\x00" + bytes(100), "audio/mpeg", None),
        (b"OggS\0" + bytes(100), "audio/ogg", None),
    ],
)
def test_it_is_known_by_its_content_and_its_bytes_are_kept(
    data: bytes, type: str, size: Any, tmp_path: Path
) -> None:
    store, path = BlobStore.open(tmp_path / "store"), tmp_path / "looks like.txt"
    path.write_bytes(data)
    for value in (data, path, path.open("rb"), io.BytesIO(data)):
        handle = ingest(value, store)
        assert (handle.kind, handle.size) == (type.partition("/")[0], len(data))
        assert store.get(handle.digest) == data
        facts = next(iter(json.loads(store.get(handle.about or "")).values()))
        assert facts["type"] == type
        assert size is None or (facts["width"], facts["height"]) == size


def test_code_sees_a_few_words_and_cannot_read_it(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(CAT)
    model = root(
        "print(context, type(context).__name__)\nprint(context_info())\nfor read in (lambda: peek(0, 5), lambda: grep('x')):\n    try:\n        read()\n    except ValueError as error:\n        print(error)",
        "FINAL('done')",
    )
    rlm(model).invoke({"query": "?", "context": tmp_path / "cat.png"})
    said = shown(model, 1)
    assert f"<image 64x48 PNG, {len(CAT)} bytes> str" in said
    assert "'type': 'image/png'" in said and "'width': 64" in said and "'name': 'cat.png'" in said
    assert said.count("has no text") == 2 and "images=[NAME]" in said
    assert (
        f'image 64x48 PNG, {len(CAT)} bytes, for models to see: llm_query("...", images=["context"]).'
        in shown(model, 0)
    )


def test_a_question_without_pictures_is_as_it_was() -> None:
    model = root("FINAL(1)")
    rlm(model).invoke({"query": "?", "context": "text"})
    assert "images=" not in "".join(message.text for message in model.prompts[0])


def test_pictures_of_a_folder_are_files_that_can_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    (folder / "a.png").write_bytes(CAT)
    (folder / "b" / "c.jpg").write_bytes(jpeg())
    (folder / "note.txt").write_text("note")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    sub = eyes()
    model = root(
        "print(context)\nprint(llm_query('?', images=['a.png', 'b/c.jpg', 'context_0/a.png']))\ntry:\n    llm_query('?', images=['phone.heic'])\nexcept ValueError as error:\n    print(error)",
        "FINAL(llm_query_batched(['x', 'y', 'z'], images=[['a.png'], [], None]))",
    )
    out = rlm(model, sub=sub).invoke({"query": "?", "context": folder})
    assert json.loads(out["answer"]) == ["saw 1", "saw text", "saw text"]
    assert "[image 64x48 PNG]" in shown(model, 1) and "saw 3" in shown(model, 1)
    assert "'phone.heic' is of type image/heif, which models are not shown" in shown(model, 1)
    assert "with names such as 'a.png', 'b/c.jpg'" in shown(model, 0)
    assert [block["mime_type"] for block in blocks(sub, 0)] == [
        "image/png",
        "image/jpeg",
        "image/png",
    ]


def test_a_users_name_of_a_context_names_it() -> None:
    sub = eyes()
    out = ask(
        "FINAL(llm_query('?', images=['before', 'after', 'context', 'context_1']))",
        context={"before": CAT, "after": DOG},
        sub=sub,
    )
    assert out["answer"] == "saw 4"
    assert [block["base64"] for block in blocks(sub)] == [b64(CAT), b64(DOG), b64(CAT), b64(DOG)]


# What is refused


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (png_header(0, 10), "broken PNG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(8), "broken PNG"),
        (b"\x89PNG\r\n\x1a\nshort", "broken PNG"),
        (b"GIF89a\1", "broken GIF"),
        (jpeg()[:20], "broken JPEG"),
        (b"\xff\xd8\xff\xe0\0\0" + bytes(40), "broken JPEG"),
        (webp()[:25], "broken WebP"),
        (png_header(100_000, 100_000), "100,000 x 100,000 pixels"),
        (png(8, 8) + bytes(MAX_BYTES), "more than 20 MB"),
        (b"\0\0\0\x18ftypheic" + bytes(64), "HEIC, AVIF.*Convert it"),
        (b"\0\0\0\x18ftypavif" + bytes(64), "AVIF.*Convert it"),
    ],
)
def test_what_no_model_could_be_shown_is_refused_at_once(
    data: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / "x.png").write_bytes(data)
    for value in (data, tmp_path / "x.png"):
        with pytest.raises(ContextError, match=told):
            ingest(value, BlobStore.open(tmp_path / "store"))


@given(st.sampled_from([png(), gif(), jpeg(), webp(), bmp(), wav()]), st.data())
def test_headers_may_say_anything(whole: bytes, draw: Any) -> None:
    data = bytearray(whole[: draw.draw(st.integers(0, len(whole)))])
    for _ in range(draw.draw(st.integers(0, 8))):
        if data:
            data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with suppress(NotText):
        media_of(bytes(data), "it")


@pytest.mark.parametrize(
    "text",
    [
        "BM is a company",
        "BMW",
        "ID3 tags",
        "GIF",
        "RIFF",
        "<svg xmlns='x'/>",
        "\ufeffx",
        "OggS",
        "fLaC",
    ],
)
def test_text_is_text(text: str, tmp_path: Path) -> None:
    assert ingest(text.encode(), BlobStore.open(tmp_path)).kind == "text"
    for codec in ("utf-16", "utf-16-be", "utf-32"):
        assert not is_media(kind_of(text.encode(codec), b"", ""))


WRONG = [
    ("'nothing'", "'nothing' is no picture that is known. There are: 'context_0'"),
    ("['/etc/passwd']", "is no picture that is known"),
    ("['https://example.org/x.png']", "is no picture that is known"),
    ("['../x.png']", "is no picture that is known"),
    ("['out/chart.png']", "from the next cell on"),
    ("['context_0#page=1']", "only a PDF has pages"),
    ("['context_0'] * 51", "51 at once; at most 50"),
    ("[1]", "images must be a list of names"),
    ("{'a': 1}", "images must be a list of names"),
    ("3", "images must be a list of names"),
]


@pytest.mark.parametrize(("images", "told"), WRONG)
def test_a_wrong_name_is_an_error_in_code_and_nothing_is_asked(images: str, told: str) -> None:
    model, sub = root(f"llm_query('?', images={images})", "FINAL(1)"), eyes()
    rlm(model, sub=sub).invoke({"query": "?", "context": CAT})
    assert told in shown(model, 1) and sub.calls == 0


def test_a_text_is_no_picture_and_lists_must_fit() -> None:
    code = "for images in (['context'], None):\n    try:\n        print(llm_query('?', images=images))\n    except ValueError as error:\n        print(error)\ntry:\n    llm_query_batched(['a', 'b'], images=[['context']])\nexcept ValueError as error:\n    print(error)"
    model = root(code, "FINAL(1)")
    rlm(model, sub=eyes()).invoke({"query": "?", "context": "text"})
    said = shown(model, 1)
    assert "'context' is a text, not a picture" in said and "saw text" in said
    assert "images must be a list of 2" in said


# By reference


def requests_of(graph: Any, saver_config: Any) -> list[Any]:
    log = graph.get_state(saver_config).values["log"]
    calls = [entry for entry in log.values() if entry["kind"] == "call"]
    return [json.loads(graph.rlm.blobs.get_text(call["request"])) for call in calls]


def test_the_log_has_references_and_other_requests_are_as_they_were() -> None:
    graph = rlm(
        root(
            "llm_query('a')\nllm_query('b', images=[])\nFINAL(llm_query('c', images=['context']))"
        ),
        sub=eyes(),
        checkpointer=InMemorySaver(),
    )
    graph.invoke({"query": "?", "context": CAT}, thread())
    plain, empty, shown_ = requests_of(graph, thread())
    assert plain == {"model": None, "prompts": ["a"]} and empty == {"model": None, "prompts": ["b"]}
    handle = graph.get_state(thread()).values["log"]["run.0"]["contexts"][0]
    assert shown_["images"] == [[{"digest": handle["digest"], "type": "image/png"}]]
    log = graph.get_state(thread()).values["log"]
    for place, payload in (("0.0/0", plain), ("0.0/2", shown_)):
        assert log[place]["digest"] == digest_of(canonical(payload))


def test_checkpoints_have_no_bytes_of_pictures(tmp_path: Path) -> None:
    noise = png_header(1000, 1000) + bytes(range(256)) * 8_000  # 2 MB
    parts: list[Any] = [
        {"type": "text", "text": "Look."},
        *[image_block(noise + bytes([n])) for n in range(5)],
    ]
    codes = [f"print(llm_query('{n}', images=['context_{n}']))" for n in range(5)]

    async def run() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
            graph = rlm(root(*codes, "FINAL(1)"), sub=eyes(), checkpointer=saver)
            await graph.ainvoke({"messages": [HumanMessage(parts)]}, thread())

    asyncio.run(run())
    written = sum(file.stat().st_size for file in tmp_path.glob("db*"))
    assert written < 600_000


class Forgetful(BaseChatModel):
    """A model that keeps nothing of what it was sent, but counts it."""

    seen: int = 0
    open: int = 0
    most: int = 0
    largest: int = 0
    """Bytes of this process that were in memory at most."""

    @property
    def _llm_type(self) -> str:
        return "forgetful"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.seen += len(messages[0].content[1]["base64"])  # type: ignore[index]
        self.open += 1
        self.most = max(self.most, self.open)
        self.largest = max(self.largest, psutil.Process().memory_info().rss)
        await asyncio.sleep(0.001)
        self.open -= 1
        return ChatResult(generations=[ChatGeneration(message=AIMessage("ok"))])


def test_500_pictures_of_a_batch_are_never_in_memory_together(tmp_path: Path) -> None:
    """200 MB of base64 pass, at most eight pictures at a time."""
    folder, body = tmp_path / "photos", bytes(300_000)
    folder.mkdir()
    for number in range(500):
        (folder / f"{number}.png").write_bytes(
            png_header(100, 100) + number.to_bytes(2, "big") + body
        )
    sub = Forgetful()
    graph = create_rlm(
        root(
            "names = [f'{n}.png' for n in range(500)]\nFINAL(len(llm_query_batched(['?'] * 500, images=[[name] for name in names])))"
        ),
        sub_model=sub,
        limits={"max_concurrency": 8},  # type: ignore[arg-type]
    )
    handle = ingest(folder, graph.rlm.blobs)
    before = psutil.Process().memory_info().rss
    out = graph.invoke({"query": "?", "context": handle})
    assert out["answer"] == "500" and sub.seen > 200_000_000 and sub.most <= 8
    assert sub.largest - before < 120 << 20


# Models that take them, and those that do not


def test_a_model_that_takes_no_pictures_is_not_asked_and_code_is_told_which_does() -> None:
    sub = ScriptedModel(answer=lambda _: "x", profile=SEES_NOTHING, model_name="blind")  # type: ignore[arg-type]
    other = ScriptedModel(answer=lambda _: "seen", profile=SEES)  # type: ignore[arg-type]
    model = root(
        "try:\n    llm_query_batched(['?', '?'], images=[['context'], []])\nexcept ValueError as error:\n    print(error)\nprint(llm_query('without'))",
        "FINAL(llm_query('?', images=['context'], model='eyes'))",
    )
    graph = rlm(model, sub=sub, models={"eyes": other}, checkpointer=InMemorySaver())
    out = graph.invoke({"query": "?", "context": CAT}, thread())
    assert out["answer"] == "seen" and (sub.calls, other.calls) == (1, 1)
    assert (
        "llm_query_batched: the model 'blind' takes no pictures. Ask one that does, by model=: 'eyes'."
        in shown(model, 1)
    )


def test_the_refusal_stands_in_the_log_though_more_is_known_of_the_model_later(
    tmp_path: Path,
) -> None:
    """A newer LangChain may know that the model does take pictures: the run replays as it was."""
    model = root(
        "try:\n    llm_query('?', images=['context'])\nexcept ValueError as error:\n    print(error)",
        "FINAL(llm_query('b'))",
    )
    sub = ScriptedModel(answer=lambda _: "x", profile=SEES_NOTHING)  # type: ignore[arg-type]
    saver = FailsOnce(at=7)
    graph = rlm(model, sub=sub, checkpointer=saver)
    with pytest.raises(OSError, match="no space"):
        graph.invoke({"query": "?", "context": CAT}, thread(), durability="sync")
    later = rlm(model, sub=ScriptedModel(answer=lambda _: "x", profile=SEES), checkpointer=saver)  # type: ignore[arg-type]
    assert later.invoke(None, thread())["answer"] == "x"


def test_an_unknown_model_is_asked_and_its_providers_error_is_told() -> None:
    model = root("print(llm_query_batched(['a', 'b'], images=[['context'], []]))", "FINAL(1)")
    sub = ScriptedModel(
        answer=lambda text: ValueError("no pictures, please") if text == "a" else "b"
    )
    rlm(model, sub=sub).invoke({"query": "?", "context": CAT})
    assert "Error: ValueError: no pictures, please" in shown(model, 1)


def test_sounds_and_pdfs_are_sent_as_what_they_are() -> None:
    sub = ScriptedModel(answer=lambda _: "heard", profile=SEES)  # type: ignore[arg-type]
    assert (
        ask("FINAL(llm_query('?', images=['context']))", context=wav(), sub=sub)["answer"]
        == "heard"
    )
    assert blocks(sub) == [{"type": "audio", "base64": b64(wav()), "mime_type": "audio/wav"}]
    deaf = ScriptedModel(answer=lambda _: "x", profile={**SEES, "audio_inputs": False})  # type: ignore[arg-type]
    model = root("llm_query('?', images=['context'])", "FINAL(1)")
    rlm(model, sub=deaf).invoke({"query": "?", "context": wav()})
    assert "takes no sounds" in shown(model, 1) and deaf.calls == 0


def test_a_schema_and_its_second_try_come_with_the_picture() -> None:
    class Twice(ScriptedModel):
        def _scripted(self, messages: list[Any]) -> Any:
            return '{"cat": true}' if len(messages) > 1 else "a cat"

    sub = Twice(replies=["x"])
    out = ask(
        "FINAL(llm_query('?', images=['context'], schema={'type': 'object', 'required': ['cat']}))",
        context=CAT,
        sub=sub,
    )
    assert json.loads(out["answer"]) == {"cat": True} and sub.calls == 2
    for call in (0, 1):
        assert blocks(sub, call) == [image_block(CAT)]


def test_pictures_count_where_a_provider_does_not_say(tmp_path: Path) -> None:
    """750 pixels a token; a limit of tokens holds them before the call."""

    class Silent(Forgetful):
        async def _agenerate(
            self,
            messages: list[BaseMessage],
            stop: Any = None,
            run_manager: Any = None,
            **kwargs: Any,
        ) -> ChatResult:
            return ChatResult(generations=[ChatGeneration(message=AIMessage("ok"))])

    code = "FINAL(llm_query('four', images=['context']))"
    graph = create_rlm(root(code), sub_model=Silent())
    out = graph.invoke({"query": "?", "context": png(900, 1000)})
    assert out["usage"]["breakdown"]["1/Silent"]["input_tokens"] == 1 + 900 * 1000 // 750
    model = root(code.replace("FINAL", "print"), "FINAL(1)")
    sub = eyes()
    limited = rlm(model, sub=sub, limits={"max_tokens": 3_000})
    assert limited.invoke({"query": "?", "context": png(2000, 2000)})["stop_reason"] == "max_tokens"
    assert sub.calls == 0


# Pages of PDFs, and what has to be made a PNG


def test_pages_of_a_pdf_are_pictures_drawn_once(tmp_path: Path) -> None:
    pytest.importorskip("kreuzberg")
    (tmp_path / "contract.pdf").write_bytes(pdf("Hello", "World"))
    sub = eyes()
    code = "FINAL(llm_query_batched(['?', '?', '?'], images=[['contract.pdf#page=1'], ['contract.pdf#page=2', 'context#page=1'], ['contract.pdf']]))"
    model = root(code)
    out = rlm(model, sub=sub).invoke({"query": "?", "context": tmp_path / "contract.pdf"})
    assert json.loads(out["answer"]) == ["saw 1", "saw 2", "saw 1"]
    sent = {prompt[0].content[1]["base64"]: prompt[0].content[1]["type"] for prompt in sub.prompts}  # type: ignore[index]
    assert sorted(sent.values()) == ["file", "image", "image"]
    found = [
        media_of(base64.b64decode(data), "it") for data, type in sent.items() if type == "image"
    ]
    assert {each.size for each in found if each} == {(625, 417)}
    assert "with names such as 'contract.pdf#page=1'" in shown(model, 0)
    store = BlobStore.open(None)
    again = Pages(store)
    again.page(store.put(pdf("Hello", "World")), 2)
    assert not again._pools  # noted in the store: no worker was needed


def test_a_page_that_is_not_there_or_cannot_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("kreuzberg")
    (tmp_path / "two.pdf").write_bytes(pdf("Hello", "World"))
    model = root(
        "for name in ('two.pdf#page=3', 'two.pdf#page=0', 'two.pdf#page=x'):\n    try:\n        llm_query('?', images=[name])\n    except ValueError as error:\n        print(error)",
        "FINAL(1)",
    )
    sub = eyes()
    rlm(model, sub=sub).invoke({"query": "?", "context": tmp_path / "two.pdf"})
    assert shown(model, 1).count("its pages are 1 to 2") == 2
    assert "'two.pdf#page=x' is no picture that is known" in shown(model, 1) and sub.calls == 0
    store = BlobStore.open(None)
    for data in (b"%PDF-1.4 broken", pdf("x").replace(b"[0 0 300 200]", b"[0 0 900000 900000]")):
        with pytest.raises(NotMade, match="page 1 of the PDF cannot be drawn"):
            Pages(store).page(store.put(data), 1)


def test_a_pdf_goes_whole_to_a_model_that_takes_it_and_by_its_pages_to_others() -> None:
    pytest.importorskip("kreuzberg")
    known: Any = {**SEES, "pdf_inputs": False}
    sub = ScriptedModel(answer=lambda _: "read", profile=known)
    model = root(
        "llm_query('?', images=['context'])", "FINAL(llm_query('?', images=['context#page=1']))"
    )
    out = rlm(model, sub=sub).invoke({"query": "?", "context": pdf("Hello")})
    assert "takes no PDFs" in shown(model, 1) and "'a.pdf#page=1'" in shown(model, 1)
    assert out["answer"] == "read" and sub.calls == 1


def test_bmp_and_tiff_are_sent_as_png() -> None:
    image = pytest.importorskip("PIL.Image")
    tiff = io.BytesIO()
    image.new("RGB", (30, 20), "red").save(tiff, "TIFF")
    sub = eyes()
    for data, size in ((bmp(64, 48), (64, 48)), (tiff.getvalue(), (30, 20))):
        ask("FINAL(llm_query('?', images=['context']))", context=data, sub=sub)
        sent = media_of(base64.b64decode(blocks(sub)[0]["base64"]), "it")
        assert sent is not None and (sent.type, sent.size) == ("image/png", size)
    broken = bmp(64, 48)[:-100] + b""
    model = root("print(llm_query_batched(['?'], images=['context']))", "FINAL(1)")
    rlm(model, sub=sub).invoke({"query": "?", "context": broken})
    assert "Error: " in shown(model, 1)


# Durability


def test_after_a_kill_nothing_is_asked_twice_and_time_travel_finds_the_pictures() -> None:
    codes = (
        "first = llm_query('one', images=['context'])\nprint(first)",
        "both = llm_query_batched(['a', 'b'], images=[['context'], ['context_0']])\nprint(both)",
        "FINAL([first, *both])",
    )
    sub, model, saver = eyes(), root(*codes), FailsOnce(at=11)
    graph = rlm(model, sub=sub, checkpointer=saver)
    with pytest.raises(OSError, match="no space"):
        graph.invoke({"query": "?", "context": CAT}, thread(), durability="sync")
    assert sub.calls == 3
    again = rlm(model, sub=sub, checkpointer=saver)
    assert json.loads(again.invoke(None, thread())["answer"]) == ["saw 1", "saw 1", "saw 1"]
    assert sub.calls == 3
    cold = rlm(model, sub=sub, checkpointer=saver)
    branch = fork(cold, thread(), "1.0/0/1", "edited")
    assert json.loads(cold.invoke(None, branch)["answer"]) == ["saw 1", "saw 1", "edited"]
    assert sub.calls == 3
    branch = fork(cold, thread(), "0", cell("first = llm_query('new', images=['context'])"))
    assert json.loads(cold.invoke(None, branch)["answer"]) == ["saw 1"] * 3
    assert blocks(sub) == [image_block(CAT)] and sub.calls == 6


def test_a_saved_run_replays_without_its_pictures(tmp_path: Path) -> None:
    graph = rlm(
        root("print(context)\nFINAL(llm_query('?', images=['context']))"),
        sub=eyes(),
        checkpointer=InMemorySaver(),
    )
    graph.invoke({"query": "?", "context": CAT}, thread())
    save_run(graph, thread(), tmp_path / "run.json")
    assert b64(CAT)[:40] not in (tmp_path / "run.json").read_text()
    assert replay_run(tmp_path / "run.json").calls == 1
    save_run(graph, thread(), tmp_path / "whole.json", contexts=True)
    assert replay_run(tmp_path / "whole.json", blob_store=tmp_path / "empty").calls == 1


# Over HTTP, as the provider gets it


def test_what_a_provider_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(
        lambda body: {"content": "a cat", "usage": {"prompt_tokens": 812}}
    ) as upstream:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        graph = create_rlm(
            root("FINAL(llm_query('What?', images=['cat', 'far', 'sound']))"),
            sub_model="openai:unknown-model",
        )
        out = graph.invoke({"query": "?", "context": {"cat": CAT, "sound": wav(), "far": jpeg()}})
    assert out["answer"] == "a cat"
    content = upstream.requests[0]["messages"][0]["content"]
    assert content[0] == {"type": "text", "text": "What?"}
    assert content[1] == image_url(CAT)
    assert content[2] == image_url(jpeg(), "image/jpeg")
    assert content[3] == {
        "type": "input_audio",
        "input_audio": {"data": b64(wav()), "format": "wav"},
    }
    assert out["usage"]["breakdown"]["1/unknown-model"]["input_tokens"] == 812


def test_a_file_that_code_has_made_is_known_by_its_content(tmp_path: Path) -> None:
    store = BlobStore.open(tmp_path)
    made: dict[str, Any] = {
        "out/a/chart.png": {"original": store.put(CAT), "bytes": len(CAT)},
        "out/fake.png": {"original": store.put(b"text"), "bytes": 4},
    }
    names = Names({}, store, made)
    assert names.all(["out/a/chart.png"]) == [{"digest": store.put(CAT), "type": "image/png"}]
    with pytest.raises(ValueError, match="octet-stream, which models are not shown"):
        names.all(["out/fake.png"])
    with pytest.raises(ValueError, match=r"There are: 'out/a/chart\.png', 'out/fake\.png'"):
        names.all(["chart.png"])


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_a_chart_that_code_has_written_is_shown_from_the_next_cell_on(sandbox: str) -> None:
    write = f"with open('out/chart.png', 'wb') as file: file.write({CAT!r})"
    too_early = f"{write}\nllm_query('?', images=['out/chart.png'])"
    sub = eyes()
    graph = rlm(
        root(too_early, "FINAL(llm_query('?', images=['out/chart.png']))"),
        sub=sub,
        sandbox=sandbox,
        checkpointer=InMemorySaver(),
    )
    out = graph.invoke({"query": "?"}, thread())
    assert out["answer"] == "saw 1"
    assert blocks(sub) == [image_block(CAT)]
    told = graph.get_state(thread()).values["log"]["0.0"]["error"]["text"]
    assert "from the next cell on" in told
