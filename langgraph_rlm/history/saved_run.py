"""Saved run: a run as one file that works as a test. It is saved from its checkpoints.

`replay_run` runs its code again on today's code, without a model:

    # once, from a real run
    save_run(rlm, {"configurable": {"thread_id": "contracts-1"}}, "tests/runs/contracts.json")

    # for ever, in CI: no key, no network
    @pytest.mark.parametrize("path", sorted(Path("tests/runs").glob("*.json")))
    def test_a_saved_run_still_does_the_same(path):
        replay_run(path, tools=[search])

Both are in `langgraph_rlm.testing`.
"""

import asyncio
import gzip
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, cast

from langchain_core.runnables import RunnableConfig
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from langgraph_rlm.errors import ConfigurationError, problems_in
from langgraph_rlm.history.fork import rlm_at, waited
from langgraph_rlm.history.run_tree import RLMTree, check_has_thread, run_tree
from langgraph_rlm.log.entries import Log, LogEntry
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.storage.blobs import BlobStore, to_bytes, to_text
from langgraph_rlm.storage.context import MEDIA
from langgraph_rlm.storage.skills import kept_skills

FORMAT = "langgraph-rlm run 1"


class SavedRLM(TypedDict):
    """One RLM of a saved run."""

    trajectory: str
    """The id of the RLM."""
    answer: str | None
    """None while it is not over."""
    stop_reason: str
    structured: bool
    """Whether the answer had to match a schema: then it is what the schema made of code's value."""
    log: dict[str, Annotated[LogEntry, Field(discriminator="kind")]]
    children: dict[str, "SavedRLM"]
    """Each child by the place of the answer that it gave."""


class SavedRun(TypedDict):
    """A run as a file: JSON, gzipped if the file's name ends in `.gz`."""

    format: str
    version: str
    """The version of this package that saved it."""
    sandbox: str
    limits: dict[str, Any]
    models: list[str]
    root: SavedRLM
    blobs: dict[str, str]
    """Every text that the logs refer to, by digest."""


def save_run(
    graph: Any, config: RunnableConfig, path: str | Path, *, contexts: bool = True
) -> None:
    """Do what `asave_run` does, from sync code."""
    waited(graph, lambda own: asave_run(own, config, path, contexts=contexts))


async def asave_run(
    graph: Any, config: RunnableConfig, path: str | Path, *, contexts: bool = True
) -> None:
    """Write a thread's run, children included, to one file that `replay_run` replays.

    The file holds prompts, replies and contexts in full.

    Args:
        graph: an RLM with a checkpointer, or a graph with one as a node.
        config: the thread. Without a `checkpoint_id` its newest branch is saved, else the branch
            that ends there; with a `checkpoint_ns` an RLM within.
        path: the file to write; gzipped if its name ends in `.gz`.
        contexts: False leaves the contexts out; the replay then needs a store that has them.

    Raises:
        ForkError: there is no RLM at `checkpoint_ns`.
        ConfigurationError: the graph has no checkpointer, or the thread no such checkpoint.
        BlobError: a value that the log refers to is gone.
    """
    given: dict[str, Any] = config.get("configurable", {})
    check_has_thread(graph, given)
    rlm = rlm_at(graph, given.get("checkpoint_ns", "")).rlm
    root = _saved(await run_tree(graph, config))
    saved = SavedRun(
        format=FORMAT,
        version=version("langgraph-rlm"),
        sandbox=rlm.sandbox(root["log"]).name,
        limits=rlm.limits.model_dump(),
        models=sorted(rlm.models),
        root=root,
        blobs=await asyncio.to_thread(_texts, root, rlm.blobs, contexts),
    )
    await asyncio.to_thread(_write, saved, Path(path))


def _saved(tree: RLMTree) -> SavedRLM:
    return SavedRLM(
        trajectory=tree.rlm_id,
        answer=tree.answer,
        stop_reason=tree.stop_reason,
        structured=tree.is_structured,
        log=tree.log,
        children={place: _saved(child) for place, child in tree.children.items()},
    )


def _texts(root: SavedRLM, blobs: BlobStore, contexts: bool) -> dict[str, str]:
    """Read the texts that an RLM and those below it refer to, by digest."""
    digests: set[str] = set()
    for rlm in rlms_of(root):
        digests.update(_blobs(rlm["log"]))
        digests.update(skill_blobs(rlm["log"], blobs))
        if contexts:
            digests.update(context_blobs(rlm["log"]))
    return {digest: to_text(blobs.get(digest)) for digest in sorted(digests)}


def _write(saved: SavedRun, path: Path) -> None:
    data = to_bytes(json.dumps(saved, ensure_ascii=False, indent=1))
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    path.write_bytes(data)


def load_run(path: str | Path) -> SavedRun:
    """Read a saved run.

    Raises:
        ConfigurationError: the file is not a saved run of this version.
    """
    data = Path(path).read_bytes()
    try:
        saved = _parsed(data, is_gzipped=str(path).endswith(".gz"))
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{str(path)!r} is not a saved run: {error}.") from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise ConfigurationError(
            f"{str(path)!r} is not a saved run of this version: its format is not {FORMAT!r}. "
            "Save the run again."
        )
    try:
        TypeAdapter(SavedRun).validate_python(saved)
    except ValidationError as error:
        raise ConfigurationError(
            f"{str(path)!r} is not a saved run: {problems_in(error)}."
        ) from None
    return cast(SavedRun, saved)


def _parsed(data: bytes, *, is_gzipped: bool) -> Any:
    if is_gzipped:
        data = gzip.decompress(data)
    return json.loads(to_text(data))


def rlms_of(rlm: SavedRLM) -> Iterator[SavedRLM]:
    """Give a saved RLM and all below it."""
    yield rlm
    for child in rlm["children"].values():
        yield from rlms_of(child)


def _blobs(value: Any) -> Iterator[str]:
    """Give the digests of the texts that a value refers to."""
    if isinstance(value, Mapping):
        known = cast(Mapping[str, Any], value)
        if "blob" in known:
            yield known["blob"]
        for inner in known.values():
            yield from _blobs(inner)


def skill_blobs(log: Log, blobs: BlobStore) -> Iterator[str]:
    """Give the digests of the skills that a log's questions were put with. Raises `BlobError`."""
    for question in questions_of(log):
        skills = question.get("skills")
        if skills is not None:
            yield skills
            for skill in kept_skills(skills, blobs):
                yield from (file.digest for file in skill.files)


def context_blobs(log: Log) -> Iterator[str]:
    """Give the digests of the contexts that a log's questions brought, as far as they are texts,
    with what is known of them: a replay shows no model a picture."""
    for question in questions_of(log):
        for handle in question["contexts"]:
            text = None if handle["kind"] in MEDIA else handle["digest"]
            yield from filter(
                None, (text, handle["index"], handle.get("about"), handle.get("tables"))
            )
