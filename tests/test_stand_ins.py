"""Stand-ins for modules that Monty lacks: how code gets them, what is refused, and what old logs had."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import fork
from langgraph_rlm.history.replay_run import replay_run
from langgraph_rlm.history.saved_run import load_run, save_run
from langgraph_rlm.repl import stand_ins
from langgraph_rlm.repl.base import CellError, Session
from langgraph_rlm.repl.contract.check import Opener, run
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.testing import cell

from .models import rlm, root, thread
from .twins import in_cpython, same

SECOND_RULES = Path(__file__).parent / "second_rules"
OUTCOMES_BEFORE = ["ok", "error", "ok", *["error"] * 5, "ok", "ok"]


@pytest.fixture(scope="module")
def backend() -> Iterator[MontyBackend]:
    made = MontyBackend()
    yield made
    made.close()


@pytest.fixture(scope="module")
def session(backend: MontyBackend) -> Iterator[Session]:
    with Opener(backend) as opener:
        yield opener()


# What there is


@pytest.mark.parametrize("module", [*stand_ins.MODULES, *stand_ins.PARTS])
def test_all_that_a_stand_in_has_is_there_and_is_python_s(session: Session, module: str) -> None:
    names = sorted(stand_ins.names_of(module))
    source = "\n".join(f"from {module} import {name} as found_{n}" for n, name in enumerate(names))
    assert run(session, source)[0].error is None
    assert "Error" not in in_cpython(source)


@pytest.mark.parametrize(
    "module", ["calendar", "heapq", "html", "operator", "statistics", "string", "textwrap"]
)
def test_what_a_stand_in_lacks_is_refused_by_name(session: Any, module: str) -> None:
    for code in (f"from {module} import zork", f"import {module} as m\nm.zork"):
        refused = session.prepare(code)
        assert isinstance(refused, CellError)
        assert f"zork of {module}" in refused.traceback
        assert "The modules that it has" not in refused.traceback


class TestImports:
    @pytest.mark.parametrize(
        "code",
        [
            "import statistics\nprint(statistics.mean([1, 2]))",
            "import statistics as s, json, heapq as h\nprint(s.mean([1, 2]), h.nsmallest(1, [2, 1]), json.dumps(1))",
            "from statistics import (\n    mean,  # one\n    median as m,\n); print(mean([1, 2]), m([3]))",
            "import urllib.parse\nprint(urllib.parse.quote('a b'))",
            "import urllib.parse as p, string\nprint(p.quote('a b'), string.digits)",
            "from urllib import parse\nprint(parse.quote('a b'))",
            "from urllib import parse as p\nprint(p.quote('a b'))",
            "from urllib.parse import quote as q, unquote\nprint(q('a b'), unquote('%20'))",
            "from functools import wraps, reduce\nprint(reduce(lambda a, b: a + b, [1, 2]))",
            "def f():\n    import heapq\n    return heapq.nlargest(1, [1, 2])\nprint(f())",
            "try:\n    import string\nexcept ImportError:\n    string = None\nprint(string.digits)",
            "if True: import string; print(string.digits)",
            "import string, \\\n    heapq\nprint(string.digits, heapq.nsmallest(1, [1]))",
            "é = 1; import string; print(é, string.digits)",
            "import datetime\nprint(datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), datetime.MINYEAR)",
            "import dataclasses as d\n@d.dataclass\nclass P:\n    x: int\n    y: list\np = P(1, [P(2, [])])\nprint(d.asdict(p), d.astuple(p), d.replace(p, x=3), [f.name for f in d.fields(P)])",
            "from typing import Pattern, cast, NewType, List\nx: Pattern = None\nprint(cast(int, 3), NewType('N', int)(4))",
            "print(next(x for x in [1, 2]), next((x for x in [3]), 9), next((x for x in []), None))",
            "import io\nout = io.StringIO()\nprint('a', 1, sep='-', end='!', file=out)\nprint(repr(out.getvalue()))",
            "import operator\nprint(sorted([(1, 2), (0, 3)], key=operator.itemgetter(1, 0)), operator.methodcaller('split', ',')('a,b'))",
            "import re\np = re.compile('(a)')\nprint(p.sub(lambda m: m[1] * 2, 'aba'), p.subn(lambda m: 'x', 'aba', count=1))",
        ],
    )
    def test_every_form_works_as_in_cpython(self, session: Session, code: str) -> None:
        assert in_cpython(code) not in ("", "ValueError")
        same(session, code)

    def test_names_of_earlier_cells_are_known_until_they_are_something_else(
        self, backend: MontyBackend
    ) -> None:
        with Opener(backend) as opener:
            session = opener()
            run(session, "import functools, re, string as s")
            same_line = "print(re.sub('a', lambda m: 'b', 'a'))"
            assert run(session, same_line)[0].stdout == "b\n"
            assert run(session, "s.Template")[0].ran is False
            run(
                session, "class Own:\n    def sub(self, a, b, c):\n        return 'own'\nre = Own()"
            )
            assert run(session, same_line)[0].stdout == "own\n"

    def test_tracebacks_show_lines_as_they_were_written(self, session: Session) -> None:
        error = run(session, "import statistics; x = 1 / 0")[0].error
        assert error is not None
        assert "import statistics; x = 1 / 0" in error.traceback
        assert stand_ins.PREFIX not in error.traceback

    def test_a_host_function_is_called_by_a_replacement(self, session: Session) -> None:
        code = "import re\nprint(re.sub('[a-z]', lambda m: llm_query(m[0]), 'a-b'))"
        finished, calls = run(session, code, "X", "Y")
        assert finished.stdout == "X-Y\n"
        assert [call.args for call in calls] == [("a",), ("b",)]

    def test_a_session_that_names_none_has_none(self, backend: MontyBackend) -> None:
        with Opener(backend) as opener:
            session: Any = opener()
            run(session, "import json, re, functools\nprint(re.sub('a', 'b', 'a'))")
            assert session._code == ["import json, re, functools\nprint(re.sub('a', 'b', 'a'))"]

    def test_code_does_to_a_stand_in_what_it_does_to_itself(self, backend: MontyBackend) -> None:
        with Opener(backend) as opener:
            one, other = opener(), opener()
            run(one, "import statistics\nstatistics.mean = lambda x: 'mine'")
            assert run(one, "print(statistics.mean([1]))")[0].stdout == "mine\n"
            code = "import statistics\nprint(statistics.mean([1]))"
            assert run(other, code)[0].stdout == "1\n"


# Old logs


def test_a_cell_of_the_rules_2_has_no_stand_ins(backend: MontyBackend) -> None:
    with Opener(backend) as opener:
        session: Any = opener()
        refused = session.prepare("import statistics", 2)
        assert isinstance(refused, CellError)
        assert refused.message == "the module statistics in line 1"
        code = "try:\n    import string\nexcept ImportError:\n    string = None"
        assert session.prepare(code, 2) == code
        assert session.prepare("next(x for x in [1])", 2) == "next(x for x in [1])"


def test_a_run_of_before_there_were_stand_ins_does_what_it_did() -> None:
    """`tests/second_rules/monty.json` is of the rules 2: its cells failed for lack of them."""
    path = SECOND_RULES / "monty.json"
    log = load_run(path)["root"]["log"]
    assert {log[place]["rules"] for place in log if place.isdigit()} == {2}
    assert [log[f"{n}.0"]["outcome"] for n in range(10)] == OUTCOMES_BEFORE
    assert replay_run(path).cells == 10


def test_turns_after_those_of_the_rules_2_have_stand_ins(backend: MontyBackend) -> None:
    with Opener(backend) as opener:
        session: Any = opener()
        assert isinstance(session.prepare("import string", 2), CellError)
        assert run(session, "import string\nprint(string.digits)")[0].stdout == "0123456789\n"


# A log, in any interpreter

CODES = [
    "import statistics as s, io\nout = io.StringIO()\nprint('a', file=out)",
    "def f(data):\n    import heapq\n    return heapq.nlargest(1, data)[0]\nstring = llm_query('a')",
    "import re, random\nprint(re.sub('[ab]', lambda m: llm_query(m[0]), 'a-b'), random.random())",
    "print('b', file=out)\ns.mean = lambda data: 'mine'",
    "s.zork",
    "import statistics\nFINAL([out.getvalue(), f([1, 3]), statistics.mean([1])])",
]


def play(max_idle: int = 32) -> tuple[Any, dict[str, Any]]:
    graph = rlm(root(*CODES), checkpointer=InMemorySaver())
    graph.rlm.sessions.max_idle = max_idle
    return graph, graph.invoke({"query": "q"}, thread())


def test_live_and_cold_and_a_fork_are_the_same(tmp_path: Path) -> None:
    graph, live = play()
    assert live["answer"] == '["a\\nb\\n",3,"mine"]'
    assert play(max_idle=0)[1]["answer"] == live["answer"]
    config: Any = thread()
    save_run(graph, config, tmp_path / "run.json")
    assert replay_run(tmp_path / "run.json").cells == len(CODES)
    forked = fork(
        graph, config, "4", cell("print('c', file=out)\nFINAL(out.getvalue() + s.mean(0))")
    )
    assert graph.invoke(None, forked)["answer"] == "a\nb\nc\nmine"
