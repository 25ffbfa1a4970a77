"""What every REPL backend promises about code and its calls. Where one legitimately differs, the test says why."""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import pytest

from langgraph_rlm.repl.base import (
    Backend,
    Finished,
    HostCall,
    Raised,
    RaisedType,
    Returned,
    SandboxCrashed,
)

from . import MEGABYTE, Open, failed, ran, rss, run, suspended

pytestmark = pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")


class TestState:
    def test_variables_functions_and_imports_persist_between_cells(
        self, open_session: Open
    ) -> None:
        session = open_session()
        ran(session, "import math\nx = 3\ndef double(n):\n    return 2 * n")
        assert ran(session, "double(x) + math.floor(1.5)").value == 7

    def test_a_function_sees_a_global_that_was_redefined(self, open_session: Open) -> None:
        session = open_session()
        ran(
            session,
            "rate = 1\ndef price():\n    return rate * 10\ndef total():\n    return price()",
        )
        assert ran(session, "rate = 2\ntotal()").value == 20
        assert ran(session, "def price():\n    return 5\ntotal()").value == 5

    def test_a_cell_that_raises_keeps_what_it_had_bound(self, open_session: Open) -> None:
        session = open_session()
        assert failed(session, "x = 1\nitems = [x]\n1 / 0\ny = 2") == "ZeroDivisionError"
        assert ran(session, "[x, items]").value == [1, [1]]
        assert failed(session, "y") == "NameError"

    def test_sessions_share_nothing(self, open_session: Open) -> None:
        first, second = open_session(), open_session()
        ran(first, "secret = 42")
        assert failed(second, "secret") == "NameError"

    @pytest.mark.parametrize(
        ("code", "value"),
        [
            ("1 + 1", 2),
            ("x = 5\nx", 5),
            ("x = 5", None),
            ("None", None),
            ("'a'\n# end", "a"),
            ("", None),
            ("if True:\n    5", None),
        ],
    )
    def test_the_value_of_a_cell_is_that_of_its_last_line(
        self, open_session: Open, code: str, value: Any
    ) -> None:
        assert ran(open_session(), code).value == value


class TestHostCalls:
    @pytest.mark.parametrize(
        "code",
        [
            "def ask(p):\n    return llm_query(p)\ndef outer():\n    return ask('a')\nouter()",
            "[llm_query(p) for p in ['a']][0]",
            "{p: llm_query(p) for p in ['a']}['a']",
            "f = llm_query\nf('a')",
            "(lambda: llm_query('a'))()",
            "class Asker:\n    def ask(self):\n        return llm_query('a')\nAsker().ask()",
            "for _ in range(1):\n    reply = llm_query('a')\nreply",
            "f'{llm_query(\"a\")}'",
        ],
        ids=[
            "nested function",
            "comprehension",
            "dict comprehension",
            "another name",
            "lambda",
            "method",
            "loop",
            "f-string",
        ],
    )
    def test_a_call_is_handed_over_wherever_it_is_written(
        self, open_session: Open, code: str
    ) -> None:
        finished, calls = run(open_session(), code, "reply")
        assert (finished.value, calls) == ("reply", [HostCall("llm_query", ("a",), {})])

    def test_arguments_arrive_as_they_were_written(self, open_session: Open) -> None:
        _, calls = run(
            open_session(), "tool(1, *[2.5, None], flag=True, **{'rows': [{'a': 'é'}]})", None
        )
        assert calls == [HostCall("tool", (1, 2.5, None), {"flag": True, "rows": [{"a": "é"}]})]

    def test_calls_come_in_the_order_of_the_code_and_answers_go_to_their_call(
        self, open_session: Open
    ) -> None:
        finished, calls = run(
            open_session(),
            "got = [(p, llm_query(p)) for p in 'abc']\ngot.append(tool())\ngot",
            "A",
            "B",
            "C",
            {"n": [1]},
        )
        assert [call.function for call in calls] == ["llm_query"] * 3 + ["tool"]
        assert json.loads(json.dumps(finished.value)) == [
            ["a", "A"],
            ["b", "B"],
            ["c", "C"],
            {"n": [1]},
        ]

    def test_thousands_of_calls_are_no_limit(self, open_session: Open) -> None:
        assert ran(
            open_session(), "sum([tool(n) for n in range(2000)])", *range(2000)
        ).value == sum(range(2000))

    @pytest.mark.parametrize("kind", get_args(RaisedType))
    def test_a_failed_call_is_caught_by_the_name_of_its_exception(
        self, open_session: Open, kind: RaisedType
    ) -> None:
        session = open_session()
        code = f"try:\n    llm_query('a')\nexcept {kind} as error:\n    seen = str(error)\nseen"
        assert ran(session, code, Raised(kind, "no reply")).value == "no reply"
        finished, _ = run(session, "llm_query('a')", Raised(kind, "no reply"))
        assert finished.error is not None
        assert (finished.error.type, finished.error.message) == (kind, "no reply")
        assert ran(session, "seen").value == "no reply"

    def test_code_can_neither_see_nor_hide_a_pause(self, open_session: Open) -> None:
        session = open_session()
        code = (
            "log = []\ntry:\n    log.append(llm_query('a'))\nexcept BaseException as error:\n    log.append('saw ' + str(error))\n"
            "finally:\n    log.append('end')\nlog"
        )
        assert suspended(session.feed(code)).args == ("a",)
        time.sleep(0.05)
        assert session.resume(Returned("reply")) == Finished("", ["reply", "end"])

    def test_an_unknown_function_is_a_name_error(self, open_session: Open) -> None:
        """Monty asks the host for it as for any other: the backend has to know its own."""
        session = open_session()
        assert failed(session, "not_there('a')") == "NameError"
        assert (
            ran(
                session, "try:\n    not_there('a')\nexcept NameError:\n    caught = True\ncaught"
            ).value
            is True
        )

    def test_a_function_that_code_rebound_is_restored(self, open_session: Open) -> None:
        session = open_session()
        ran(session, "llm_query = 5")
        assert ran(session, "llm_query").value == 5
        assert suspended(
            session.feed("llm_query('a')", restore=frozenset({"llm_query"}))
        ) == HostCall("llm_query", ("a",), {})

    def test_values_of_unusual_type_arrive_as_something_plain(self, open_session: Open) -> None:
        code = (
            "class Own:\n    pass\n"
            "tool({3, 1, 2}, (1, 2), lambda: 1, Own(), Own, b'ab', float('nan'), {1: {2}}, 10**5000, range(2), ValueError('x'), print)"
        )
        finished, (call,) = run(open_session(), code, "ok")
        assert finished.value == "ok"
        assert json.dumps(call.args)
        assert call.args[:2] == ([1, 2, 3], [1, 2])
        assert call.args[6] != call.args[6], "nan stays nan"
        assert call.args[7] == {"1": [2]}
        assert all(isinstance(arg, str) for arg in call.args[8:])

    def test_a_value_that_is_too_deep_or_holds_itself_still_arrives(
        self, open_session: Open
    ) -> None:
        session = open_session()
        _, (deep, cyclic) = run(
            session,
            "x = []\nfor _ in range(5000):\n    x = [x]\ntool(x)\nx = []\nx.append(x)\ntool(x)",
            1,
            2,
        )
        assert json.dumps([deep.args, cyclic.args])
        assert json.dumps(ran(session, "x").value)


class TestLazyValues:
    def test_a_value_is_asked_for_once_and_only_when_read(self, open_session: Open) -> None:
        asked: list[str] = []
        values: Mapping[str, Callable[[], Any]] = {
            "context": lambda: asked.append("context") or ["a", {"b": 1}],
            "context_0": lambda: asked.append("context_0") or "text",
        }
        session = open_session(values=values)
        ran(session, "def first():\n    return context[0]\nif False:\n    context_0")
        assert asked == []
        assert ran(session, "first() + context[0]").value == "aa"
        assert ran(session, "context").value == ["a", {"b": 1}]
        assert asked == ["context"]

    def test_a_value_may_come_with_a_later_cell(self, open_session: Open) -> None:
        """The contexts of a run are known when its first cell is fed, those of a second question later still."""
        values: dict[str, Callable[[], Any]] = {}
        session = open_session(values=values)
        assert ran(session, "1").value == 1
        values["context"] = lambda: "late"
        assert ran(session, "context").value == "late"

    def test_an_assignment_hides_a_value_until_it_is_restored(self, open_session: Open) -> None:
        session = open_session()
        assert ran(session, "context = 'mine'\ncontext").value == "mine"
        finished = session.feed("context", restore=frozenset({"context"}))
        assert finished == Finished("", "the context")

    def test_a_large_value_passes_quickly(self, open_session: Open) -> None:
        text = "é234567890" * (10 * MEGABYTE)
        session = open_session(values={"context": lambda: text}, max_heap_bytes=2048 * MEGABYTE)
        started = time.monotonic()
        assert ran(session, "[len(context), context[:2], context[-1]]").value == [
            100 * MEGABYTE,
            "é2",
            "0",
        ]
        assert time.monotonic() - started < 10

    def test_a_value_that_the_host_cannot_give_is_the_hosts_error(self, open_session: Open) -> None:
        def missing() -> str:
            raise KeyError("the blob is missing")

        session = open_session(values={"context": missing})
        with pytest.raises(KeyError, match="the blob is missing"):
            session.feed("try:\n    context\nexcept BaseException:\n    pass")
        with pytest.raises(SandboxCrashed):
            session.feed("1")


class TestOutput:
    def test_output_before_and_after_a_pause_is_the_cells(self, open_session: Open) -> None:
        session = open_session()
        assert (
            ran(session, "print('a')\nprint(llm_query('?'), end='')\nprint('!')", "b").stdout
            == "a\nb!\n"
        )
        assert ran(session, "print('next')").stdout == "next\n"

    def test_output_comes_with_an_error(self, open_session: Open) -> None:
        finished, _ = run(open_session(), "print('before')\n1 / 0")
        assert finished.stdout == "before\n"
        assert finished.error is not None

    def test_output_of_parallel_sessions_is_never_mixed(self, open_session: Open) -> None:
        def prints(name: str) -> bool:
            code = f"for n in range(50):\n    print('{name}', llm_query(n) if n % 10 == 0 else n)"
            session = open_session()
            return all(
                ran(session, code, *"r" * 5).stdout.split()[::2] == [name] * 50 for _ in range(5)
            )

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(prints, "abcd"))

    def test_printing_too_much_is_a_memory_error_with_what_fitted(self, open_session: Open) -> None:
        session = open_session(max_stdout_chars=1000)
        finished, calls = run(
            session, "x = 1\nfor _ in range(100):\n    print('é' * 100)\nllm_query('never asked')"
        )
        assert finished.error is not None
        assert (finished.error.type, len(finished.stdout), calls) == ("MemoryError", 1000, [])
        assert ran(session, "print(x)").stdout == "1\n"

    def test_endless_output_fills_neither_host_nor_disk(
        self, open_session: Open, backend: Backend
    ) -> None:
        """Monty's worker hears of the limit when the cell ends or calls: one that prints on is ended."""
        session, before = open_session(), rss()
        if backend.name == "monty":
            with pytest.raises(SandboxCrashed):
                session.feed("while True:\n    print('x' * 1000)")
        else:
            assert failed(session, "while True:\n    print('x' * 1000)") == "MemoryError"
        assert rss() - before < 50 * MEGABYTE


class TestErrors:
    def test_a_traceback_names_the_cells_lines_and_no_path_of_the_host(
        self, open_session: Open
    ) -> None:
        session = open_session()
        ran(session, "def divide(n):\n    return 1 / n")
        finished, _ = run(session, "import json\ndivide(0)")
        assert finished.error is not None
        text = finished.error.traceback
        assert text.startswith("Traceback (most recent call last):")
        assert text.endswith("ZeroDivisionError: division by zero")
        assert '<python-input-1>", line 2' in text
        assert "return 1 / n" in text
        assert "/work" not in text
        assert "site-packages" not in text
        assert ".py" not in text

    @pytest.mark.parametrize("code", ["def (", "'open", "x = = 2", "\tx = 1\n  y"])
    def test_a_syntax_error_runs_nothing(self, open_session: Open, code: str) -> None:
        session = open_session()
        assert failed(session, f"ran = True\n{code}").endswith("Error")
        assert failed(session, "ran") == "NameError"

    @pytest.mark.parametrize(
        "code",
        [
            "exit()",
            "quit()",
            "import sys\nsys.exit()",
            "import sys\nsys.exit(3)",
            "raise SystemExit",
            "raise SystemExit(1)",
        ],
    )
    def test_exit_ends_the_cell_alone(
        self, open_session: Open, backend: Backend, code: str
    ) -> None:
        """Monty has no `exit`, `quit` or `sys.exit`: there it is an error of another name."""
        session = open_session()
        ran(session, "x = 1")
        assert failed(session, code) == "SystemExit" or backend.name == "monty"
        assert ran(session, "x").value == 1

    def test_deep_recursion_is_an_error(self, open_session: Open) -> None:
        session = open_session()
        assert failed(session, "def down(n):\n    return down(n + 1)\ndown(0)") == "RecursionError"
        assert ran(session, "1").value == 1

    def test_text_beyond_unicode_does_not_break_anything(self, open_session: Open) -> None:
        session = open_session()
        finished, (call,) = run(
            session, "print('é😀\\u2028')\ntool('😀\\x00' + '\\ud83d')", "a😀\ud83d"
        )
        assert finished.error is None
        assert finished.stdout == "é😀\u2028\n"
        assert call.args[0].startswith("😀\x00")
        assert finished.value.startswith("a😀")
        assert call.args[0].encode()
        assert finished.value.encode()
        run(session, "print('\ud83d')")
        assert ran(session, "print('\\ud83d')\n'ok'").value == "ok"

    def test_what_monty_cannot_do_is_an_error_with_the_way_around(
        self, open_session: Open, backend: Backend
    ) -> None:
        """Facts on Monty that the prompt states; CPython runs all of these."""
        session = open_session()
        for code in (
            "x = 1\ndel x",
            "def numbers():\n    yield 1",
            "class Own(Exception):\n    pass",
            "list(map(tool, []))",
        ):
            assert (
                ran(session, code)
                if backend.name == "local" or "map" in code
                else failed(session, code) == "NotImplementedError"
            )
        if backend.name == "monty":
            finished, calls = run(session, "list(map(llm_query, ['a', 'b']))")
            assert finished.error is not None
            assert calls == []
            assert "comprehension" in finished.error.traceback
        else:
            assert ran(session, "list(map(llm_query, ['a', 'b']))", "A", "B").value == ["A", "B"]
