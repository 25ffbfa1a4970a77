"""Tasks: what a child that runs elsewhere is to do, signed by its parent. Runs nothing.

An input that names stored values is a capability: whoever knows a digest could read what others
have stored. Grants, depth and form are the parent's word too. So all of it travels as one token,
signed with a key that the deployment's processes have, and nobody else. It holds for one thread.
"""

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from typing import Any, Literal, cast

from langchain_core.runnables import RunnableConfig
from typing_extensions import TypedDict

from langgraph_rlm.errors import ChildTaskError
from langgraph_rlm.log.entries import Settings
from langgraph_rlm.storage.blobs import Text
from langgraph_rlm.storage.context import HandleDict

TASK = "rlm_child"
"""The only key of the input of a child that runs elsewhere."""

PARENT_THREAD = "rlm_parent_thread"
"""Key of metadata that has the id of the parent's thread: of a child's thread on its engine, and of
its checkpoints. What reads or deletes children with their parent believes a parent's log only where
the child says the same, so that no thread can claim another one's."""

VERSION = "rlm1"
"""Of the form of tokens, and what they begin with."""

MOST_CHARS = 1_000_000
"""Of a token that is looked at."""


Kind = Literal["task", "grant"]
"""What a token is of: none of one kind is taken for one of the other."""


class GrantDict(TypedDict):
    """A `Grant` as plain values."""

    tokens: int | None
    cost: float | None
    seconds: float | None
    sub_calls: int


class Task(TypedDict):
    """What a child is to do. Everything that is large is by reference."""

    query: Text
    contexts: list[HandleDict]
    depth: int
    model: str | None
    """The name of the sub-model that the parent's code picked."""
    form: Text | None
    """JSON schema of the answer."""
    settings: Settings
    """What the parent's run has of its own."""
    grant: GrantDict
    parent: str
    """Id of the parent's thread; empty where it has none."""
    caller: list[str]
    """Id of the parent, and the place in its log that the answer is for."""
    trace: str
    """The OpenTelemetry context of the parent's run; may be empty."""


def sign(kind: Kind, what: Mapping[str, Any], thread: str, key: str) -> str:
    """Make a token of plain values, for one thread."""
    body = json.dumps([thread, what], ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    encoded = base64.urlsafe_b64encode(body.encode()).decode()
    return f"{VERSION}.{encoded}.{_signature(kind, encoded, key)}"


def read_task(token: Any, thread: str, key: str) -> Task:
    """Read a task that was signed with this key, for this thread.

    Raises:
        ChildTaskError: it was not.
    """
    return cast(Task, _read("task", token, thread, key))


def read_grant(token: Any, thread: str, key: str) -> GrantDict:
    """Read a grant, as `read_task` reads a task."""
    return cast(GrantDict, _read("grant", token, thread, key))


def _read(kind: Kind, token: Any, thread: str, key: str) -> Any:
    if not isinstance(token, str) or len(token) > MOST_CHARS:
        raise _refused(kind, "it is no token")
    version, _, rest = token.partition(".")
    body, _, signature = rest.partition(".")
    if version != VERSION:
        raise _refused(kind, f"it is no token of the form {VERSION}")
    if not hmac.compare_digest(_signature(kind, body, key).encode(), signature.encode()):
        raise _refused(kind, "its signature is missing or wrong")
    its_thread, what = json.loads(base64.urlsafe_b64decode(body))
    if its_thread != thread:
        raise _refused(kind, "it is for another thread")
    return what


def child_thread(config: RunnableConfig, key: str) -> str:
    """Give the id of the thread of the child that a task of a graph runs.

    It mirrors the namespace in which LangGraph keeps a local child: the same task, resumed in
    whatever process, finds the same thread, and the task of a fork has another one. Nobody without
    the key can tell it beforehand. Without a thread of its own, a parent cannot be resumed.
    """
    given = config.get("configurable", {})
    thread = given.get("thread_id")
    if thread is None:
        return str(uuid.uuid4())
    # JSON keeps the two apart, whatever characters they have.
    place = json.dumps([str(thread), str(given.get("checkpoint_ns", ""))])
    digest = _hmac(f"thread {place}", key)
    return str(uuid.UUID(bytes=digest[:16], version=5))


def _signature(kind: Kind, body: str, key: str) -> str:
    return base64.urlsafe_b64encode(_hmac(f"{kind} {VERSION} {body}", key)).decode()


def _hmac(text: str, key: str) -> bytes:
    return hmac.new(key.encode(), f"langgraph-rlm {text}".encode(), hashlib.sha256).digest()


def _refused(kind: Kind, why: str) -> ChildTaskError:
    return ChildTaskError(
        f"The {kind} of a child RLM, which parents of this deployment alone can give, is refused: "
        f"{why}. Ask with 'query' and 'context'."
    )
