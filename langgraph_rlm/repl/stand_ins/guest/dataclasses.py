"""Stand-in for what Monty's `dataclasses` lacks."""

from dataclasses import is_dataclass

__all__ = ["asdict", "astuple", "fields", "replace"]


def _is_class(obj):
    return type(obj) is type(int)


def _names(obj):
    return list(obj.__dataclass_fields__)


def fields(class_or_instance):
    if not is_dataclass(class_or_instance):
        raise TypeError("must be called with a dataclass type or instance")
    found = class_or_instance.__dataclass_fields__
    return tuple([found[name] for name in found])


def asdict(obj, *, dict_factory=dict):
    if not is_dataclass(obj) or _is_class(obj):
        raise TypeError("asdict() should be called on dataclass instances")
    return _inner(obj, lambda found: dict_factory(found))


def astuple(obj, *, tuple_factory=tuple):
    if not is_dataclass(obj) or _is_class(obj):
        raise TypeError("astuple() should be called on dataclass instances")
    return _inner(obj, lambda found: tuple_factory([value for _, value in found]))


def _inner(value, make):
    if is_dataclass(value) and not _is_class(value):
        pairs = [(name, _inner(getattr(value, name), make)) for name in _names(value)]
        return make(pairs)
    if isinstance(value, list):
        return [_inner(item, make) for item in value]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[_inner(item, make) for item in value])
    if isinstance(value, tuple):
        return tuple([_inner(item, make) for item in value])
    if isinstance(value, dict):
        return {_inner(key, make): _inner(value[key], make) for key in value}
    return value


def replace(obj, /, **changes):
    if not is_dataclass(obj) or _is_class(obj):
        raise TypeError("replace() should be called on dataclass instances")
    values = {name: getattr(obj, name) for name in _names(obj)}
    return type(obj)(**{**values, **changes})
