"""What a model may write, and what is read from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_rlm.log.final_words import Final
from langgraph_rlm.log.python import assigned_names
from langgraph_rlm.log.reply import parse_reply
from langgraph_rlm.log.thoughts import split_thoughts


def value(text: str) -> Final:
    return Final("value", text)


def word(name: str) -> Final:
    return Final("variable", name, is_word=True)


# Cells


@pytest.mark.parametrize(
    "tag",
    [
        "repl",
        "python",
        "py",
        "python3",
        "Python",
        "REPL",
        " repl",
        "python title=x",
        "python,run",
        "repl\t",
    ],
)
def test_tagged_fences_are_cells(tag: str) -> None:
    assert parse_reply(f"Look:\n```{tag}\nprint(1)\n```\nDone.").cells == ("print(1)\n",)


@pytest.mark.parametrize("tag", ["json", "bash", "pythonic", "text python"])
def test_other_fences_are_not_cells(tag: str) -> None:
    assert parse_reply(f"```{tag}\nprint(1)\n```").cells == ()


@pytest.mark.parametrize("code", ["print(context[:10])", "context[:100]", "n = 1", "import re"])
def test_a_lone_block_without_a_tag_is_a_cell_if_it_is_a_program(code: str) -> None:
    reply = parse_reply(f"I look.\n```\n{code}\n```\nThen I go on.")
    assert reply.cells == (f"{code}\n",)
    assert reply.problem is None


@pytest.mark.parametrize(
    "text",
    ["17", "Paris", '{"a": 1}', "[1, 2]", "name: word", "a, b", "not python at all", "well-known"],
)
def test_a_lone_block_of_words_or_data_is_no_cell(text: str) -> None:
    assert parse_reply(f"It says:\n```\n{text}\n```").cells == ()


@pytest.mark.parametrize(
    "text",
    [
        "```\nx = 1\n```\n```\ny = 2\n```",
        "```\nx = 1\n```\nFINAL(2)",
        "```\nx = 1\n```\n```json\n{}\n```",
    ],
)
def test_a_block_without_a_tag_beside_others_or_an_answer_is_no_cell(text: str) -> None:
    assert parse_reply(text).cells == ()


def test_an_output_that_a_model_makes_up_behind_its_cell_is_no_cell() -> None:
    text = "```repl\nprint(len(context))\n```\nOutput:\n```\nprint(17)\n```"
    assert parse_reply(text).cells == ("print(len(context))\n",)


def test_every_block_of_a_reply_is_a_cell_in_order() -> None:
    reply = parse_reply(
        "```repl\na = 1\n```\nthen\n~~~python\nb = 2\n~~~\n```json\n{}\n```\n```py\nc = 3\n```"
    )
    assert reply.cells == ("a = 1\n", "b = 2\n", "c = 3\n")
    assert reply.problem is None


def test_a_longer_fence_holds_a_shorter_one() -> None:
    assert parse_reply('````repl\nprompt = """\n```\ntext\n```\n"""\n````').cells == (
        'prompt = """\n```\ntext\n```\n"""\n',
    )


def test_a_tilde_fence_holds_backticks() -> None:
    assert parse_reply("~~~repl\n'''\n```\n'''\n~~~").cells == ("'''\n```\n'''\n",)


@pytest.mark.parametrize(
    "text",
    [
        "1. First:\n\n   ```repl\n   for x in y:\n       print(x)\n   ```\n2. Then more.",
        "- First:\n  ```repl\n  for x in y:\n      print(x)\n  ```",
        "> ```repl\n> for x in y:\n>     print(x)\n> ```",
        "  ```repl\n  for x in y:\n      print(x)\n  ```",
        "<answer>\n```repl\nfor x in y:\n    print(x)\n```\n</answer>",
        "```repl\r\nfor x in y:\r\n    print(x)\r\n```\r\n",
    ],
)
def test_code_loses_the_indentation_of_its_list_quote_or_fence(text: str) -> None:
    reply = parse_reply(text)
    assert reply.cells == ("for x in y:\n    print(x)\n",)
    assert reply.problem is None


NESTED = 'ask = """Reply so:\n```json\n{"refunds": 0}\n```\n"""\nFINAL(len(ask))\n'


@pytest.mark.parametrize(
    "code",
    [
        NESTED,
        'a = """\n```\n"""\n',
        "a = '''\n```python\nx = 1\n```\n'''\nb = '''\n```\n'''\n",
        'a = f"""\n```\n{1}\n```\n"""\n',
        'a = """\n````\n"""\n',
    ],
)
def test_a_line_of_backticks_in_a_string_does_not_end_the_code(code: str) -> None:
    reply = parse_reply(f"First.\n```repl\n{code}```\nThen.\n```repl\nz = 1\n```")
    assert reply.cells == (code, "z = 1\n")
    assert reply.problem is None


def test_code_that_fails_to_parse_is_not_read_on_into_prose() -> None:
    text = "```repl\nprint(\n```\nI think it works.\n```repl\nx = 1\n```"
    assert parse_reply(text).cells == ("print(\n", "x = 1\n")


@pytest.mark.parametrize("stray", ["```", "```\n", "\n```\n\n", "~~~"])
def test_a_stray_fence_behind_a_closed_cell_is_nothing(stray: str) -> None:
    reply = parse_reply(f"```repl\nprint(1)\n```\n{stray}")
    assert (reply.cells, reply.problem) == (("print(1)\n",), None)


def test_unicode_code_is_kept() -> None:
    assert parse_reply("Über\u2028sicht\n```repl\nnaïve = '日本\u2028\x0c'\n```").cells == (
        "naïve = '日本\u2028\x0c'\n",
    )


def test_blank_blocks_are_no_cells() -> None:
    reply = parse_reply("```repl\n```\n```python\n\n  \n```")
    assert reply.cells == ()
    assert reply.problem == "prose"


def test_reasoning_is_neither_code_nor_answer() -> None:
    reply = parse_reply("\n<think>\nFINAL(1)\n```repl\nbad()\n```\n</think>\n```repl\ngood()\n```")
    assert reply.cells == ("good()\n",)
    assert reply.final is None


def test_reasoning_that_never_ends_is_an_empty_reply() -> None:
    assert parse_reply("<think>\n```repl\nbad()\n```\n").problem == "empty"


def test_a_think_tag_in_the_middle_of_a_reply_is_text() -> None:
    assert parse_reply("```repl\ns = '<think>x</think>'\n```").cells == (
        "s = '<think>x</think>'\n",
    )


# Cut-off replies


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n``", "\n~~~", "\n```repl", "\n   "])
def test_half_a_program_does_not_run(end: str) -> None:
    reply = parse_reply(f"```repl\na = 1\n```\n```repl\nsend_email(to{end}")
    assert reply.cells == ("a = 1\n",)
    assert reply.problem == "unclosed_fence"


def test_a_fence_without_a_line_of_code_is_unclosed() -> None:
    assert parse_reply("Now:\n```repl").problem == "unclosed_fence"


def test_a_list_that_ends_before_its_fence_leaves_it_unclosed() -> None:
    reply = parse_reply("- First:\n  ```repl\n  a = 1\n```\nThen.")
    assert reply.cells == ()
    assert reply.problem == "unclosed_fence"


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_closed_fence_may_end_the_reply_with_or_without_a_newline(end: str) -> None:
    reply = parse_reply(f"```repl\na = 1\n\n```{end}")
    assert reply.cells == ("a = 1\n\n",)
    assert reply.problem is None


# Problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        (" \r\n\t", "empty"),
        ("I will look at it.", "prose"),
        ("Call `FINAL(x)` at the end.", "prose"),
        ("```\nx = 1\n```\n```\nprint(context[:10])\n```", "untagged_fence"),
        ("```tool_code\nx = 1\n```", "untagged_fence"),
        ("```\nnot python at all\n```", "prose"),
        ("```\nx = 1\n```\n```repl\ny = (2", "unclosed_fence"),
        ("print(len(context))\nFINAL(3)", "unfenced_code"),
        ("n = 1\n\nFINAL(n + 1)", "unfenced_code"),
        ("if not found:\n    FINAL('')\nelse:\n    FINAL(found[0])", "unfenced_code"),
        ("Like so:\n\n    FINAL(42)", "unfenced_code"),
        ("Like so:\n\n\tFINAL(42)", "unfenced_code"),
        ("I count first.\n\nn = len(x)\nFINAL(n)\n\nThat is it.", "unfenced_code"),
        ("```", "prose"),
        ("```\nx = 1\n```\nFINAL(2)", None),
    ],
)
def test_each_useless_reply_has_its_own_problem(text: str, problem: str | None) -> None:
    assert parse_reply(text).problem == problem


# FINAL in prose


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("FINAL(42)", "42"),
        ("FINAL(f(x))", "f(x)"),
        ("So:\n\nFINAL(g(f(x), (1, 2)) and more) trailing", "g(f(x), (1, 2)) and more"),
        (
            "FINAL(first line\n\n- second (with brackets)\n)\nbye",
            "first line\n\n- second (with brackets)",
        ),
        ("FINAL( 42 )", "42"),
        ("  FINAL(42)", "42"),
        ("**FINAL(42)**", "42"),
        ("- FINAL(42)", "42"),
        ("1. FINAL(42)", "42"),
        ("Done.\r\nFINAL(a\r\nb)\r\n", "a\nb"),
        ('FINAL("a\\nb")', "a\nb"),
        ("FINAL('it is ;) fine')", "it is ;) fine"),
        ('FINAL("""two\nlines (""")', "two\nlines ("),
        ('FINAL(r"\\d")', "\\d"),
        ('FINAL("")', ""),
        ('FINAL("a" and "b")', '"a" and "b"'),
        ('FINAL("a" "b")', '"a" "b"'),
        ('FINAL("\\x")', '"\\x"'),
        ('FINAL(["a)", "b("])', '["a)", "b("]'),
        ("FINAL(It's Bob's (maybe))", "It's Bob's (maybe)"),
        ("FINAL(日本 (東京) 🙂)", "日本 (東京) 🙂"),
        ("FINAL(sad :()", "sad :("),
        ("FINAL(cut off by the limit", "cut off by the limit"),
        ("FINAL(the one) FINAL(two)\nFINAL(three)", "the one"),
        ("FINAL()\nFINAL(the two)", "the two"),
        ("FINAL(True)", "True"),
        ("FINAL(None)", "None"),
        ("Final answer: 3", "3"),
        ("It has three.\n\nFINAL ANSWER: 3", "3"),
        ("It has three.\n\n**Final answer:** 3", "3"),
        ("**Final answer: 3**", "3"),
        ("**Final Answer**: 3", "3"),
        ("### Final Answer:\n\ntwo\nlines", "two\nlines"),
        ("Final answer: no\nAgain.\nFinal answer: yes", "yes"),
        ("Final answer: FINAL(3)", "3"),
    ],
)
def test_a_final_answer_in_prose_is_read_whole(text: str, answer: str) -> None:
    reply = parse_reply(text)
    assert reply.final == value(answer)
    assert reply.problem is None


@pytest.mark.parametrize("name", ["result", "Paris", "yes", "_x", "日本"])
def test_a_bare_name_in_final_is_a_variable_s_and_not_an_answer(name: str) -> None:
    assert parse_reply(f"FINAL({name})").final == word(name)
    assert parse_reply(f'FINAL("{name}")').final == value(name)


@pytest.mark.parametrize(
    "text",
    [
        "Plan:\n1. count\n2. FINAL(the count)\n```repl\nn = 1\n```",
        "FINAL(17)\n```repl\nn = 1\n```",
        "```repl\nn = 1\n```\nFINAL(17)\n```repl\nm = 1\n```",
    ],
)
def test_a_final_before_a_cell_is_no_answer(text: str) -> None:
    reply = parse_reply(text)
    assert reply.final is None
    assert reply.has_early_final


@pytest.mark.parametrize(
    "text",
    ["Final answer: 3\n```repl\nprint(1)\n```", "The final answer: 3", "`Final answer:` 3"],
)
def test_a_final_answer_in_words_counts_at_the_start_of_a_line_of_a_reply_without_code(
    text: str,
) -> None:
    assert parse_reply(text).final is None


@pytest.mark.parametrize("argument", ["result", '"result"', "'result'", ' "result" ', "\nresult\n"])
def test_final_var_names_a_variable(argument: str) -> None:
    assert parse_reply(f"Done.\nFINAL_VAR({argument})").final == Final("variable", "result")


@pytest.mark.parametrize("argument", ["", "a.b", "f(x)", "the result", "'a", "1", "-x"])
def test_final_var_of_no_name_is_no_answer(argument: str) -> None:
    assert parse_reply(f"FINAL_VAR({argument})").problem == "prose"


@pytest.mark.parametrize(
    "text",
    [
        "I will end with FINAL(x) later.",
        "`FINAL(x)` ends the run.",
        "- use `FINAL(x)`",
        "> FINAL(x)",
        "FINALLY(x)",
        "NOT_FINAL(x)",
        "FINAL answer (x)",
        "```\nFINAL(x)\n```",
        "~~~text\nFINAL(x)\n~~~",
        "- item\n  ```\n  FINAL(x)\n  ```",
    ],
)
def test_mentions_of_final_are_no_answer(text: str) -> None:
    assert parse_reply(text).final is None


def test_final_in_a_string_of_code_does_not_end_the_run() -> None:
    reply = parse_reply('```repl\nprompt = """\nFINAL(x)\n"""\n```\n')
    assert reply.final is None
    assert len(reply.cells) == 1


def test_a_last_fence_that_was_not_closed_is_a_cell_if_it_is_whole() -> None:
    text = "I count.\n```python\nx = 1\nFINAL(x)\n"
    reply = parse_reply(text)
    assert (reply.cells, reply.final, reply.problem) == (("x = 1\nFINAL(x)\n",), None, None)
    cut = parse_reply(text, is_cut=True)
    assert (cut.cells, cut.final, cut.problem) == ((), None, "unclosed_fence")


def test_replies_of_the_first_version_are_read_as_they_were() -> None:
    def first(text: str) -> tuple[object, ...]:
        reply = parse_reply(text, rules=1)
        return reply.cells, reply.final

    assert first(f"```repl\n{NESTED}```")[0] == ('ask = """Reply so:\n```json\n{"refunds": 0}\n',)
    assert first("FINAL(result)\n```repl\nn = 1\n```") == (("n = 1\n",), value("result"))
    assert first("```\nx = 1\n```") == ((), None)
    assert first("```repl\nx = 1") == ((), None)
    assert first("if a:\n    FINAL(1)") == ((), value("1"))
    assert first("hm\n</think>\nFINAL(1)") == ((), value("1"))
    assert first("<think>FINAL(0)</think>\nFINAL(1)") == ((), value("1"))


def test_code_and_an_answer_may_stand_in_one_reply() -> None:
    reply = parse_reply("```repl\nx = 1\n```\nFINAL_VAR(x)")
    assert reply.cells == ("x = 1\n",)
    assert reply.final == Final("variable", "x")


def test_code_inside_an_answer_is_the_answer_s() -> None:
    reply = parse_reply("FINAL(Use this:\n```python\nprint(1)\n```\n)\n```repl\ny = 2\n```")
    assert (reply.final, reply.has_early_final) == (None, True)
    assert reply.cells == ("y = 2\n",)
    alone = parse_reply("FINAL(Use this:\n```python\nprint(1)\n```\n)")
    assert (alone.final, alone.cells) == (value("Use this:\n```python\nprint(1)\n```"), ())


def test_an_unclosed_answer_does_not_swallow_the_code_behind_it() -> None:
    reply = parse_reply("FINAL(so far (42) :(\n```repl\nprint((1))\n```")
    assert reply.has_early_final
    assert reply.cells == ("print((1))\n",)


FENCE_PARTS = [
    "```",
    "````",
    "~~~",
    "repl",
    "python",
    "\n",
    "\r\n",
    "    ",
    "\t",
    "- ",
    "> ",
    "1. ",
    "FINAL(",
    "FINAL_VAR(",
    ")",
    '"',
    "'",
]
OTHER_PARTS = ["'''", "\\", "x", "<think>", "</think>", "**", "\x00", "\ud800", "é"]


@given(st.one_of(st.text(), st.lists(st.sampled_from(FENCE_PARTS + OTHER_PARTS)).map("".join)))
def test_no_reply_makes_the_parser_fail(text: str) -> None:
    reply = parse_reply(text)
    assert all(cell.strip() for cell in reply.cells)
    assert reply.cells or reply.final or reply.problem


def is_a_cell(code: str) -> bool:
    """Whether a text has something to run. A line that ends thoughts, and is no Python, ends them."""
    return bool(code.strip()) and not split_thoughts(f"```repl\n{code}\n```\n")[1]


@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_characters="`\r\x00", codec="utf-8")).filter(
            is_a_cell
        )
    )
)
def test_cells_come_back_as_they_were_written(codes: list[str]) -> None:
    reply = parse_reply("Now.\n" + "".join(f"```repl\n{code}\n```\n" for code in codes))
    assert reply.cells == tuple(f"{code}\n" for code in codes)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        ">" * 50_000,
        "FINAL_VAR(\n" * 20_000,
        "FINAL(" + "(" * 100_000,
        "FINAL('" + "\\" * 100_000,
        "- " * 50_000,
        "'''\"" * 50_000,
        "FINAL((x)\n```\n```\n" * 3_000,
        "```repl\n(\n```\n" * 3_000,
        "<think></think>" * 20_000,
        "x <think> x " * 20_000,
        "```\n</think>\n" * 20_000,
        "final answer: x\n" * 20_000,
    ],
)
def test_a_hostile_reply_is_read_in_time(text: str) -> None:
    parse_reply(text)
    parse_reply(f"FINAL({text}")


# Names


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("b = a = 1", ("a", "b")),
        ("x, (y, *z) = 1, (2, 3)", ("x", "y", "z")),
        ("x += 1", ("x",)),
        ("x: int = 1\ny: int", ("x",)),
        ("for i, j in z: k = 1\nelse: l = 2", ("i", "j", "k", "l")),
        ("with a as b, c as (d, e): pass", ("b", "d", "e")),
        (
            "import os.path, json as j\nfrom re import sub, match as m\nfrom x import *",
            ("j", "m", "os", "sub"),
        ),
        (
            "def f(a): b = 1\nasync def g(): pass\nclass C:\n    d = 1\n    def e(self): pass",
            ("C", "f", "g"),
        ),
        ("if (n := 1): pass\n[(m := x) for x in range(3)]", ("m", "n")),
        ("try: pass\nexcept ValueError as e: f = 1", ("e", "f")),
        (
            "match x:\n    case {'a': a, **rest}: pass\n    case [b, *c] as d: pass",
            ("a", "b", "c", "d", "rest"),
        ),
        (
            "def f():\n    global g\n    g, h = 1, 2\n    def i():\n        global j\n        j = 1",
            ("f", "g", "j"),
        ),
        ("def f():\n    global g\n    def h():\n        g = 1", ("f",)),
        ("a[0] = b.c = 1\nlambda q: q\n{k: v for k, v in a}", ()),
        ("_x = __y = z = 1", ("z",)),
        ("x = (", ()),
        ("x = '\x00'", ()),
        ("", ()),
    ],
)
def test_assigned_names_are_those_bound_at_module_level(code: str, names: tuple[str, ...]) -> None:
    assert assigned_names(code) == names


def test_odd_escapes_in_model_code_warn_nobody(recwarn: pytest.WarningsRecorder) -> None:
    assert assigned_names("x = '\\d'") == ("x",)
    assert parse_reply("FINAL('\\d')").final == value("\\d")
    assert not recwarn.list


def test_code_that_nests_deeply_is_read_or_given_up() -> None:
    assert assigned_names("x = " + "+".join(["1"] * 500)) == ("x",)
    assert assigned_names("x = " + "(" * 5000 + ")" * 5000) == ()
