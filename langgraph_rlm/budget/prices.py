"""Prices: what a model's tokens cost.

They are in the user's table, else in the `genai-prices` package where it is installed.
"""

import asyncio
from collections.abc import Mapping
from importlib.util import find_spec

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langgraph_rlm.errors import ConfigurationError, problems_in


class Price(BaseModel):
    """USD for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    """For input that the provider had cached; the same as `input` when left out."""
    cache_write: float | None = Field(default=None, ge=0)
    """For input that the provider puts into its cache; the same as `input` when left out."""
    cache_write_1h: float | None = Field(default=None, ge=0)
    """For input that Anthropic keeps for an hour; the same as `cache_write` when left out."""

    def cost(
        self,
        input_tokens: int,
        output_tokens: int,
        cached_tokens: int = 0,
        written_tokens: int = 0,
        written_1h_tokens: int = 0,
    ) -> float:
        """Give the USD of one call.

        Args:
            input_tokens: all tokens of the prompt.
            output_tokens: all tokens of the reply.
            cached_tokens: those of `input_tokens` that the provider had cached.
            written_tokens: those that it has put into its cache.
            written_1h_tokens: those that it has put there for an hour.
        """
        cached = _or(self.cached_input, self.input)
        written = _or(self.cache_write, self.input)
        plain = input_tokens - cached_tokens - written_tokens - written_1h_tokens
        return (
            plain * self.input
            + cached_tokens * cached
            + written_tokens * written
            + written_1h_tokens * _or(self.cache_write_1h, written)
            + output_tokens * self.output
        ) / 1_000_000


def _or(price: float | None, other: float) -> float:
    return other if price is None else price


class Prices:
    """Prices by model name.

    Raises:
        ConfigurationError: a price of the table is wrong.
    """

    def __init__(self, table: Mapping[str, Price | Mapping[str, float]] | None = None) -> None:
        self._known: dict[str, Price | None] = {
            name: _given(name, price) for name, price in (table or {}).items()
        }

    async def prepare(self, model: str) -> None:
        """Look a price up in a thread, so that importing `genai-prices` blocks nobody."""
        if model not in self._known:
            await asyncio.to_thread(self.of, model)

    def of(self, model: str) -> Price | None:
        """Give the price of a model, or None where nobody knows it.

        The first look-up of a name may import `genai-prices`.
        """
        if model not in self._known:
            self._known[model] = _published(model)
        return self._known[model]


def _given(name: str, price: Price | Mapping[str, float]) -> Price:
    try:
        return Price.model_validate(price)
    except ValidationError as error:
        problems = problems_in(error, has_values=False)
        raise ConfigurationError(
            f"prices[{name!r}]={price!r}: {problems}. "
            "A price is USD per million tokens: {'input': 0.5, 'output': 2}."
        ) from None


def _published(model: str) -> Price | None:
    """Look up the list price: what 1,000 tokens of each kind cost, scaled to a million."""
    if find_spec("genai_prices") is None:
        return None
    from genai_prices import Usage, calc_price

    name = model.removeprefix("models/")

    def per_million(thousand_tokens: Usage) -> float:
        return float(calc_price(thousand_tokens, model_ref=name).total_price) * 1_000

    def of_input(**tokens: int) -> float:
        return per_million(Usage(input_tokens=1_000, output_tokens=0, **tokens))

    try:
        return Price(
            input=per_million(Usage(input_tokens=1_000, output_tokens=0)),
            output=per_million(Usage(input_tokens=0, output_tokens=1_000)),
            cached_input=of_input(cache_read_tokens=1_000),
            cache_write=of_input(cache_write_tokens=1_000),
            cache_write_1h=of_input(cache_write_tokens=1_000, cache_write_1h_tokens=1_000),
        )
    except LookupError:
        return None
