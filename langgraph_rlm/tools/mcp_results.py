"""MCP results: what code gets of a server's result. Trusts nothing of it, and fetches nothing.

Source: the Model Context Protocol, "Tools" (modelcontextprotocol.io/specification).
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph_rlm.documents.kinds import HEAD_BYTES, kind_of
from langgraph_rlm.storage.context import encodable
from langgraph_rlm.storage.media import MAX_BYTES, PDF, media_of
from langgraph_rlm.storage.references import MOST
from langgraph_rlm.storage.utf8 import NotText
from langgraph_rlm.tools.annotations import Schema
from langgraph_rlm.tools.results import Shown, ToolFailed, WithShown

WRAPPED = "result"
"""The only property of an output schema by which a server wraps what is not an object."""

MAX_ENCODED = MAX_BYTES * 4 // 3 + 4
"""Most characters of base64 that are decoded."""


def is_wrapped(schema: Schema | None) -> bool:
    """Tell whether results by this output schema are `{"result": value}` around the value.

    Only objects are structured results, so servers wrap all else, and say so by a schema with this
    one property.
    """
    if schema is None:
        return False
    properties: Any = schema.get("properties")
    required: Any = schema.get("required")
    return [*(properties or ())] == [WRAPPED] and required == [WRAPPED]


def value_of(result: Any, schema: Schema | None) -> Any:
    """Give the value that code gets: plain JSON, or a `WithShown`.

    The structured content, where there is one; else the text, as it is, also where it is JSON;
    where there is more than text, a dict with `text` and `media`.

    Args:
        result: the SDK's `CallToolResult`.
        schema: the tool's output schema, if it has one.

    Raises:
        ToolFailed: the server says that the call failed, with its text.
    """
    structured: Any = result.structuredContent
    if structured is not None and not result.isError:
        return structured[WRAPPED] if is_wrapped(schema) and WRAPPED in structured else structured
    blocks = _Blocks()
    for block in result.content:
        blocks.take(block)
    text = "\n".join(blocks.texts)
    if result.isError:
        raise ToolFailed(text or "the server gave no reason")
    if not blocks.media:
        return text
    shown = tuple(each for each in blocks.media if isinstance(each, Shown))
    return WithShown(shown, _Value(text, blocks.media))


@dataclass(frozen=True)
class _Value:
    """Makes the value of a result with more than text."""

    text: str
    media: Sequence["Shown | dict[str, Any]"]

    def __call__(self, names: Sequence[str]) -> dict[str, Any]:
        """Give the value. `names` are those of what models can see, in order."""
        left = iter(names)
        media = [
            {"name": next(left), **each.facts} if isinstance(each, Shown) else each
            for each in self.media
        ]
        return {"text": self.text, "media": media}


@dataclass
class _Blocks:
    """The content blocks of a result, taken one by one."""

    texts: list[str] = field(default_factory=list[str])
    media: list[Shown | dict[str, Any]] = field(default_factory=list["Shown | dict[str, Any]"])

    def take(self, block: Any) -> None:
        """Take one block. What no model can be shown becomes a dict that tells of it."""
        if block.type == "text":
            self.texts.append(encodable(block.text))
        elif block.type in ("image", "audio"):
            self._data(block.data, {"type": str(block.mimeType)})
        elif block.type == "resource":
            self._resource(block.resource)
        elif block.type == "resource_link":
            about = {"uri": str(block.uri), "title": block.title or block.name}
            self.media.append({**about, "type": str(block.mimeType or "")})
        else:
            self.media.append({"type": str(block.type)})

    def _resource(self, resource: Any) -> None:
        text = getattr(resource, "text", None)
        if text is not None:
            self.texts.append(encodable(text))
            return
        about = {"uri": str(resource.uri), "type": str(resource.mimeType or "")}
        self._data(resource.blob, about)

    def _data(self, encoded: str, about: dict[str, Any]) -> None:
        """Take bytes as base64. What they are is read from them: a server may say anything."""
        if len(encoded) > MAX_ENCODED:
            self.media.append({**about, "error": f"it has more than {MAX_BYTES >> 20} MB"})
            return
        try:
            data = base64.b64decode(encoded, validate=True)
            found = _shown(data)
        except (binascii.Error, NotText) as error:
            self.media.append({**about, "error": str(error)})
            return
        if found is None:
            self.media.append({**about, "bytes": len(data), "base64": encoded})
        elif sum(isinstance(each, Shown) for each in self.media) == MOST:
            self.media.append({**about, "error": f"a call may give {MOST} pictures and the like"})
        else:
            self.media.append(found)


def _shown(data: bytes) -> Shown | None:
    """Make what models can see of bytes; None where they cannot see such.

    Raises:
        NotText: it is a picture or a sound that models do not take.
    """
    kind = kind_of(data[:HEAD_BYTES], b"", "")
    if kind is None:
        return None
    if kind.type == PDF:
        return Shown(data, {"type": PDF, "bytes": len(data)}, kind.extension)
    media = media_of(data, "it")
    return None if media is None else Shown(data, media.facts, kind.extension)
