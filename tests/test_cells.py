"""What cells may do in every sandbox: name their answer, raise anything, hide names, ask too much."""

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.log.python import names_a_variable
from langgraph_rlm.testing import ScriptedModel, cell

from .jails import SANDBOXES, needs_a_jail
from .models import rlm, root, shown, thread

pytestmark = pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")

Point = """
class Point:
    def __init__(self, x):
        self.x = x
    def __str__(self):
        return f'point {self.x}'
p = Point(1)
"""


def ask(*codes: str, sandbox: str = "monty", **options: Any) -> Any:
    return rlm(root(*codes), sandbox=sandbox, **options).invoke({"query": "q"})


@pytest.mark.parametrize("sandbox", SANDBOXES)
class TestFinalVar:
    @pytest.mark.parametrize(
        ("code", "answer"),
        [
            ("winner = 'loser'\nloser = 'wrong'\nFINAL_VAR(winner)", "loser"),
            ("loser = 'wrong'\nFINAL_VAR({'w': 'loser'}['w'])", "loser"),
            ("loser = 'wrong'\nFINAL_VAR('LOSER'.lower())", "loser"),
            ("winner = 'Paris'\nFINAL_VAR(winner)", "Paris"),
            ("winner = 'Paris'\nFINAL_VAR(\n    winner  # it\n)", "Paris"),
            ("winner = 'Paris'\nFINAL_VAR(value=winner)", "Paris"),
            ("winner = ['Paris', 2]\nFINAL_VAR(winner)", '["Paris",2]'),
            ("winner = 'Paris'\nFINAL_VAR('winner')", "Paris"),
            ("winner = 'Paris'\nFINAL_VAR(' winner ')", "Paris"),
            ('winner = "Paris"\nFINAL_VAR(value="winner")', "Paris"),
            ("r_1 = 'Paris'\nfor i in [1]:\n    FINAL_VAR(f'r_{i}')", "Paris"),
            ("a = 'Paris'\nFINAL_VAR('a' if a else 'b')", "Paris"),
            (
                "loser = 'wrong'\nw = 'loser'\nif w:\n    FINAL_VAR(w)\nelse:\n    FINAL_VAR('w')",
                "loser",
            ),
            ("é = 'loser'; loser = 1; FINAL_VAR(é)", "loser"),
            ("FINAL_VAR('two words')", "two words"),
        ],
    )
    def test_it_takes_values_and_quoted_names(self, sandbox: str, code: str, answer: str) -> None:
        assert ask(code, "FINAL('another turn')", sandbox=sandbox)["answer"] == answer

    def test_a_call_in_a_function_of_an_earlier_cell_is_read_where_it_stands(
        self, sandbox: str
    ) -> None:
        codes = ["def end(w):\n    FINAL_VAR(w)", "def f(\n", "loser = 1\nend('loser')"]
        assert ask(*codes, "FINAL('another')", sandbox=sandbox)["answer"] == "loser"

    def test_a_quoted_name_of_nothing_is_an_error_that_says_so(self, sandbox: str) -> None:
        model = root("FINAL_VAR('nothing')", "FINAL('then')")
        assert rlm(model, sandbox=sandbox).invoke({"query": "q"})["answer"] == "then"
        assert "there is no variable 'nothing'" in shown(model, 1)


@pytest.mark.parametrize(
    ("call", "code", "named"),
    [
        ("FINAL_VAR(x)", "", False),
        ("f('x')", "", True),
        ("FINAL_VAR('x', x)", "", False),
        ("", "FINAL_VAR(x)", False),
        ("", "FINAL_VAR('x')", True),
        ("", "FINAL_VAR(x)\nFINAL_VAR('x')", True),
        ("", "f = FINAL_VAR\nf('x')", True),
        ("", "not Python (", True),
        ("x = 1", "FINAL_VAR(x)", False),
        ("not Python (", "FINAL_VAR('x')", True),
    ],
)
def test_where_a_call_is_not_known_those_of_the_cell_speak_for_it(
    call: str, code: str, named: bool
) -> None:
    assert names_a_variable(call, code) is named


@pytest.mark.parametrize("sandbox", SANDBOXES)
class TestExceptions:
    @pytest.mark.parametrize(
        ("made", "text"),
        [
            ("ValueError(5)", "5"),
            ("ValueError(None)", "None"),
            ("ValueError('a', 3)", "('a', 3)"),
            ("ValueError(*[1, 2])", "(1, 2)"),
            ("ValueError(*[1],)", "1"),
            ("ValueError(*[])", ""),
            ("ValueError(0, *[1])", "(0, 1)"),
            ("ValueError([1, 'ä'])", "[1, 'ä']"),
            ("RuntimeError({'a': 1})", "{'a': 1}"),
            ("TypeError(\n    5,  # five, said (so)\n)", "5"),
            ("ValueError('n: ' + str(1))", "n: 1"),
            ("ValueError(f'n: {1}')", "n: 1"),
            ("ValueError((1, 2))", "(1, 2)"),
            ("ValueError()", ""),
            ("ValueError(ValueError(7))", "7"),
            ("ValueError('ü', ValueError('x'))", None),
            ("Exception(5 if True else 6)", "5"),
            ("AssertionError(len('ab'))", "2"),
        ],
    )
    def test_one_with_any_argument_is_caught_like_any_other(
        self, sandbox: str, made: str, text: str | None
    ) -> None:
        code = f"try:\n    raise {made}\nexcept Exception as error:\n    print('caught', str(error), '.')"
        model = root(code, "FINAL(1)")
        rlm(model, sandbox=sandbox).invoke({"query": "q"})
        if text is not None:
            assert f"caught {text} ." in shown(model, 1)
        assert "caught" in shown(model, 1)

    def test_an_uncaught_one_shows_the_line_as_it_was_written(self, sandbox: str) -> None:
        model = root("x = 4\nraise ValueError(x + 1)", "FINAL(x)")
        assert rlm(model, sandbox=sandbox).invoke({"query": "q"})["answer"] == "4"
        assert "line 2" in shown(model, 1)
        assert "raise ValueError(x + 1)" in shown(model, 1)
        assert "ValueError: 5" in shown(model, 1)
        assert "format" not in shown(model, 1)

    def test_a_function_that_has_the_name_of_an_exception_is_called_as_it_is(
        self, sandbox: str
    ) -> None:
        code = "def ValueError(n):\n    return n + 1\nFINAL(ValueError(5))"
        assert ask(code, sandbox=sandbox)["answer"] == "6"


@pytest.mark.parametrize("sandbox", SANDBOXES)
class TestObjects:
    @pytest.mark.parametrize(
        ("end", "answer"),
        [
            ("FINAL(p)", "point 1"),
            ("FINAL(Point(2))", "point 2"),
            ("FINAL([p, {'a': Point(3)}])", '["point 1",{"a":"point 3"}]'),
            ("FINAL({p})", '["point 1"]'),
            ("FINAL({p: 1})", '{"point 1":1}'),
            ("FINAL(value=p)", "point 1"),
            ("FINAL_VAR(p)", "point 1"),
            ("FINAL_VAR('p')", "point 1"),
            ("answer['content'] = p\nanswer['ready'] = True", "point 1"),
            ("point = FINAL\npoint(p)", "point 1"),
        ],
    )
    def test_final_gives_their_text(self, sandbox: str, end: str, answer: str) -> None:
        assert ask(Point + end, "FINAL('another')", sandbox=sandbox)["answer"] == answer
        assert ask(Point, end, "FINAL('another')", sandbox=sandbox)["answer"] == answer

    def test_one_without_a_text_of_its_own_has_the_name_of_its_class(self, sandbox: str) -> None:
        code = "class Empty:\n    pass\nFINAL(Empty())"
        assert "Empty" in ask(code, "FINAL('')", sandbox=sandbox)["answer"]

    def test_as_the_value_of_a_last_line_they_stop_nothing(self, sandbox: str) -> None:
        model = root(Point + "p", "{p}", "{p: 1}", "[p, Point(2)]", "FINAL(1)")
        assert rlm(model, sandbox=sandbox).invoke({"query": "q"})["answer"] == "1"
        assert "Value of its last line: 'point 1'" in shown(model, 1)
        assert "Error" not in shown(model, 2) + shown(model, 3) + shown(model, 4)

    def test_a_thread_continues_after_them_in_a_new_interpreter(self, sandbox: str) -> None:
        graph = rlm(root(Point + "FINAL(p)"), sandbox=sandbox, checkpointer=InMemorySaver())
        graph.invoke({"query": "q"}, thread())
        graph.rlm.sessions.drop_all()
        model = graph.rlm.model
        model.replies = [*model.replies, cell("FINAL([p, p.x])")]
        assert graph.invoke({"query": "q"}, thread())["answer"] == '["point 1",1]'


HIDING = [
    "llm_query = 3",
    "def llm_query(x):\n    return 'mine'",
    "for llm_query in [1, 2]:\n    pass",
    "import json as llm_query",
    "from json import dumps as llm_query",
    "if (llm_query := 3):\n    pass",
    "try:\n    1 / 0\nexcept ZeroDivisionError as llm_query:\n    pass",
    "class llm_query:\n    pass",
    "llm_query, x = 1, 2",
    "[*llm_query] = [1, 2]",
    "llm_query: int = 3",
    "def f():\n    global llm_query\n    llm_query = 3\nf()",
    "match [1]:\n    case [llm_query]:\n        pass",
    "exec('llm_query = 3')",
    "name = 'llm' + '_query'\nexec(name + ' = 3')",
]
IN_CPYTHON = [
    "del llm_query",
    "def f():\n    global llm_query\n    del llm_query\nf()",
    "globals()['llm_query'] = 3",
    "globals().clear()",
    "import __main__\n__main__.llm_query = 3",
    "import types, sys\nm = types.ModuleType('m')\nm.llm_query = 3\nsys.modules['m'] = m\nfrom m import *",
    "import contextlib\nwith contextlib.nullcontext(3) as llm_query:\n    pass",
    "exec('del llm_query')",
    "llm_query = 3\n1 / 0",
]


@pytest.mark.parametrize(
    ("sandbox", "code"),
    [
        *[(sandbox, code) for sandbox in ("monty", "local") for code in HIDING],
        *[("local", code) for code in IN_CPYTHON],
        *[pytest.param("python", code, marks=needs_a_jail) for code in [*HIDING, *IN_CPYTHON]],
    ],
)
def test_whatever_hides_a_host_function_is_undone_after_the_cell(sandbox: str, code: str) -> None:
    model = root(code, "FINAL(llm_query('b'))", "FINAL('gone')")
    graph = rlm(model, sandbox=sandbox, checkpointer=InMemorySaver())
    assert graph.invoke({"query": "q"}, thread())["answer"] == "len=1"
    graph.rlm.sessions.drop_all()
    model.replies = [*model.replies[:2], cell("FINAL(llm_query('bc'))")]
    assert graph.invoke({"query": "q"}, thread())["answer"] == "len=2"


@pytest.mark.parametrize("sandbox", SANDBOXES)
@pytest.mark.parametrize("unread", ["print(1", "x = = 1", "import zork_\ndel zork_"])
def test_a_cell_that_did_not_start_undoes_nothing_and_the_next_one_does(
    sandbox: str, unread: str
) -> None:
    codes = ["llm_query = 3", unread, unread, "FINAL(llm_query('a'))"]
    assert ask(*codes, "FINAL('gone')", sandbox=sandbox)["answer"] == "len=1"


@pytest.mark.parametrize(
    ("sandbox", "code"),
    [
        ("local", "del context"),
        ("local", "len(context)\ndel context"),
        ("local", "len(context)\nglobals()['context'] = 'mine'"),
        ("local", "globals()['context'] = 'mine'\nlen(context)"),
        ("local", "exec('context = 1')"),
        ("monty", "exec('context = 1')"),
        ("monty", "context = 1"),
    ],
)
def test_whatever_hides_the_context_is_undone_after_the_cell(sandbox: str, code: str) -> None:
    graph = rlm(root(code, "FINAL(context)"), sandbox=sandbox)
    assert graph.invoke({"query": "q", "context": "the text"})["answer"] == "the text"


@pytest.mark.parametrize("sandbox", SANDBOXES)
@pytest.mark.parametrize(
    "code",
    [
        "answer = {'content': 'kept', 'ready': False}",
        "exec(\"answer = {'content': 'kept', 'ready': False}\")",
    ],
)
def test_the_answer_is_the_cells_own_to_bind(sandbox: str, code: str) -> None:
    codes = [code, "x = answer", "answer['ready'] = True", "FINAL('lost')"]
    assert ask(*codes, sandbox=sandbox)["answer"] == "kept"


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_a_name_of_the_host_in_a_smaller_scope_hides_nothing(sandbox: str) -> None:
    code = "def f(context, tool=1):\n    llm_query = context\n    return llm_query\nf(3)\n[llm_query for llm_query in [1]]\nFINAL(llm_query(context))"
    graph = rlm(root(code), sandbox=sandbox)
    assert graph.invoke({"query": "q", "context": "four"})["answer"] == "len=4"


@pytest.mark.parametrize("sandbox", SANDBOXES)
class TestBatchesOverWhatIsLeft:
    CODE = "try:\n    llm_query_batched([str(i) for i in range({})])\n    print('asked')\nexcept ValueError as error:\n    print('told', error)"

    @pytest.mark.parametrize(("size", "told"), [(9, "asked"), (10, "asked"), (11, "told")])
    def test_one_is_refused_before_anything_is_asked(
        self, sandbox: str, size: int, told: str
    ) -> None:
        model = root(self.CODE.format(size), "FINAL('on')")
        out = rlm(model, sandbox=sandbox, limits={"max_sub_calls": 10}).invoke({"query": "q"})
        assert (out["answer"], out["stop_reason"]) == ("on", "answered")
        assert f"\n{told}" in shown(model, 1)
        assert out["usage"]["sub_calls"] == (size if size <= 10 else 0)
        if size > 10:
            assert "a batch of 11, but sub-calls left: 10." in shown(model, 1)

    def test_the_default_of_a_thousand_leaves_the_run_alive(self, sandbox: str) -> None:
        model = root(self.CODE.format(1001), self.CODE.format(1000), "FINAL('on')")
        out = rlm(model, sandbox=sandbox).invoke({"query": "q"})
        assert "a batch of 1,001, but sub-calls left: 1,000." in shown(model, 1)
        assert "asked" in shown(model, 2)
        assert (out["answer"], out["usage"]["sub_calls"]) == ("on", 1000)

    def test_what_was_made_counts_and_a_replay_is_told_the_same(self, sandbox: str) -> None:
        model = root("llm_query('a')", self.CODE.format(10) + "\nx = 1", "FINAL(x)")
        graph = rlm(
            model, sandbox=sandbox, limits={"max_sub_calls": 10}, checkpointer=InMemorySaver()
        )
        assert graph.invoke({"query": "q"}, thread())["answer"] == "1"
        assert "sub-calls left: 9." in shown(model, 2)
        graph.rlm.sessions.drop_all()
        model.replies = [*model.replies, cell("FINAL(x + 1)")]
        assert graph.invoke({"query": "q"}, thread())["answer"] == "2"

    def test_code_that_asks_again_and_again_is_stopped(self, sandbox: str) -> None:
        code = "while True:\n    try:\n        llm_query_batched(['a'] * 11)\n    except ValueError:\n        pass"
        model = root("x = 1", code, "FINAL(x)")
        out = rlm(model, sandbox=sandbox, limits={"max_sub_calls": 10}).invoke({"query": "q"})
        assert (out["answer"], out["stop_reason"]) == ("1", "answered")
        assert "rolled back" in shown(model, 2)


def test_a_batch_of_children_is_refused_like_one_of_prompts() -> None:
    code = "try:\n    rlm_query_batched(['a', 'b', 'c'])\nexcept ValueError as error:\n    FINAL(str(error))"
    out = rlm(root(code), limits={"max_sub_calls": 2, "max_depth": 2}).invoke({"query": "q"})
    assert "a batch of 3, but sub-calls left: 2." in out["answer"]


def test_a_stray_fence_behind_a_closed_cell_is_nothing() -> None:
    model = ScriptedModel(replies=["```repl\nprint('ran')\n```\n```\n", cell("FINAL(1)")])
    rlm(model).invoke({"query": "q"})
    assert "ran" in shown(model, 1)
    assert "closed" not in shown(model, 1)
