"""Promises about host calls: which suspend a cell, what they carry, and what their answers do."""

import json
import time
from typing import get_args

from langgraph_rlm.repl.base import Finished, HostCall, Raised, RaisedType, Returned
from langgraph_rlm.repl.contract.check import (
    Opener,
    Promises,
    called,
    equal,
    fails,
    failure,
    gives,
    holds,
    ran,
    run,
)

promise = Promises()

WRITTEN_ANYHOW = (
    "def ask(p):\n    return llm_query(p)\ndef outer():\n    return ask('a')\nouter()",
    "[llm_query(p) for p in ['a']][0]",
    "{p: llm_query(p) for p in ['a']}['a']",
    "f = llm_query\nf('a')",
    "(lambda: llm_query('a'))()",
    "class Asker:\n    def ask(self):\n        return llm_query('a')\nAsker().ask()",
    "for _ in range(1):\n    reply = llm_query('a')\nreply",
    "f'{llm_query(\"a\")}'",
)


@promise
def calls_are_seen_wherever_they_are_written(open_session: Opener) -> None:
    """A host call suspends the cell wherever it is written, and under another name."""
    for code in WRITTEN_ANYHOW:
        finished, calls = run(open_session(), code, "reply")
        equal((finished.value, calls), ("reply", [HostCall("llm_query", ("a",), {})]))


@promise
def arguments_arrive_as_written(open_session: Opener) -> None:
    """Positional and named arguments arrive as the code gives them."""
    code = "tool(1, *[2.5, None], flag=True, **{'rows': [{'a': 'é'}]})"
    _, calls = run(open_session(), code, None)
    equal(calls, [HostCall("tool", (1, 2.5, None), {"flag": True, "rows": [{"a": "é"}]})])


@promise
def calls_come_in_order(open_session: Opener) -> None:
    """Calls come in the order of the code, and each answer goes to its own call."""
    code = "got = [(p, llm_query(p)) for p in 'abc']\ngot.append(tool())\ngot"
    finished, calls = run(open_session(), code, "A", "B", "C", {"n": [1]})
    equal([call.function for call in calls], ["llm_query"] * 3 + ["tool"])
    got = json.loads(json.dumps(finished.value))
    equal(got, [["a", "A"], ["b", "B"], ["c", "C"], {"n": [1]}])


@promise
def thousands_of_calls_are_no_limit(open_session: Opener) -> None:
    """One cell can make 2,000 calls."""
    numbers = range(2000)
    gives(open_session(), "sum([tool(n) for n in range(2000)])", sum(numbers), *numbers)


@promise
def a_failed_call_is_an_exception(open_session: Opener) -> None:
    """A failed call raises the built-in exception of its type, which code can catch."""
    session = open_session()
    for kind in get_args(RaisedType):
        code = f"try:\n    llm_query('a')\nexcept {kind} as error:\n    seen = str(error)\nseen"
        gives(session, code, "no reply", Raised(kind, "no reply"))
        error = failure(session, "llm_query('a')", Raised(kind, "no reply"))
        equal((error.type, error.message), (kind, "no reply"))
        gives(session, "seen", "no reply")


@promise
def a_pause_is_invisible(open_session: Opener) -> None:
    """Code can neither see nor hide that a call waits for its answer."""
    lines = [
        "log = []",
        "try:",
        "    log.append(llm_query('a'))",
        "except BaseException as error:",
        "    log.append('saw ' + str(error))",
        "finally:",
        "    log.append('end')",
        "log",
    ]
    session = open_session()
    equal(called(session.feed("\n".join(lines))).args, ("a",))
    time.sleep(0.05)
    equal(session.resume(Returned("reply")), Finished("", ["reply", "end"]))


@promise
def an_unknown_function_is_a_name_error(open_session: Opener) -> None:
    """A call of a function that nobody defined is a NameError, which code can catch."""
    session = open_session()
    fails(session, "not_there('a')", "NameError")
    code = "try:\n    not_there('a')\nexcept NameError:\n    caught = True\ncaught"
    gives(session, code, True)


@promise
def a_rebound_function_is_restored(open_session: Opener) -> None:
    """A host function that code has rebound is one again in a cell that restores it."""
    session = open_session()
    ran(session, "llm_query = 5")
    gives(session, "llm_query", 5)
    outcome = session.feed("llm_query('a')", restore=frozenset({"llm_query"}))
    equal(called(outcome), HostCall("llm_query", ("a",), {}))


@promise
def unusual_arguments_arrive_plain(open_session: Opener) -> None:
    """Arguments arrive as JSON values: sets and tuples as lists, other objects as text."""
    code = (
        "class Own:\n    pass\n"
        "tool({3, 1, 2}, (1, 2), float('nan'), {1: {2}}, lambda: 1, Own(), Own, b'ab', "
        "10**5000, range(2), ValueError('x'), print)"
    )
    finished, calls = run(open_session(), code, "ok")
    equal(finished.value, "ok")
    args = calls[0].args
    json.dumps(args)
    equal(args[:2], ([1, 2, 3], [1, 2]))
    holds(args[2] != args[2], f"float('nan') arrives as {args[2]!r}")
    equal(args[3], {"1": [2]})
    for arg in args[8:]:
        holds(isinstance(arg, str), f"{arg!r} is not text")


@promise
def deep_and_cyclic_values_arrive(open_session: Opener) -> None:
    """A list that is 5,000 levels deep, or that holds itself, still arrives."""
    session = open_session()
    deep = "x = []\nfor _ in range(5000):\n    x = [x]\ntool(x)"
    cyclic = "x = []\nx.append(x)\ntool(x)"
    _, calls = run(session, f"{deep}\n{cyclic}", 1, 2)
    json.dumps([call.args for call in calls])
    json.dumps(ran(session, "x").value)


@promise
def lone_surrogates_are_harmless(open_session: Opener) -> None:
    """Text with half a character can be printed, sent and answered, and arrives encodable."""
    session = open_session()
    code = "print('é😀\\u2028')\ntool('😀\\x00' + '\\ud83d')"
    finished, calls = run(session, code, "a😀\ud83d")
    equal((finished.error, finished.stdout), (None, "é😀\u2028\n"))
    sent = calls[0].args[0]
    holds(sent.startswith("😀\x00"), f"the argument arrives as {sent!r}")
    holds(finished.value.startswith("a😀"), f"the answer arrives as {finished.value!r}")
    sent.encode()
    finished.value.encode()
    run(session, "print('\ud83d')")
    gives(session, "print('\\ud83d')\n'ok'", "ok")
