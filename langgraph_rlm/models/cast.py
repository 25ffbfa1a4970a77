"""Cast: the models of a graph by their parts: the one that writes code, the one that answers what
code asks, and those that code picks by name. Each part has options and fallbacks of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from langgraph_rlm.errors import ConfigurationError, shown
from langgraph_rlm.models.resolve import resolve_model
from langgraph_rlm.storage.json_types import is_list

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langgraph_rlm.models.wrapped import Model

ROOT, SUB = "model", "sub_model"
"""The names of two parts. Those of the others are the names that code picks them by."""

Options = Mapping[str, Mapping[str, Any]]
"""By part: what a model's class takes, such as `{"sub_model": {"reasoning_effort": "low"}}`."""

Fallbacks = Mapping[str, "Sequence[Model | str]"]
"""By part: who is asked where its model fails, in this order."""

OF_CLIENT = frozenset(
    {"timeout", "request_timeout", "default_request_timeout", "max_retries", "api_key", "base_url"}
)
"""Fields of which a model makes its client: of one that is made they change nothing any more."""

OF_PROVIDER = frozenset({"api_key", "base_url"})

NAMES = frozenset({"model", "model_name", "model_id"})


@dataclass(frozen=True)
class Cast:
    """The models, ready to be asked."""

    model: "Model"
    sub_model: "Model"
    models: "Mapping[str, Model]"


def cast_of(
    model: "Model | str",
    sub_model: "Model | str | None" = None,
    models: "Mapping[str, Model | str] | None" = None,
    *,
    options: Options | None = None,
    fallbacks: Fallbacks | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Cast:
    """Make the models of a graph.

    Args:
        model: of the part `"model"`.
        sub_model: of the part `"sub_model"`; None is `model`, with its options and fallbacks unless
            the part has some of its own.
        models: the other parts.
        options: a model by name is made with them; one that is a model already is copied with
            them. Fallbacks get none.
        fallbacks: by part.
        settings: for all models by name, see `resolve_model`.

    Raises:
        ConfigurationError: an unknown part or option, or what `resolve_model` raises.
    """
    parts = [ROOT, SUB, *(models or {})]
    makes = _Maker(options or {}, fallbacks or {}, settings or {})
    makes.check(parts)
    root = makes.part(ROOT, model, ROOT)
    sub = root
    if sub_model is not None or makes.has(SUB):
        sub = makes.part(SUB, model if sub_model is None else sub_model, SUB)
    named = {name: makes.part(name, each, "models") for name, each in (models or {}).items()}
    return Cast(root, sub, named)


@dataclass(frozen=True)
class _Maker:
    options: Options
    fallbacks: Fallbacks
    settings: Mapping[str, Any]

    def check(self, parts: Sequence[str]) -> None:
        for name, given in (("model_options", self.options), ("fallbacks", self.fallbacks)):
            for part in given:
                if part not in parts:
                    raise ConfigurationError(
                        f"{name} has {part!r}, which is none of this graph's models: "
                        f"{', '.join(parts)}."
                    )

    def has(self, part: str) -> bool:
        return part in self.options or part in self.fallbacks

    def part(self, part: str, model: "Model | str", argument: str) -> "Model":
        options = self.options.get(part, {})
        made = self._with_options(model, options, part, argument)
        others = _listed(self.fallbacks.get(part, ()))
        if not others:
            return made
        where = f"fallbacks[{part!r}]"
        return made.with_fallbacks(
            [
                resolve_model(each, option=where, settings=self._settings_beside(each, model))
                for each in others
            ]
        )

    def _settings_beside(self, other: Any, model: Any) -> Mapping[str, Any]:
        """Give the settings of a fallback: key and address are those of one provider alone."""
        if _provider(other) == _provider(model):
            return self.settings
        return {name: self.settings[name] for name in self.settings if name not in OF_PROVIDER}

    def _with_options(
        self, model: "Model | str", options: Mapping[str, Any], part: str, argument: str
    ) -> "Model":
        from langgraph_rlm.models.wrapped import first_of, mapped

        if NAMES & options.keys():
            raise ConfigurationError(
                f"model_options[{part!r}] names a model. Give it as the model itself."
            )
        if isinstance(model, str):
            settings = {**self.settings, **options}
            made = resolve_model(model, option=argument, settings=settings)
            check_known(first_of(made), options, part)
            return made
        made = resolve_model(model, option=argument)
        if not options:
            return made
        check_known(first_of(made), options, part)
        _check_changeable(options, part)
        return mapped(made, lambda each: _changed(each, options))


def _listed(given: Any) -> list[Any]:
    """Give fallbacks as a list; a single one may be given by itself."""
    return [*given] if is_list(given) or isinstance(given, tuple) else [given]


def _provider(model: Any) -> str | None:
    return model.partition(":")[0] if isinstance(model, str) else None


def check_known(model: "BaseChatModel", options: Mapping[str, Any], part: str) -> None:
    """Refuse options that the class of a model does not have. Many classes would send them on, and
    fail in the first call.

    Raises:
        ConfigurationError: one is unknown. The message names the nearest that are not.
    """
    known = _fields(model)
    for name in options:
        if name in known:
            continue
        near = get_close_matches(name, known, n=3)
        told = f"Did you mean {' or '.join(near)}?" if near else "See the class's own fields."
        raise ConfigurationError(
            f"model_options[{part!r}]: {type(model).__name__} has no option {name!r}. {told}"
        )


def _check_changeable(options: Mapping[str, Any], part: str) -> None:
    wrong = sorted(OF_CLIENT & options.keys())
    if wrong:
        raise ConfigurationError(
            f"model_options[{part!r}] has {wrong[0]!r}={shown(options[wrong[0]])}, which a model "
            "takes only when it is made: give it there, or give the model by its name."
        )


def _changed(model: "BaseChatModel", options: Mapping[str, Any]) -> "BaseChatModel":
    """Give a copy with options; of a fallback of another class with those that it has."""
    known = _fields(model)
    fields = {known[name]: value for name, value in options.items() if name in known}
    return model.model_copy(update=fields)


def _fields(model: "BaseChatModel") -> dict[str, str]:
    """Give the fields of a model's class, by their names and their aliases."""
    fields = type(model).model_fields
    return {name: name for name in fields} | {
        field.alias: name for name, field in fields.items() if field.alias
    }
