"""Kept options: how the questions of a thread are answered, as its checkpoints remember it."""

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_rlm.cli.graphs import load_graph, with_saver
from langgraph_rlm.cli.model_options import known_options, merged
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.models.resolve import MODEL_VARIABLE
from langgraph_rlm.repl import DEFAULT_SANDBOX
from langgraph_rlm.storage.locations import STORE_VARIABLE, masked

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from langgraph_rlm.rlm_graph import RLMGraph

REMEMBERED = "rlm_options"
"""Key of a thread's `Options` in the metadata of its checkpoints."""


@dataclass(frozen=True)
class Options:
    """How the questions of a thread are answered.

    They are kept with its checkpoints, so that resuming needs nothing else. No key is among them.
    """

    model: str | None = None
    """`provider:model`, or `offline:N` for the demo's scripted models."""
    sub_model: str | None = None
    sandbox: str | None = None
    blob_store: str | None = None
    """Where contexts and long values are; None is the default folder. It is kept without a
    password."""
    window_tokens: int | None = None
    """Tokens that the root model takes, where the user says so."""
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    model_options: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )
    """Of `model` and `sub_model`: how they answer, never where they are asked."""
    fallbacks: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    graph: str | None = None
    """A graph of the user's own, as `graphs.py` loads it; all but `blob_store` is then its own."""
    skills: tuple[str, ...] = ()
    """Folders of skills for new questions. They are never read from a database, as a graph is."""

    def over(self, older: "Options") -> "Options":
        """Give these options where they are set, else the older ones.

        A graph is never taken over: it is code, and who can write to a database must not choose
        what runs.
        """
        return Options(
            model=self.model or older.model,
            sub_model=self.sub_model or older.sub_model,
            sandbox=self.sandbox or older.sandbox,
            blob_store=self.blob_store or older.blob_store,
            window_tokens=self.window_tokens or older.window_tokens,
            limits={**older.limits, **self.limits},
            model_options=merged(older.model_options, self.model_options),
            fallbacks={**older.fallbacks, **self.fallbacks},
            graph=self.graph,
            skills=self.skills,
        )

    def made(self, saver: "BaseCheckpointSaver[Any] | None") -> Any:
        """Make the graph that these options describe: an RLM, unless the user's is another one.

        Raises:
            ConfigurationError: an option is wrong.
        """
        if self.graph is not None:
            return with_saver(load_graph(self.graph), saver)
        return self._rlm(saver)

    def _rlm(self, saver: "BaseCheckpointSaver[Any] | None") -> "RLMGraph":
        from langgraph_rlm.budget.limits import Limits
        from langgraph_rlm.cli.demo import OFFLINE, offline_models
        from langgraph_rlm.graph import create_rlm

        assert self.model is not None, "open_job has checked it"
        model: Any = self.model
        sub_model: Any = self.sub_model
        kind, _, sub_calls = self.model.partition(":")
        if kind == OFFLINE:
            model, sub_model = offline_models(int(sub_calls))
        limits: Any = self.limits
        return create_rlm(
            model,
            sub_model=sub_model,
            model_options=known_options(self.model_options),
            fallbacks=self.fallbacks,
            limits=Limits(**limits),
            sandbox=self.sandbox or DEFAULT_SANDBOX,
            window_tokens=self.window_tokens,
            skills=self.skills,
            checkpointer=saver,
            blob_store=self.blob_store,
        )


def kept(options: Options) -> str:
    """Give options as a thread remembers them: the blob store without its password."""
    store = options.blob_store and masked(options.blob_store)
    return json.dumps(asdict(replace(options, blob_store=store)))


def close_sessions(graph: Any, options: Options) -> None:
    """End the interpreters of a graph's RLMs. The user's own graph may be used again."""
    from langgraph_rlm.history.homes import rlms_in

    for rlm in rlms_in(graph):
        if options.graph is None:
            rlm.rlm.sessions.close()
        else:
            rlm.rlm.sessions.release_idle()


def default_db() -> Path:
    """Give the path of `threads.db` in the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("langgraph-rlm") / "threads.db"


def environment() -> Options:
    """Give the options that the environment sets."""
    store = os.environ.get(STORE_VARIABLE) or None
    if store is not None and "://" not in store:
        store = str(Path(store).absolute())
    return Options(model=os.environ.get(MODEL_VARIABLE) or None, blob_store=store)


def remembered(thread: str, db: Path) -> Options | None:
    """Read the options in a thread's last checkpoint; None if there is no such thread.

    Raises:
        ConfigurationError: `db` is not a SQLite file.
    """
    from langgraph.checkpoint.sqlite import SqliteSaver

    if not db.exists():
        return None
    try:
        with SqliteSaver.from_conn_string(str(db)) as saver:
            found = saver.get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    except sqlite3.Error as error:
        raise no_threads(db, error) from error
    if found is None:
        return None
    return options_in(found.metadata)


def options_in(metadata: Any) -> Options:
    """Read the options that the metadata of a checkpoint has."""
    values = json.loads(metadata.get(REMEMBERED, "{}"))
    values.setdefault("blob_store", values.get("store"))  # its name in threads of 0.1
    names = {option.name for option in fields(Options)} - {"skills"}
    return Options(**{name: value for name, value in values.items() if name in names})


def no_threads(db: Path, error: Exception) -> ConfigurationError:
    """Make the error of a file that cannot be the database of threads."""
    return ConfigurationError(f"{db} cannot keep threads: {error}. Give another file as --db.")
