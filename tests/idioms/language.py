"""Idioms of the language itself: by kind and name, a program and what CPython prints."""

IDIOMS: dict[str, dict[str, tuple[str, str]]] = {
    "syntax": {
        "unpack": ("a, *b = [1, 2, 3]\nprint(a, b)", "1 [2, 3]\n"),
        "swap": ("a, b = 1, 2\na, b = b, a\nprint(a, b)", "2 1\n"),
        "walrus": ("if (n := len('abc')) > 2:\n    print(n)", "3\n"),
        "match": (
            "match {'kind': 'a', 'n': [1, 2]}:\n    case {'kind': 'a', 'n': [first, *_]}:\n        print(first)",
            "1\n",
        ),
        "conditional": ("x = 5\nprint('big' if x > 3 else 'small')", "big\n"),
        "chained comparison": ("print(1 < 2 < 3, 1 < 3 < 2)", "True False\n"),
        "del item": ("d = {'a': 1, 'b': 2}\ndel d['a']\nprint(d)", "{'b': 2}\n"),
        "del name": ("x = [1]\ndel x\ntry:\n    x\nexcept NameError:\n    print('gone')", "gone\n"),
        "del slice": ("x = [1, 2, 3, 4]\ndel x[1:3]\nprint(x)", "[1, 4]\n"),
        "for else": (
            "for n in [1, 2]:\n    if n == 3:\n        break\nelse:\n    print('none')",
            "none\n",
        ),
        "while": ("n = 10\nwhile n > 3:\n    n //= 2\nprint(n)", "2\n"),
        "lambda default": ("f = lambda x, y=2: x * y\nprint(f(3))", "6\n"),
        "star arguments": (
            "def f(*a, **k):\n    return a, k\nprint(f(1, *[2], b=3, **{'c': 4}))",
            "((1, 2), {'b': 3, 'c': 4})\n",
        ),
        "keyword only": ("def f(a, /, b, *, c=1):\n    return a + b + c\nprint(f(1, b=2))", "4\n"),
        "nonlocal": (
            "def counter():\n    n = 0\n    def step():\n        nonlocal n\n        n += 1\n        return n\n    return step\nc = counter()\nc()\nprint(c())",
            "2\n",
        ),
        "global": ("n = 0\ndef f():\n    global n\n    n += 1\nf()\nprint(n)", "1\n"),
        "decorator": (
            "def twice(f):\n    def g(*a):\n        return f(*a) * 2\n    return g\n@twice\ndef f(x):\n    return x\nprint(f(4))",
            "8\n",
        ),
        "globals": ("x = 3\nprint(globals()['x'], 'x' in globals())", "3 True\n"),
        "dir": ("print('append' in dir([]))", "True\n"),
        "eval": ("print(eval('1 + 2', {'a': 1}))", "3\n"),
        "assert": (
            "try:\n    assert False, 'no'\nexcept AssertionError as error:\n    print(str(error).split()[0])",
            "no\n",
        ),
        "callable": ("print(callable(len), callable(3))", "True False\n"),
        "bound method": ("f = 'a,b'.split\nprint(f(','))", "['a', 'b']\n"),
        "method of type": ("print(list(map(str.upper, ['a', 'b'])))", "['A', 'B']\n"),
        "complex number": ("print((1 + 2j) * 2)", "(2+4j)\n"),
        "bytearray": ("b = bytearray(b'ab')\nb[0] = 99\nprint(bytes(b))", "b'cb'\n"),
        "slice assignment": (
            "x = [1, 2, 3, 4]\nx[1:3] = ['b']\nprint(x[::-1], x[slice(0, 2)])",
            "[4, 'b', 1] [1, 'b']\n",
        ),
    },
    "classes": {
        "init and method": (
            "class P:\n    def __init__(self, x):\n        self.x = x\n    def twice(self):\n        return self.x * 2\nprint(P(2).twice())",
            "4\n",
        ),
        "repr": (
            "class P:\n    def __repr__(self):\n        return 'P()'\nprint([P()])",
            "[P()]\n",
        ),
        "inheritance": (
            "class A:\n    def f(self):\n        return 'A'\nclass B(A):\n    def f(self):\n        return super().f() + 'B'\nprint(B().f())",
            "AB\n",
        ),
        "property": (
            "class P:\n    def __init__(self):\n        self._x = 1\n    @property\n    def x(self):\n        return self._x + 1\nprint(P().x)",
            "2\n",
        ),
        "classmethod": (
            "class P:\n    @classmethod\n    def make(cls):\n        return cls()\nprint(type(P.make()).__name__)",
            "P\n",
        ),
        "staticmethod": (
            "class P:\n    @staticmethod\n    def f(x):\n        return x + 1\nprint(P.f(1))",
            "2\n",
        ),
        "class attribute": ("class P:\n    limit = 3\nprint(P.limit, P().limit)", "3 3\n"),
        "len and getitem": (
            "class P:\n    def __len__(self):\n        return 3\n    def __getitem__(self, n):\n        return n\nprint(len(P()), P()[5])",
            "3 5\n",
        ),
        "lt for sorting": (
            "class P:\n    def __init__(self, x):\n        self.x = x\n    def __lt__(self, other):\n        return self.x < other.x\nprint([p.x for p in sorted([P(2), P(1)])])",
            "[1, 2]\n",
        ),
        "eq and hash": (
            "class P:\n    def __init__(self, x):\n        self.x = x\n    def __eq__(self, other):\n        return self.x == other.x\n    def __hash__(self):\n        return hash(self.x)\nprint(P(1) == P(1), len({P(1), P(1)}))",
            "True 1\n",
        ),
        "call": (
            "class Add:\n    def __init__(self, n):\n        self.n = n\n    def __call__(self, x):\n        return x + self.n\nprint(Add(2)(3))",
            "5\n",
        ),
        "iterator": (
            "class Up:\n    def __init__(self, n):\n        self.n, self.at = n, 0\n    def __iter__(self):\n        return self\n    def __next__(self):\n        if self.at >= self.n:\n            raise StopIteration\n        self.at += 1\n        return self.at\nprint(list(Up(3)))",
            "[1, 2, 3]\n",
        ),
        "getattr": (
            "class P:\n    x = 1\np = P()\nsetattr(p, 'y', 2)\nprint(getattr(p, 'y'), getattr(p, 'z', 3), hasattr(p, 'x'))",
            "2 3 True\n",
        ),
        "vars": (
            "class P:\n    def __init__(self):\n        self.a, self.b = 1, 2\nprint(vars(P()), P().__dict__)",
            "{'a': 1, 'b': 2} {'a': 1, 'b': 2}\n",
        ),
        "enum": (
            "from enum import Enum\nclass Color(Enum):\n    RED = 1\nprint(Color.RED.name, Color(1).value)",
            "RED 1\n",
        ),
        "abstract": (
            "from abc import ABC, abstractmethod\nclass A(ABC):\n    @abstractmethod\n    def f(self): ...\nclass B(A):\n    def f(self):\n        return 1\nprint(B().f())",
            "1\n",
        ),
        "isinstance of own": (
            "class P:\n    pass\nprint(isinstance(P(), P), isinstance(1, (int, str)))",
            "True True\n",
        ),
    },
    "generators": {
        "yield": (
            "def up(n):\n    for i in range(n):\n        yield i\nprint(list(up(3)))",
            "[0, 1, 2]\n",
        ),
        "yield from": (
            "def flat(x):\n    for each in x:\n        if isinstance(each, list):\n            yield from flat(each)\n        else:\n            yield each\nprint(list(flat([1, [2, [3]]])))",
            "[1, 2, 3]\n",
        ),
        "next of generator": ("print(next(x for x in [1, 2, 3] if x > 1))", "2\n"),
        "next with default": ("print(next((x for x in [] if x), None))", "None\n"),
        "sum of generator": (
            "print(sum(x * x for x in range(4)), max(len(w) for w in ['a', 'bb']))",
            "14 2\n",
        ),
        "any and all": (
            "print(any(x > 2 for x in [1, 3]), all(x > 2 for x in [1, 3]))",
            "True False\n",
        ),
        "batches": (
            "def batches(x, n):\n    return [x[i : i + n] for i in range(0, len(x), n)]\nprint(batches([1, 2, 3, 4, 5], 2))",
            "[[1, 2], [3, 4], [5]]\n",
        ),
        "kept generator": ("g = (x for x in [1, 2])\nprint(next(g), list(g))", "1 [2]\n"),
    },
    "context managers": {
        "own class": (
            "class T:\n    def __enter__(self):\n        return 'in'\n    def __exit__(self, *error):\n        print('out')\nwith T() as t:\n    print(t)",
            "in\nout\n",
        ),
        "contextmanager": (
            "from contextlib import contextmanager\n@contextmanager\ndef t():\n    print('in')\n    yield 1\n    print('out')\nwith t() as x:\n    print(x)",
            "in\n1\nout\n",
        ),
        "suppress": (
            "from contextlib import suppress\nwith suppress(KeyError):\n    {}['a']\nprint('on')",
            "on\n",
        ),
        "redirect": (
            "import io\nfrom contextlib import redirect_stdout\nout = io.StringIO()\nwith redirect_stdout(out):\n    print('a')\nprint(repr(out.getvalue()))",
            "'a\\n'\n",
        ),
    },
    "strings": {
        "f-string formats": (
            "print(f'{3.14159:.2f} {42:05d} {\"a\":>4} {1234567:,} {0.5:.0%}')",
            "3.14 00042    a 1,234,567 50%\n",
        ),
        "f-string debug": ("x = 3\nprint(f'{x=} {x!r}')", "x=3 3\n"),
        "join and split": ("print('-'.join('a b  c'.split()))", "a-b-c\n"),
        "splitlines": ("print('a\\nb\\n'.splitlines())", "['a', 'b']\n"),
        "translate": ("print('a.b,c'.translate(str.maketrans('', '', '.,')))", "abc\n"),
        "partition": (
            "print('key: value'.partition(': ')[2], 'a.b.c'.rsplit('.', 1))",
            "value ['a.b', 'c']\n",
        ),
        "format map": (
            "print('{a} {b:>3}'.format(a=1, b='x'), '%s is %d' % ('a', 2))",
            "1   x a is 2\n",
        ),
        "case": (
            "print('hello world'.title(), 'ABC'.lower(), 'a'.upper(), 'ab'.capitalize())",
            "Hello World abc A Ab\n",
        ),
        "strip": (
            "print('  a '.strip(), 'xxa'.lstrip('x'), 'file.txt'.removesuffix('.txt'))",
            "a a file\n",
        ),
        "string constants": (
            "import string\nprint(string.ascii_lowercase[:3], string.punctuation[:3])",
            'abc !"#\n',
        ),
        "textwrap": (
            "import textwrap\nprint(textwrap.shorten('one two three four', width=12, placeholder='...'))\nprint(textwrap.dedent('  a\\n  b'))",
            "one two...\na\nb\n",
        ),
        "unicode": (
            "import unicodedata\nprint(unicodedata.normalize('NFKD', 'é')[0], 'naïve'.encode())",
            "e b'na\\xc3\\xafve'\n",
        ),
        "unescape": ("import html\nprint(html.unescape('a &amp; b &#39;'))", "a & b '\n"),
        "url": (
            "from urllib.parse import urlparse, parse_qs\nu = urlparse('https://a.com/x?q=1&q=2')\nprint(u.netloc, parse_qs(u.query))",
            "a.com {'q': ['1', '2']}\n",
        ),
    },
    "sorting": {
        "key": (
            "print(sorted(['bb', 'a'], key=len), sorted([3, 1], reverse=True))",
            "['a', 'bb'] [3, 1]\n",
        ),
        "two keys": (
            "print(sorted([('a', 2), ('b', 2), ('c', 1)], key=lambda x: (-x[1], x[0])))",
            "[('a', 2), ('b', 2), ('c', 1)]\n",
        ),
        "by value": (
            "d = {'a': 2, 'b': 1}\nprint(sorted(d.items(), key=lambda kv: kv[1]), max(d, key=d.get))",
            "[('b', 1), ('a', 2)] a\n",
        ),
        "in place": (
            "x = [3, 1]\nx.sort(key=lambda v: -v)\nprint(x, min(x), list(reversed(x)))",
            "[3, 1] 1 [1, 3]\n",
        ),
    },
    "comprehensions": {
        "list": ("print([x * 2 for x in range(4) if x % 2])", "[2, 6]\n"),
        "nested": ("print([y for x in [[1], [2, 3]] for y in x])", "[1, 2, 3]\n"),
        "dict and set": (
            "print({k: v for k, v in zip('ab', [1, 2])}, {x % 2 for x in [1, 3]})",
            "{'a': 1, 'b': 2} {1}\n",
        ),
        "transpose": ("print([list(r) for r in zip(*[[1, 2], [3, 4]])])", "[[1, 3], [2, 4]]\n"),
    },
    "exceptions": {
        "own exception": (
            "class NotFound(Exception):\n    pass\ntry:\n    raise NotFound('x')\nexcept NotFound as error:\n    print(error)",
            "x\n",
        ),
        "finally and else": (
            "try:\n    x = 1\nexcept ValueError:\n    pass\nelse:\n    print('else')\nfinally:\n    print('finally')",
            "else\nfinally\n",
        ),
        "raise from": (
            "try:\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n        raise ValueError('bad') from error\nexcept ValueError as error:\n    print(error, type(error.__cause__).__name__)",
            "bad ZeroDivisionError\n",
        ),
        "several types": (
            "try:\n    int('a')\nexcept (TypeError, ValueError) as error:\n    print(type(error).__name__, error)",
            "ValueError invalid literal for int() with base 10: 'a'\n",
        ),
        "args": (
            "try:\n    raise ValueError('a', 1)\nexcept ValueError as error:\n    print(error.args)",
            "('a', 1)\n",
        ),
        "traceback": (
            "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    print(traceback.format_exc().splitlines()[-1])",
            "ZeroDivisionError: division by zero\n",
        ),
        "groups": (
            "try:\n    raise ExceptionGroup('g', [ValueError(1)])\nexcept* ValueError as group:\n    print(len(group.exceptions))",
            "1\n",
        ),
    },
    "typing and dataclasses": {
        "hints": (
            "from typing import Dict, List, Optional\ndef f(x: Optional[List[int]] = None) -> Dict[str, int]:\n    return {'n': len(x or [])}\nprint(f([1]))",
            "{'n': 1}\n",
        ),
        "newer hints": (
            "def f(x: list[int] | None, y: tuple[int, ...] = ()) -> dict[str, int]:\n    return {'n': len(x or [])}\nprint(f([1]))",
            "{'n': 1}\n",
        ),
        "more of typing": (
            "from typing import Callable, Iterable, Pattern, cast\ndef f(x: Iterable[str], g: Callable[[str], int]) -> int:\n    return cast(int, sum(g(each) for each in x))\nprint(f(['a'], len))",
            "1\n",
        ),
        "alias": (
            "from typing import List, Tuple\nPair = Tuple[str, int]\ndef f(x: List[Pair]) -> int:\n    return len(x)\nprint(f([('a', 1)]))",
            "1\n",
        ),
        "TypedDict": (
            "from typing import TypedDict\nclass P(TypedDict):\n    x: int\nprint(P(x=1))",
            "{'x': 1}\n",
        ),
        "NamedTuple": (
            "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    y: int = 2\nprint(P(1))",
            "P(x=1, y=2)\n",
        ),
        "dataclass": (
            "from dataclasses import dataclass, field\n@dataclass\nclass P:\n    x: int\n    tags: list = field(default_factory=list)\nprint(P(1), P(1) == P(1))",
            "P(x=1, tags=[]) True\n",
        ),
        "asdict": (
            "from dataclasses import asdict, dataclass\n@dataclass\nclass P:\n    x: int\nprint(asdict(P(1)))",
            "{'x': 1}\n",
        ),
        "frozen and replace": (
            "from dataclasses import dataclass, replace\n@dataclass(frozen=True)\nclass P:\n    x: int\n    y: int = 2\nprint(replace(P(1), x=5))",
            "P(x=5, y=2)\n",
        ),
        "dataclass with method": (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    def twice(self) -> int:\n        return self.x * 2\nprint(P(2).twice())",
            "4\n",
        ),
    },
}
