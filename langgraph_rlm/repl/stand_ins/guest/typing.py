"""Stand-in for names of `typing` that Monty lacks. They stand in annotations, which it skips."""

from typing import Any

__all__ = [
    *("AnyStr", "AsyncIterator", "Awaitable", "Collection", "Container", "Counter"),
    *("DefaultDict", "Deque", "Hashable", "IO", "LiteralString", "Match", "MutableMapping"),
    *("MutableSequence", "NewType", "NotRequired", "OrderedDict", "ParamSpec", "Pattern"),
    *("Required", "Sized", "Text", "TextIO", "TypeAlias", "TypeGuard", "cast", "final"),
    *("assert_never", "overload"),
]

AnyStr = AsyncIterator = Awaitable = Collection = Container = Counter = DefaultDict = Any
Deque = Hashable = IO = LiteralString = Match = MutableMapping = MutableSequence = Any
NotRequired = OrderedDict = ParamSpec = Pattern = Required = Sized = TextIO = Any
TypeAlias = TypeGuard = Any
Text = str


def cast(typ, val):
    return val


def NewType(name, tp):
    return lambda value: value


def final(f):
    return f


def overload(func):
    return func


def assert_never(arg, /):
    raise AssertionError(f"Expected code to be unreachable, but got: {arg!r}")
