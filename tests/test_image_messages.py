"""Pictures in messages: short inputs go to the model as they are; in the loop a picture is a context, and the text says which."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langgraph_rlm import ChatRLM, ContextError, InputError
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root, shown
from .openai_server import OpenAIServer, environment_upstream
from .pictures import b64, gif, image_block, image_url, wav
from .servers import Served
from .test_images import CAT, DOG, blocks, eyes
from .test_server_http import error_of, post

LONG = "row of nothing\n" * 3_000
QUESTION = {"type": "text", "text": "What is it?"}

FORMS: dict[str, dict[str, Any]] = {
    "langchain": image_block(CAT),
    "langchain v0": {
        "type": "image",
        "source_type": "base64",
        "data": b64(CAT),
        "mime_type": "image/png",
    },
    "openai": image_url(CAT),
    "anthropic": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": b64(CAT)},
    },
    "a wrong type": image_block(CAT, "image/jpeg"),
    "a file": {"type": "file", "base64": b64(CAT), "mime_type": "image/png"},
}


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Any:
    yield from environment_upstream(
        monkeypatch, lambda body: cell("FINAL(llm_query('?', images=['context']))")
    )


def chat(model: ScriptedModel, sub: Any = None, **options: Any) -> ChatRLM:
    return ChatRLM(model=model, sub_model=sub or eyes(), direct_below_tokens=0, **options)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_picture_is_a_context(form: str) -> None:
    said = [HumanMessage([QUESTION, FORMS[form]])]
    sub, model = eyes(), root("FINAL(llm_query('?', images=['context']))")
    assert chat(model, sub).invoke(said).text == "saw 1"
    assert blocks(sub) == [image_block(CAT)]
    words = f"image 64x48 PNG, {len(CAT)} bytes"
    assert f"What is it?\n\n({words}, in `context`)" in shown(model, 0)
    sub, model = eyes(), root("FINAL(llm_query('?', images=['context']))")
    assert rlm(model, sub=sub).invoke({"messages": said})["answer"] == "saw 1"
    assert f"({words}, in the inputs)" in shown(model, 0)


def test_the_text_says_where_each_picture_stood() -> None:
    parts = ["Before:", image_block(CAT), "After:", image_block(DOG), "What changed?"]
    model = root("FINAL([context, context_1])")
    said = json.loads(chat(model).invoke([HumanMessage(parts)]).text)
    assert [text[:12] for text in said] == ["<image 64x48", "<image 32x16"]
    asked = shown(model, 0)
    order = [
        asked.index(each)
        for each in ("Before:", "in `context`)", "After:", "in `context_1`)", "What changed?")
    ]
    assert order == sorted(order)


def test_a_long_text_stays_the_context_and_its_picture_comes_after_it() -> None:
    """In one part with its question, or in a part of its own."""
    for parts, told in (
        ([{"type": "text", "text": LONG}, image_block(CAT)], "It comes with image 64x48"),
        ([QUESTION, image_block(CAT), {"type": "text", "text": LONG}], "in `context_1`)"),
    ):
        sub = eyes()
        model = root("print(len(context), context_1)\nFINAL(llm_query('?', images=['context_1']))")
        assert chat(model, sub).invoke([HumanMessage(parts)]).text == "saw 1"
        assert blocks(sub) == [image_block(CAT)]
        assert told in shown(model, 0) and b64(CAT)[:40] not in str(model.prompts)


def test_short_inputs_go_to_the_model_as_they_are() -> None:
    """LangChain itself brings its version 0 into the form of version 1."""
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    for block in (*(FORMS[form] for form in FORMS if form != "langchain v0"), broken):
        model = ScriptedModel(replies=["a cat"])
        said = [HumanMessage([QUESTION, block])]
        assert ChatRLM(model=model).invoke(said).text == "a cat"
        assert model.prompts == [said]


def test_pictures_of_earlier_messages_are_named_in_the_conversation() -> None:
    """As base64 they would fill code's memory, and what it prints."""
    sub = eyes()
    code = "seen = [part for message in context for part in message['content'] if isinstance(part, dict) and 'name' in part]\nprint(seen)\nFINAL(llm_query('?', images=[part['name'] for part in seen]))"
    model = root(code)
    said = [
        HumanMessage([QUESTION, image_url(CAT)]),
        AIMessage("A cat.", tool_calls=[{"name": "draw", "args": {}, "id": "c"}]),
        ToolMessage([image_block(DOG)], tool_call_id="c"),
        HumanMessage("Are both the same?"),
    ]
    assert chat(model, sub).invoke(said).text == "saw 2"
    assert [block["base64"] for block in blocks(sub)] == [b64(CAT), b64(DOG)]
    assert "with names such as 'message 0, part 1', 'message 2, part 0'" in shown(model, 0)
    assert b64(CAT)[:40] not in str(model.prompts)


def test_a_broken_picture_of_an_earlier_message_is_told_as_such() -> None:
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    model = root("FINAL(context[0]['content'][1]['is'])")
    said = [HumanMessage([QUESTION, broken]), AIMessage("?"), HumanMessage("So?")]
    assert "is no image by its first bytes" in chat(model).invoke(said).text


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (image_block(b"\0"), "is no image by its first bytes"),
        (image_block(b"\x89PNG\r\n\x1a\n" + bytes(9)), "broken PNG"),
        ({"type": "image", "base64": "%%%", "mime_type": "image/png"}, "not base64"),
        (
            {"type": "image", "base64": "A" * (29 << 20), "mime_type": "image/png"},
            "more than 20 MB",
        ),
        ({"type": "image", "url": "file:///etc/passwd"}, "content of type 'image'"),
        ({"type": "image", "url": "https://x.org/" + "a" * 3_000}, "3,014 characters"),
        ({"type": "image_url", "image_url": 3}, "content of type 'image_url'"),
        ({"type": "image"}, "content of type 'image'"),
        ({"type": "video", "url": "https://example.org/x.mp4"}, "content of type 'video'"),
        ({"type": "of_tomorrow", "x": 1}, "content of type 'of_tomorrow'"),
        ({"type": "file", "url": "https://example.org/x.pdf"}, "content of type 'file'"),
    ],
)
def test_a_bad_part_of_a_question_is_refused_with_why(block: dict[str, Any], told: str) -> None:
    model = root("FINAL(1)")
    with pytest.raises((InputError, ContextError), match=told):
        chat(model).invoke([HumanMessage([QUESTION, block])])
    with pytest.raises(ContextError, match=told):
        rlm(model).invoke({"messages": [HumanMessage([QUESTION, block])]})
    assert model.calls == 0


def test_instructions_are_text() -> None:
    with pytest.raises(InputError, match="The system message has content of type 'image'"):
        chat(root("FINAL(1)")).invoke([SystemMessage([image_block(CAT)]), HumanMessage("?")])


def test_a_picture_elsewhere_is_passed_on_and_never_fetched() -> None:
    """Nothing listens at the address: whoever fetched it would fail."""
    url = "http://127.0.0.1:9/cat.png"
    sub = eyes()
    model = root(
        "print(context, context_info(), context_1)\nFINAL(llm_query('?', images=['context', 'context_1']))"
    )
    parts = [
        QUESTION,
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image", "file_id": "file-7"},
    ]
    assert chat(model, sub).invoke([HumanMessage(parts)]).text == "saw 2"
    assert blocks(sub) == [{"type": "image", "url": url}, {"type": "image", "file_id": "file-7"}]
    assert f"image at {url}, for models to see" in shown(model, 0)


def test_a_model_that_takes_no_addresses_is_not_given_one() -> None:
    known: Any = {"image_inputs": True, "image_url_inputs": False}
    sub = ScriptedModel(answer=lambda _: "x", profile=known)
    model = root("llm_query('?', images=['context'])", "FINAL(1)")
    parts = [QUESTION, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    chat(model, sub).invoke([HumanMessage(parts)])
    assert "takes no pictures by their address" in shown(model, 1) and sub.calls == 0


def test_a_question_may_be_a_picture_alone() -> None:
    model = root("FINAL(llm_query('What?', images=['context']))")
    assert chat(model).invoke([HumanMessage([image_block(gif())])]).text == "saw 1"


def test_over_http_a_long_input_with_a_picture(upstream: OpenAIServer, tmp_path: Path) -> None:
    """What the provider gets of it, and what it does not."""

    def reply(body: Any) -> str:
        content = body["messages"][-1]["content"]
        if body["messages"][0]["role"] != "system":
            return f"saw {[part['type'] for part in content]}"
        return cell("FINAL(llm_query('What is it?', images=['context_1', 'context_2']))")

    upstream.reply = reply
    parts = [
        {"type": "text", "text": LONG},
        image_url(CAT),
        {"type": "input_audio", "input_audio": {"data": b64(wav()), "format": "wav"}},
    ]
    body = {"messages": [{"role": "user", "content": parts}]}
    with Served(create_app(Settings(db=str(tmp_path / "server.db")))) as server:
        answered = post(server.url, body).json()
        status, told = error_of(
            post(
                server.url,
                {
                    "messages": [
                        {
                            "role": "user",
                            "content": [{"type": "text", "text": LONG}, image_url(b"\0")],
                        }
                    ]
                },
            )
        )
    said = answered["choices"][0]["message"]["content"]
    assert said == "saw ['text', 'image_url', 'input_audio']"
    root_call, sub_call = upstream.requests[:2]
    assert b64(CAT)[:40] not in json.dumps(root_call)
    assert sub_call["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                image_url(CAT),
                {"type": "input_audio", "input_audio": {"data": b64(wav()), "format": "wav"}},
            ],
        }
    ]
    assert status == 400 and "is no image by its first bytes" in told
