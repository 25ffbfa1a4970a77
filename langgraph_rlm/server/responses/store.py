"""Store: responses that can be asked for later, in the server's database.

A record is a thread of its own, found by its owner and its id; the items, which may be long, are
blobs that it names. There are no other tables. Asks no model.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint

from langgraph_rlm.chat.calls import Ended, Named
from langgraph_rlm.chat.ids import thread_of
from langgraph_rlm.chat.memory import in_use
from langgraph_rlm.errors import BlobError
from langgraph_rlm.history.homes import RECORD
from langgraph_rlm.pregel.databases import identity_of
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.responses.ids import is_response_id
from langgraph_rlm.server.responses.objects import Object
from langgraph_rlm.storage.blobs import BlobStore

CHANNEL = "record"
Items = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Record:
    """What is kept of one response."""

    response: Object
    """As the client gets it."""
    turns: list[str] = field(default_factory=list[str])
    """Digests of the conversation's items, the oldest first; the last one is this input."""
    first: int = 0
    """From which of them on the model is told: a run knows what came before."""
    after: dict[str, str] | None = None
    """The run whose next question this is, as `run`."""
    run: dict[str, str] | None = None
    """The run that it came from, as `replies.RunEnd` has it; None where the model was asked
    directly."""
    named: str = ""
    """The id of the run that it begins, if it begins one."""
    request: str = ""
    """Digest of the request without its input, of a response in the background: it is asked again
    where it was cut off."""
    tries: int = 0
    """How often it was taken up."""

    @property
    def id(self) -> str:
        """The response's id."""
        return str(self.response["id"])

    @property
    def status(self) -> str:
        """How it stands."""
        return str(self.response["status"])

    @property
    def to_begin(self) -> Named:
        """The run that it begins, if it begins one."""
        return Named(self.named, None if self.after is None else Ended(**self.after))

    def with_response(self, response: Object) -> "Record":
        """Give the record with the response as it stands now."""
        return replace(self, response=response)


class Store:
    """The responses of one database."""

    def __init__(self, saver: BaseCheckpointSaver[Any], blobs: BlobStore) -> None:
        self.saver = saver
        self._blobs = blobs

    async def find(self, owner: str, id: str) -> Record:
        """Read a response.

        Raises:
            Refused: the owner has none of this id.
        """
        saved = None
        if is_response_id(id):
            saved = await self.saver.aget_tuple(_config(owner, id))
        if saved is None or CHANNEL not in saved.checkpoint["channel_values"]:
            raise no_response(id)
        return Record(**json.loads(saved.checkpoint["channel_values"][CHANNEL]))

    async def save(self, owner: str, record: Record) -> None:
        """Keep a response as it stands now."""
        config = _config(owner, record.id)
        checkpoint = empty_checkpoint()
        versions = {CHANNEL: checkpoint["id"]}
        # as ASCII: checkpoints cannot hold half of a surrogate pair, and PostgreSQL no NUL
        checkpoint["channel_values"] = {CHANNEL: json.dumps(asdict(record)).encode()}
        checkpoint["channel_versions"] = {**versions}
        metadata: Any = {"source": "update", "step": -1, "parents": {}, RECORD: "response"}
        with in_use(self.saver, thread_of(owner, record.id)):
            await self.saver.aput(config, checkpoint, metadata, {**versions})

    async def delete(self, owner: str, record: Record) -> None:
        """Delete a response, and its run if that has not gone on since."""
        if record.run is not None:
            config = _config(owner, record.run["run"])
            head = await self.saver.aget_tuple(config)
            if head is not None and head.checkpoint["id"] == record.run["checkpoint"]:
                await self.saver.adelete_thread(thread_of(owner, record.run["run"]))
        await self.saver.adelete_thread(thread_of(owner, record.id))

    async def put(self, items: Any) -> str:
        """Keep items, or a request, and give the digest."""
        return await asyncio.to_thread(self._put, await identity_of(self.saver), items)

    def _put(self, database: Any, items: Any) -> str:
        data = json.dumps(items, ensure_ascii=False).encode("utf-8", "surrogatepass")
        # so that nobody who frees blobs takes them for nobody's
        use = self._blobs.users.begin(database, self.saver)
        try:
            return self._blobs.put(data)
        finally:
            self._blobs.users.end(use)

    async def get(self, digest: str) -> Any:
        """Read what `put` kept.

        Raises:
            Refused: it is gone.
        """
        try:
            data = await asyncio.to_thread(self._blobs.get, digest)
        except BlobError as error:
            message = "What was kept of the conversation before is gone: send it whole."
            raise Refused(404, message, code="value_missing") from error
        return json.loads(data.decode("utf-8", "surrogatepass"))


def _config(owner: str, id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_of(owner, id), "checkpoint_ns": ""}}


def no_response(id: str, param: str | None = None) -> Refused:
    """Make the refusal of a response that there is not, or that is another key's."""
    code = "previous_response_not_found" if param else "not_found"
    status = 400 if param else 404
    message = f"Response with id {id!r} not found."
    return Refused(status, message, param=param, code=code)
