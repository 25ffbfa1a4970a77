"""What a model that `ChatRLM` asks directly is sent of a chat."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langgraph_rlm import ChatRLM
from langgraph_rlm.testing import ScriptedModel

from .test_chat_answers import ANY, SCHEMA


def test_a_form_is_told_at_the_end_of_the_last_message() -> None:
    """Some chat templates refuse two messages of one role in a row. Pictures stay where they are."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    model = ScriptedModel(answer=lambda _: '{"x": 1}')
    for content in ("Give x.", [{"type": "text", "text": "Give x."}, image]):
        ChatRLM(model=model).invoke([HumanMessage(content)], response_format=SCHEMA)  # type: ignore[arg-type]
        (message,) = model.prompts[-1]
        assert message.text.startswith("Give x.") and "JSON schema" in message.text
        assert isinstance(content, str) or message.content[1] == image


@pytest.mark.parametrize("form", [None, ANY])
def test_no_empty_reply_of_a_chat_is_sent(form: Any) -> None:
    """Many providers refuse one. A call without text is no empty reply."""
    call = {"name": "look", "args": {}, "id": "a"}
    said: list[Any] = [
        HumanMessage("a"),
        AIMessage(""),
        HumanMessage("b"),
        AIMessage([]),
        HumanMessage("c"),
        AIMessage(" \n"),
        HumanMessage("d \ud800"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("3", tool_call_id="a"),
    ]
    model = ScriptedModel(answer=lambda _: "{}")
    ChatRLM(model=model).invoke(said, **({"response_format": form} if form else {}))
    sent = model.prompts[0]
    assert [message.text for message in sent[1:6:2]] == ["(empty)"] * 3
    assert (sent[6].text, sent[7].text) == ("d ?", "")
