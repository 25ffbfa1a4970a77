"""Settings: what a server was told by its command line, its configuration file, its environment.

Opens and serves nothing.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Price
from langgraph_rlm.errors import ConfigurationError, problems_in
from langgraph_rlm.repl import NAMES
from langgraph_rlm.server.limits.given import NAME, KeyLimits, NamedKey
from langgraph_rlm.storage.json_types import is_dict

KEY_VARIABLE = "LANGGRAPH_RLM_API_KEY"
"""The environment variable with the keys that clients may use, separated by commas."""

METRICS_KEY_VARIABLE = "LANGGRAPH_RLM_METRICS_KEY"
"""The one with the keys that may read figures, and nothing else."""


def _known_sandbox(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"there is no sandbox {name!r}: give one of {', '.join(NAMES)}")
    return name


MOST_WORKERS = 128
"""A number beyond the cores of any machine is a slip of the hand."""

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s*]+", re.IGNORECASE)
"""An origin, as browsers send it: scheme, host and perhaps a port."""


def _known_origin(origin: str) -> str:
    if origin not in ("*", "null") and not ORIGIN.fullmatch(origin):
        raise ValueError(
            f"{origin!r} is not an origin: give scheme and host, such as http://localhost:3000, "
            "without a path, or * for all"
        )
    return origin.lower()  # as browsers send it


class Alias(BaseModel):
    """A model id of the configuration file: `[models.NAME]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """A model id as clients write it: `gpt-5`, `gpt-5:gpt-5-mini`, `anthropic/claude-opus-4-5`; or
    `anthropic:claude-opus-4-5`, which no list of the upstream's makes another model.

    Where `sub_model` is set, the whole text is one name, colons included.
    """
    sub_model: str | None = None
    limits: Limits | None = None
    direct_below_tokens: int | None = Field(default=None, ge=0)
    sandbox: Annotated[str, AfterValidator(_known_sandbox)] | None = None
    window_tokens: int | None = Field(default=None, ge=1)
    """Tokens that the root model takes; by default the setting of the same name."""
    compact_at: float | None = Field(default=None, gt=0, le=1)
    """The share of the window at which a run's conversation is summed up."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of an answer, for requests that do not say."""
    temperature: float | None = None
    timeout: float | None = Field(default=None, gt=0)
    """Seconds of one call to a model."""
    max_retries: int | None = Field(default=None, ge=0)
    base_url: str | None = None
    """The upstream of this model; OPENAI_BASE_URL by default."""
    api_key_env: str | None = None
    """Name of the environment variable with the upstream's key, so that no key is in the file."""


class Settings(BaseModel):
    """What one server was told. Nothing of it is secret: keys are in the environment alone, or
    here by their digests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    db: str | None = None
    """A SQLite file or a PostgreSQL URL; None is `server.db` in the user's data folder."""
    blob_store: str | None = None
    """Where contexts and long values are kept; None is `$LANGGRAPH_RLM_STORE`, else the database if
    that is a PostgreSQL server, else `create_rlm`'s default."""
    model: str | None = None
    """What the id `rlm` stands for: one name, colons included."""
    sub_model: str | None = None
    """The model that answers the sub-calls of ids that name one model."""
    aliases: Mapping[str, Alias] = Field(default_factory=dict)
    window_tokens: int | None = Field(default=None, ge=1)
    """Tokens that root models take; None is what their profiles say, else 128,000."""
    limits: KeyLimits | None = None
    """What each key may use; None counts nothing, unless `keys` have limits."""
    keys: Mapping[str, NamedKey] = Field(default_factory=dict)
    """Keys by name, beside those of the environment; some with limits of their own."""
    prices: Mapping[str, Price] = Field(default_factory=dict)
    """USD for a million tokens, by the name of a model, for those that are not known."""
    skills: tuple[str, ...] = ()
    """Folders of skills, for every model (`create_rlm`)."""
    any_model: bool = True
    """Whether clients may name models that the server does not list."""
    cors_origins: tuple[Annotated[str, AfterValidator(_known_origin)], ...] = ()
    """Origins whose pages may ask from a browser, such as `http://localhost:3000`; `*` for all."""
    workers: int = Field(default=1, ge=1, le=MOST_WORKERS)
    """Run processes of `langgraph-rlm serve`: runs use as many cores."""
    max_concurrent: int = Field(default=128, ge=1)
    """Requests that are worked on at once; more wait in line."""
    max_queue: int = Field(default=1024, ge=0)
    """Requests that may wait; further ones get 429."""
    max_background: int = Field(default=32, ge=0)
    """Background responses of one key that may be open; further ones get 429."""
    max_body_mb: float = Field(default=100, gt=0)
    """Largest request, in 2**20 bytes."""
    keep_alive_seconds: float = Field(default=15, gt=0)
    """After this much silence a stream gets a comment, so that no proxy on its way closes it."""
    body_seconds: float = Field(default=60, gt=0)
    """How long a client may pause within its request, and take for its headers."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What `langgraph-rlm serve` writes to stderr of what it logs. An application that is served
    by others logs as they have set it up."""
    drain_seconds: float = Field(default=0, ge=0)
    """How long requests are taken after SIGTERM, while `/ready` says 503: as long as a load
    balancer may need to notice."""
    stop_seconds: float = Field(default=30, ge=0)
    """How long requests may continue after that. Then they are handed over: their clients are told
    to ask again, and what their runs have done is in the database."""

    @property
    def max_body_bytes(self) -> int:
        """Bytes of the largest request."""
        return int(self.max_body_mb * 2**20)


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file (TOML): `any_model`, aliases as `[models.NAME]`, limits of keys as
    `[limits]` and `[keys.NAME]`, and `[prices.NAME]`.

    Raises:
        ConfigurationError: it cannot be read, or a name or a value in it is wrong.
    """
    try:
        given = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"The configuration file {path} cannot be read: {error}"
        raise ConfigurationError(message) from error
    aliases = given.pop("models", {})
    unknown = sorted(set(given) - {"any_model", *TABLES})
    if unknown:
        raise ConfigurationError(
            f"{path}: {unknown[0]!r} is not a setting. There are any_model, [models.NAME], "
            "[limits], [keys.NAME] and [prices.NAME]."
        )
    try:
        named = {name: Alias.model_validate(alias) for name, alias in aliases.items()}
        return {**given, **_tables(given), "aliases": named}
    except (ValidationError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


TABLES = ("limits", "keys", "prices")
"""Of a configuration file, beside `models`."""


def _tables(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read what a configuration file says of keys.

    Raises:
        ValueError: a name or a value is wrong.
    """
    found: dict[str, Any] = {}
    if "limits" in given:
        found["limits"] = KeyLimits.model_validate(given["limits"])
    keys, prices = given.get("keys", {}), given.get("prices", {})
    for table in (keys, prices):
        if not is_dict(table):
            raise ValueError(f"{table!r} is no table: write [keys.NAME] and [prices.NAME]")
    for name in keys:
        if not NAME.fullmatch(name):
            raise ValueError(f"[keys.{name!r}]: a name has letters, digits, '.', '_' and '-'")
    found["keys"] = {name: NamedKey.model_validate(key) for name, key in keys.items()}
    found["prices"] = {name: Price.model_validate(price) for name, price in prices.items()}
    return found


def settings_of(config: Path | None, options: Mapping[str, Any]) -> Settings:
    """Give the settings of a command line.

    They go before those of the configuration file, and these before those of the environment.

    Raises:
        ConfigurationError: a setting is wrong; see `read_config` too.
    """
    from langgraph_rlm.models.resolve import MODEL_VARIABLE

    given = {name: value for name, value in options.items() if value is not None}
    model = os.environ.get(MODEL_VARIABLE)
    if model:
        given.setdefault("model", model)
    if config:
        given = {**read_config(config), **given}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigurationError(f"serve: {problems_in(error, has_values=False)}.") from None


def keys_of_environment(variable: str = KEY_VARIABLE) -> tuple[str, ...]:
    """Give the keys of a variable; without any of LANGGRAPH_RLM_API_KEY, everybody may ask."""
    keys = [key.strip() for key in os.environ.get(variable, "").split(",")]
    return tuple(key for key in keys if key)
