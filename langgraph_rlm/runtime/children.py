"""Children: where child RLMs run, by the word of who makes the graph. Reaches nobody."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from langgraph_rlm.errors import ConfigurationError, shown

URL_VARIABLE = "LANGGRAPH_RLM_CHILDREN_URL"
KEY_VARIABLE = "LANGGRAPH_RLM_CHILDREN_KEY"

LEAST_KEY_CHARS = 32
"""Of the key that tasks are signed with: fewer could be guessed."""


@dataclass(frozen=True, kw_only=True)
class RemoteChildren:
    """Children that run elsewhere: each `rlm_query` is a run of its own on an engine that speaks
    LangGraph's protocol (Agent Server, `langgraph dev`, Aegra), so any of its workers takes it.

    The engine's assistant is the same graph, with the same blob store and the same key.

    Raises:
        ConfigurationError: a value of a wrong type; no URL; no key, or a short one.
    """

    url: str = ""
    """Of the engine; `$LANGGRAPH_RLM_CHILDREN_URL` when left out."""
    assistant: str = ""
    """That runs children: an assistant's id, or a graph's name. The graph's own when left out."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Sent with every request, such as `{"Authorization": "Bearer ..."}`."""
    key: str = field(default="", repr=False)
    """What tasks are signed with, the same for parents and workers, at least 32 characters;
    `$LANGGRAPH_RLM_CHILDREN_KEY` when left out. Whoever has it can have children run on whatever
    the blob store has."""
    patience: float = 60.0
    """Seconds that the engine is asked again while it cannot be reached. After that the run ends
    in a `ChildrenUnreachableError`, from which it is resumed."""

    @staticmethod
    def of(given: "RemoteChildren | str | None", name: str) -> "RemoteChildren | None":
        """Make it of what a user gives, whole: with what the environment says.

        Args:
            given: itself, `"remote"`, or None.
            name: of the graph.

        Raises:
            ConfigurationError: it is none of these, or what the class itself raises.
        """
        if given is None:
            return None
        if given == "remote":
            given = RemoteChildren()
        if not isinstance(given, RemoteChildren):
            raise ConfigurationError(
                f"children={shown(given)} must be 'remote' or a RemoteChildren, or be left out."
            )
        _check_types(given)
        url = given.url or os.environ.get(URL_VARIABLE, "")
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"children: url={url!r} must be the address of the engine, such as "
                f"'http://localhost:2024'. Give RemoteChildren(url=...) or set {URL_VARIABLE}."
            )
        return replace(given, url=url, assistant=given.assistant or name, key=children_key(given))


def children_key(children: RemoteChildren | None = None) -> str:
    """Give the key of the deployment.

    Raises:
        ConfigurationError: there is none, or it is short. The key itself is not shown.
    """
    key = (children.key if children is not None else "") or os.environ.get(KEY_VARIABLE, "")
    if len(key) >= LEAST_KEY_CHARS:
        return key
    what = f"has {len(key)} characters, too few" if key else "is not set"
    raise ConfigurationError(
        f"The key that tasks of child RLMs are signed with {what}. Set {KEY_VARIABLE} to the same "
        f"secret of at least {LEAST_KEY_CHARS} characters for parents and workers, such as the "
        "output of `openssl rand -hex 32`."
    )


def _check_types(given: RemoteChildren) -> None:
    for name in ("url", "assistant", "key"):
        value: Any = getattr(given, name)
        if not isinstance(value, str):
            raise ConfigurationError(f"RemoteChildren: {name} must be a str.")
    headers: Any = given.headers
    if not isinstance(headers, Mapping):
        raise ConfigurationError("RemoteChildren: headers must be a dict of str to str.")
    patience: Any = given.patience
    if not isinstance(patience, int | float) or patience < 0:
        raise ConfigurationError(
            f"RemoteChildren: patience={shown(patience)} must be a number of seconds, at least 0."
        )
