"""What Monty lacks: a cell hears of all of it at once, before anything of it runs, with the ways around."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from langgraph_rlm.log.python import parsed
from langgraph_rlm.repl import stand_ins
from langgraph_rlm.repl.base import CellError, Finished, SandboxCrashed, Session
from langgraph_rlm.repl.contract.check import Opener, failure, ran, run
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.repl.monty_cells import MAX_PROBLEMS, MODULES, USEFUL_MODULES
from langgraph_rlm.repl.monty_syntax import LACKS, syntax_problems
from langgraph_rlm.repl.ways_around import PLAIN, WAYS

from .models import rlm, root, shown

NOTES_BEFORE = 478
"""Characters of the notes before there were stand-ins for modules."""


@pytest.fixture(scope="module")
def backend() -> Iterator[MontyBackend]:
    made = MontyBackend()
    yield made
    made.close()


@pytest.fixture
def open_session(backend: MontyBackend) -> Iterator[Opener]:
    with Opener(backend) as opener:
        yield opener


def refused(session: Any, code: str) -> CellError:
    found = session.prepare(code)
    assert isinstance(found, CellError), code
    return found


def fed(session: Session, code: str) -> Finished:
    """What the interpreter itself makes of a cell that was not looked at."""
    outcome = session.feed(code)
    assert isinstance(outcome, Finished)
    return outcome


class TestModules:
    def test_the_list_is_what_the_interpreter_has(self, open_session: Opener) -> None:
        session = open_session()
        names = sorted({*sys.stdlib_module_names, "os.path"})
        found = {
            name
            for name in names
            if not name.startswith("_") and run(session, f"import {name}")[0].error is None
        }
        given = {"urllib" if "." in name else name for name in stand_ins.MODULES}
        assert found == (set(MODULES) | given) & found
        assert given <= found
        assert not set(MODULES) & given
        assert set(MODULES) - found <= {"tomllib"}  # of a later Python than the host's
        assert "decimal" in MODULES
        assert "fractions" not in MODULES

    def test_notes_list_the_useful_ones_and_are_hardly_longer(self) -> None:
        for name in USEFUL_MODULES:
            assert name in MontyBackend.notes
        assert "fractions" not in MontyBackend.notes
        assert len(MontyBackend.notes) <= NOTES_BEFORE * 1.1

    def test_no_way_around_is_for_a_module_that_is_there(self) -> None:
        assert not set(WAYS) & (set(MODULES) | set(stand_ins.MODULES)) - {"html"}  # `html.parser`

    @pytest.mark.parametrize(
        ("module", "way"),
        [
            ("numpy", "sum()"),
            ("difflib", "sets of lines"),
            ("requests", "no network"),
            ("concurrent.futures", "llm_query_batched"),
            ("fractions", "decimal"),
            ("urllib.request", "no network"),
            ("html.parser", "`re`"),
            ("zork", PLAIN),
        ],
    )
    def test_each_has_its_way_around(self, open_session: Opener, module: str, way: str) -> None:
        error = refused(open_session(), f"print(1)\nimport {module}")
        assert error.type == "ModuleNotFoundError"
        assert f"line 2: the module {module}. " in error.traceback
        assert way in error.traceback
        assert ", ".join(USEFUL_MODULES) in error.traceback

    def test_a_name_that_a_module_lacks_is_told_without_the_list_of_modules(
        self, open_session: Opener
    ) -> None:
        error = refused(open_session(), "from collections import Counter, OrderedDict")
        assert "OrderedDict of collections. A dict keeps the order" in error.traceback
        assert "Counter of" not in error.traceback
        assert "unicodedata" not in error.traceback

    @pytest.mark.parametrize(
        "code",
        [
            "try:\n    import numpy\nexcept ImportError:\n    numpy = None",
            "try:\n    import numpy\nexcept:\n    numpy = None",
            "try:\n    import numpy\nexcept (ValueError, ModuleNotFoundError):\n    numpy = None",
            "if False:\n    import numpy",
            "from decimal import Decimal\nimport os.path, json as j",
        ],
    )
    def test_code_that_can_do_without_a_module_runs(self, open_session: Opener, code: str) -> None:
        ran(open_session(), code)

    def test_asking_for_modules_binds_nothing_in_the_session(self, open_session: Opener) -> None:
        session = open_session()
        refused(session, "import json, zork")
        assert failure(session, "json").type == "NameError"

    def test_a_cell_with_very_many_imports_is_looked_at_quickly(self, open_session: Opener) -> None:
        session = open_session()
        code = "\n".join(f"import zork_{n}" for n in range(20_000))
        assert "and 180 more" in refused(session, code).traceback

    def test_a_worker_that_dies_while_it_is_asked_is_a_crash(
        self, monkeypatch: pytest.MonkeyPatch, open_session: Opener, backend: MontyBackend
    ) -> None:
        def gone(*_: Any) -> Any:
            raise OSError("no worker")

        session: Any = open_session()
        monkeypatch.setattr(backend, "_started", gone)
        with pytest.raises(SandboxCrashed, match="no worker"):
            session.prepare("import of_this_test")


SYNTAX = [
    ("x = {}\ndel x", "`del`. Set the name to None"),
    ("def f():\n    yield 1", "`yield`. Collect the values in a list"),
    ("def f():\n    yield from []", "`yield`. Collect"),
    ("class A(Exception):\n    pass", "`class A(Exception)`. Raise a built-in exception"),
    ("import enum_\nclass A(enum_.Enum):\n    X = 1", "`class A(enum_.Enum)`"),
    ("class A(object):\n    pass", "Leave the base out"),
    ("class A(metaclass=type):\n    pass", "`class A(metaclass=...)`"),
    (
        "class A:\n    @property\n    def x(self):\n        return 1",
        "`@property`. Write methods without",
    ),
    (
        "class A:\n    @staticmethod\n    def x():\n        return 1",
        "for @staticmethod and @classmethod a function",
    ),
    ("class A:\n    for i in [1]:\n        pass", "code in the body of a class"),
    ("class A:\n    a, b = 1, 2", "an assignment of several names"),
    ("class A:\n    a = (b := 1)", "`:=` in the body"),
    ("async def f():\n    async with x:\n        pass", "`async with`"),
    ("async def f():\n    async for i in x:\n        pass", "`async for`"),
    ("async def f():\n    return [i async for i in x]", "`async for` in a comprehension"),
    ("try:\n    pass\nexcept* ValueError:\n    pass", "`except*`"),
    ("from json import *", "`from ... import *`"),
    ("from . import json", "a relative import"),
]


class TestSyntax:
    @pytest.mark.parametrize(("code", "told"), SYNTAX)
    def test_what_the_parser_refuses_is_found_before_it_with_a_way_around(
        self, open_session: Opener, code: str, told: str
    ) -> None:
        session = open_session()
        assert told in refused(session, code).traceback
        outcome = fed(session, code.replace("import enum_\n", ""))
        assert outcome.error is not None
        assert not outcome.ran
        assert outcome.error.type in ("NotImplementedError", "ImportError", "SyntaxError")

    @pytest.mark.parametrize(
        "code",
        [
            "class A:\n    'doc'\n    x = 1\n    y: int = 2\n    def f(self):\n        z = [w := 1]\n        return w\n    pass\n    ...",
            "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int",
            "def d(f):\n    return f\n@d\ndef g():\n    return 1",
            "class W:\n    def __enter__(self):\n        return 1\n    def __exit__(self, *a):\n        return None\nwith W() as x:\n    pass",
            "match [1]:\n    case [x]:\n        pass",
            "async def f():\n    return 1\nawait f()",
            "def f(*a, b=1, **k):\n    return lambda: (a, b, k)",
            "x = [i for i in range(3) if (y := i)]",
            "try:\n    pass\nfinally:\n    pass",
            "x: int = 1\nassert x\nglobal y",
        ],
    )
    def test_nothing_is_refused_that_runs(self, open_session: Opener, code: str) -> None:
        ran(open_session(), code)

    def test_each_lack_is_known_by_the_words_of_the_interpreter(self, open_session: Opener) -> None:
        session = open_session()
        said = [fed(session, code).error for code, _ in SYNTAX]
        messages = [error.message for error in said if error is not None]
        unknown = [lack.what for lack in LACKS if not any(lack.sign in told for told in messages)]
        assert unknown == ["a `type` statement"]  # not Python, to hosts before 3.12

    def test_what_the_host_cannot_read_gets_its_hint_from_the_interpreter(
        self, open_session: Opener
    ) -> None:
        error = failure(open_session(), "type X = int")
        assert "Leave it out" in error.traceback


def test_one_error_tells_all_and_nothing_runs(open_session: Opener) -> None:
    session = open_session()
    code = "print('ran')\nimport numpy as np, fractions\nx = 1\ndel x\nclass E(ValueError):\n    @property\n    def f(self):\n        yield 1"
    finished, calls = run(session, code)
    assert finished.error is not None
    assert (finished.stdout, calls, finished.ran) == ("", [], False)
    assert finished.error.type == "NotImplementedError"
    told = finished.error.traceback
    for line in (2, 4, 5, 6, 8):
        assert f"- line {line}: " in told
    assert told.index("numpy") < told.index("`del`") < told.index("`@property`")
    assert "hosts" not in told
    assert failure(session, "x").type == "NameError"


def test_many_problems_are_cut_and_a_way_around_is_said_once(open_session: Opener) -> None:
    code = "\n".join(["x = 1", *["del x"] * 30])
    told = refused(open_session(), code).traceback
    assert told.count("Set the name to None") == 1
    assert told.count("- line") == MAX_PROBLEMS
    assert "- and 10 more." in told


def test_a_deep_cell_is_looked_at_without_recursion() -> None:
    tree = parsed("x = " + "(" * 60 + "1" + ")" * 60 + "\n" + "if 1:\n" + " if 1: pass\n" * 2000)
    assert tree is not None
    assert syntax_problems(tree) == []


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("g = (x for x in [1])\nnext(g)", "next(iter(x), default)"),
        ("import re\np = re.compile('a')\np.sub(len, 'a')", "re.finditer"),
        ("@property\ndef f():\n    pass", "Write methods without decorators"),
        ("e = ValueError\nraise e(5)", "write ValueError(str(x))"),
        ("globals()", "SHOW_VARS()"),
        ("callable(3)", "except TypeError"),
        ("input()", "llm_query"),
        ("open('x')", "There are no files"),
        ("import os\nos.listdir('.')", "There are no files"),
        ("sorted([1], key=llm_query)", "comprehension"),
        ("context_9", "context_info()"),
        ("try:\n    import difflib\nexcept ValueError:\n    pass", "sets of lines"),
        ("import json\njson.zork", PLAIN),
        ("import string\nif 1:\n    string.Template", "f-string"),
        ("exec('import string')", "in the cell itself"),
        ("class A:\n    def __len__(self):\n        return 1\nlen(A())", "size()"),
    ],
)
def test_a_hint_fits_the_case(open_session: Opener, code: str, told: str) -> None:
    assert told in failure(open_session(), code).traceback


@pytest.mark.parametrize("sandbox", ["monty", "local"])
@pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")
class TestWhatIsKept:
    KEPT = "had bound before is kept"

    @pytest.mark.parametrize("code", ["y = 2\nprint(y\n", "y = 2\nz = = 3", "y = 2\n  z = 3"])
    def test_a_cell_that_cannot_be_read_did_not_start(self, sandbox: str, code: str) -> None:
        model = root("x = 1", code, "FINAL(x)")
        assert rlm(model, sandbox=sandbox).invoke({"query": "q"})["answer"] == "1"
        assert "The cell did not start; what you " + self.KEPT in shown(model, 2)
        assert "ended there" not in shown(model, 2)

    def test_a_cell_that_raised_has_bound_what_came_before(self, sandbox: str) -> None:
        model = root("x = 1\n1 / 0", "FINAL(x)")
        assert rlm(model, sandbox=sandbox).invoke({"query": "q"})["answer"] == "1"
        assert "The cell ended there; what it " + self.KEPT in shown(model, 1)


def test_a_refused_cell_did_not_start() -> None:
    model = root("x = 1", "y = 2\nimport numpy", "FINAL(x)")
    assert rlm(model).invoke({"query": "q"})["answer"] == "1"
    assert "The cell did not start" in shown(model, 2)
    assert "sum()" in shown(model, 2)
