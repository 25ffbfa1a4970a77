"""Stand-in for `operator`. What it lacks: in-place forms, `matmul`, `call`, `length_hint`."""

import math

__all__ = [
    *("abs", "add", "and_", "attrgetter", "concat", "contains", "countOf", "delitem", "eq"),
    *("floordiv", "ge", "getitem", "gt", "index", "indexOf", "inv", "invert", "is_", "is_not"),
    *("itemgetter", "le", "lshift", "lt", "methodcaller", "mod", "mul", "ne", "neg", "not_"),
    *("or_", "pos", "pow", "rshift", "setitem", "sub", "truediv", "truth", "xor"),
]


def itemgetter(item, *items):
    if not items:
        return lambda obj: obj[item]
    every = (item, *items)
    return lambda obj: tuple([obj[each] for each in every])


def attrgetter(attr, *attrs):
    for each in (attr, *attrs):
        if not isinstance(each, str):
            raise TypeError("attribute name must be a string")
    if not attrs:
        return lambda obj: _attribute(obj, attr)
    every = (attr, *attrs)
    return lambda obj: tuple([_attribute(obj, each) for each in every])


def _attribute(obj, dotted):
    for name in dotted.split("."):
        obj = getattr(obj, name)
    return obj


def methodcaller(name, /, *args, **kwargs):
    if not isinstance(name, str):
        raise TypeError("method name must be a string")
    if not name.isidentifier():
        return lambda obj: getattr(obj, name)
    # methods of built-in types cannot be had without calling them
    call = eval("lambda obj, args, kwargs: obj." + name + "(*args, **kwargs)")
    return lambda obj: call(obj, args, kwargs)


def lt(a, b):
    return a < b


def le(a, b):
    return a <= b


def eq(a, b):
    return a == b


def ne(a, b):
    return a != b


def ge(a, b):
    return a >= b


def gt(a, b):
    return a > b


def not_(a):
    return not a


def truth(a):
    return bool(a)


def is_(a, b):
    return a is b


def is_not(a, b):
    return a is not b


def abs(a):
    if isinstance(a, float):
        return math.fabs(a)
    return -a if a < 0 else +a


def add(a, b):
    return a + b


def and_(a, b):
    return a & b


def floordiv(a, b):
    return a // b


def index(a):
    if not isinstance(a, int):
        raise TypeError(f"'{type(a).__name__}' object cannot be interpreted as an integer")
    return int(a)


def inv(a):
    return ~a


invert = inv


def lshift(a, b):
    return a << b


def mod(a, b):
    return a % b


def mul(a, b):
    return a * b


def neg(a):
    return -a


def or_(a, b):
    return a | b


def pos(a):
    return +a


def pow(a, b):
    return a**b


def rshift(a, b):
    return a >> b


def sub(a, b):
    return a - b


def truediv(a, b):
    return a / b


def xor(a, b):
    return a ^ b


def concat(a, b):
    return a + b


def contains(a, b):
    return b in a


def countOf(a, b):
    return len([each for each in a if each is b or each == b])


def indexOf(a, b):
    place = 0
    for each in a:
        if each is b or each == b:
            return place
        place += 1
    raise ValueError("sequence.index(x): x not in sequence")


def getitem(a, b):
    return a[b]


def setitem(a, b, c):
    a[b] = c


def delitem(a, b):
    if isinstance(b, slice):
        a[b] = []
    else:
        a.pop(b)
