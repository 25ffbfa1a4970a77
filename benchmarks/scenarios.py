"""Scenarios: what is run over the mock server, on which sides, and what is measured.

It never runs anything. Those without a network are in `scripted.py`.
"""

import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from cases import Aim, Case, Measure
from harness import Sample, Work
from mock_server import Program
from worker import PEERS

PROMPT = "f'chunk {i}\\n' + context[i * size:(i + 1) * size]"
OURS = ("package", "memory", "sqlite")


def cell(code: str) -> str:
    """Give a root model's reply with one cell."""
    return f"```repl\n{code}\n```"


def work(
    turns: list[str],
    answer: str,
    *,
    sub_ms: float = 0,
    sub_chars: int = 10,
    **options: Any,
) -> Work:
    """Give the work of some root replies.

    Args:
        turns: the replies.
        answer: what they answer.
        sub_ms: see `Program`.
        sub_chars: see `Program`.
        **options: other fields of `Work`.
    """
    program = Program(turns=turns, sub_ms=sub_ms, sub_chars=sub_chars)
    return Work(program=program, answer=answer, **options)


def root_gaps(sample: Sample) -> list[float]:
    """Measure the milliseconds from the end of each root reply to the next root call's arrival."""
    roots = [call for call in sample["calls"] if call["model"] == "root"]
    return [1000 * (after["arrived"] - before["left"]) for before, after in pairwise(roots)]


def first_call(sample: Sample) -> float:
    """Measure the seconds from the caller's call to the first root call."""
    return sample["calls"][0]["arrived"] - sample["report"]["called"]


def whole_run(sample: Sample) -> float:
    """Measure the seconds of the whole run."""
    return sample["report"]["ended"] - sample["report"]["called"]


def between_turns(sample: Sample) -> float:
    """Measure the median of `root_gaps`."""
    return statistics.median(root_gaps(sample))


def iteration(scale: float) -> list[Case]:
    """Cells that read a little of a context, one turn after another."""
    turns = [
        cell(f"print({number}, context[{100 * number}:{100 * number + 50}].count('o'))")
        for number in range(10)
    ]
    turns.append(cell("FINAL('done')"))
    javascript = (*["console.log(1)"] * 10, "console.log('answer=done')")
    measures = (
        Measure("an iteration", "ms", between_turns, (Aim(4, "extra"),)),
        Measure("CPU of the process", "s", lambda sample: sample["report"]["cpu_s"]),
    )
    sides = ("plain", "client", *OURS, *PEERS)
    return [
        Case(
            f"{mb:g} MB",
            sides,
            work(turns, "done", mb=mb, javascript=javascript),
            measures,
            runs=3 if scale == 1 else 1,
        )
        for mb in (0.01, 10 * scale, 100 * scale)
    ]


def batch(calls: int) -> str:
    """Give a cell that asks about each part of the context at once, and shows how many replied."""
    return cell(
        f"size = len(context) // {calls}\n"
        f"replies = llm_query_batched([{PROMPT} for i in range({calls})])\n"
        "print(len(replies), replies[0])"
    )


def batch_in_javascript(calls: int) -> str:
    """Give the same for an agent."""
    return (
        "const text = String(await tools.getContext({}));\n"
        f"const size = Math.floor(text.length / {calls});\n"
        f"const all = Array.from({{length: {calls}}}, (_, i) => task({{\n"
        "  description: 'chunk ' + i + '\\n' + text.slice(i * size, (i + 1) * size),\n"
        "  subagentType: 'worker'}));\n"
        "const replies = await Promise.all(all);\n"
        "const found = replies.filter(reply => String(reply).startsWith('len=')).length;\n"
        "console.log('answer=' + found);"
    )


def of_batch(calls: int, **options: Any) -> Work:
    """Give the work of one batch over the context, and the turn after it."""
    count = "FINAL(str(len([1 for reply in replies if reply.startswith('len=')])))"
    javascript = (batch_in_javascript(calls),)
    turns = [batch(calls), cell(count)]
    return work(turns, str(calls), size=calls, javascript=javascript, **options)


def fan_out(scale: float) -> list[Case]:
    """One cell with a batch of 1,000 sub-calls over 10 MB, 10 KB and 50 ms each."""
    calls = round(1000 * scale)
    aims = (
        Aim(1.2, "ratio", "memory"),
        Aim(1.4, "ratio", "sqlite"),
        Aim(1.2, "ratio", "memory+string"),
        Aim(1.4, "ratio", "sqlite+string"),
    )
    measures = (
        Measure("the batch", "s", lambda sample: root_gaps(sample)[0] / 1000, aims),
        Measure("CPU of the process", "s", lambda sample: sample["report"]["cpu_s"]),
    )
    loops = ("client", "plain", "client+aiohttp", "plain+aiohttp")
    langgraph = ("bare-memory", "bare-sqlite")
    on_aiohttp = ("memory+aiohttp", "sqlite+aiohttp", "memory+string", "sqlite+string")
    sides = (*loops, *langgraph, *OURS, *on_aiohttp, *PEERS)
    return [
        Case(
            f"{many} at once",
            sides,
            of_batch(calls, mb=10 * scale, sub_ms=50, at_once=many),
            measures,
            reference="client",
        )
        for many in (16, 64)
    ]


def at_once(scale: float) -> list[Case]:
    """One cell with a batch of sub-calls of 1 s, over 1 KB each: 512 of them, 1,024 and 2,048."""
    cases: list[Case] = []
    for many, calls, most in ((64, 512, 1.05), (256, 1024, 1.1), (512, 2048, 1.2)):
        calls = round(calls * scale)
        ours = ("memory+aiohttp", "sqlite+aiohttp", "memory+string", "sqlite+string")
        measures = (
            Measure(
                "the batch",
                "s",
                lambda sample: root_gaps(sample)[0] / 1000,
                tuple(Aim(most, "ratio", side) for side in ours),
            ),
            Measure("CPU of the process", "s", lambda sample: sample["report"]["cpu_s"]),
        )
        sides = ("client", "client+aiohttp", "memory", "sqlite", *ours)
        task = of_batch(calls, mb=calls / 1000, sub_ms=1000, at_once=many)
        cases.append(Case(f"{many} at once", sides, task, measures, reference="client"))
    return cases


def sequential(scale: float) -> list[Case]:
    """One cell that asks 100 times, one after another, over 1 MB."""
    calls = round(100 * scale)
    code = f"replies = []\nfor i in range({calls}):\n    replies.append(llm_query(f'item {{i}}'))"
    javascript = (
        f"let replies = 0; for (let i = 0; i < {calls}; i++) {{ replies += String(await "
        "task({description: 'item ' + i, subagentType: 'worker'})).startsWith('len='); }\n"
        "console.log('answer=' + replies);"
    )
    measures = (
        Measure("a call", "ms", lambda sample: root_gaps(sample)[0] / calls),
        Measure(
            "CPU of the process, a call",
            "ms",
            lambda sample: sample["report"]["cpu_s"] * 1000 / calls,
        ),
    )
    turns = [cell(code), cell("FINAL(str(len(replies)))")]
    task = work(turns, str(calls), mb=1, javascript=(javascript,))
    sides = ("plain", "client", "package", "sqlite", *PEERS)
    return [Case(f"{calls} calls", sides, task, measures)]


def context(scale: float) -> list[Case]:
    """A run of two turns whose code reads all of the context."""
    code = "found = sum(1 for line in context.splitlines() if 'NEEDLE' in line)\nprint(found)"
    javascript = (
        "const text = String(await tools.getContext({}));\nlet found = 0;\n"
        "for (const line of text.split('\\n')) if (line.includes('NEEDLE')) found++;\n"
        "console.log('answer=' + found);"
    )
    cases: list[Case] = []
    for mb in (1, 10, 100) if scale == 1 else (1, 10):
        aims = (Aim(0.25, "value"),) if mb == 10 else ()
        measures = (
            Measure("to the first root call", "s", first_call, aims),
            Measure("the whole run", "s", whole_run),
            Measure("peak memory", "MB", lambda sample: sample["peak_mb"]),
        )
        turns = [cell(code), cell("FINAL(str(found))")]
        task = work(turns, str(10 * mb), mb=mb, is_watched=True, javascript=(javascript,))
        cases.append(Case(f"{mb} MB", ("plain", "client", *OURS, *PEERS), task, measures))
    return cases


def imports(scale: float) -> list[Case]:
    """An import of the package (plain: of langchain_openai), and all until there is a graph."""
    measures = (
        Measure("import", "s", lambda sample: sample["report"]["import_s"], (Aim(0.15, "value"),)),
        Measure(
            "import, clients and graph",
            "s",
            lambda sample: sample["report"]["ready_s"],
            (Aim(0.6, "value"),),
        ),
    )
    sides = ("plain", "client", "package", *PEERS)
    return [Case("a new process", sides, work([], ""), measures, runs=3 if scale == 1 else 1)]


def size(scale: float) -> list[Case]:
    """The SQLite file after calls over 10 MB, in a batch and one after another.

    Prompts have 10 KB, replies 200 bytes.
    """
    whole = round(1000 * scale)
    start = f"size = len(context) // {whole}\n"
    at_once = start + f"replies = llm_query_batched([{PROMPT} for i in range({{calls}})])"
    loop = (
        start + f"replies = []\nfor i in range({{calls}}):\n    replies.append(llm_query({PROMPT}))"
    )
    return [
        _size(name, code, calls, scale, aim)
        for name, code, aim in (("batch", at_once, 3), ("loop", loop, 10))
        for calls in (whole // 4, whole // 2, whole)
    ]


def _size(name: str, code: str, calls: int, scale: float, aim: float) -> Case:
    aims = (Aim(aim, "value", "sqlite"),) if calls == 1000 else ()
    measures = (
        Measure("SQLite file", "MB", lambda sample: sample["db_bytes"] / 1e6, aims),
        Measure("a call in it", "KB", lambda sample: sample["db_bytes"] / 1e3 / calls),
        Measure("blob store", "MB", lambda sample: sample["store_bytes"] / 1e6),
    )
    turns = [cell(code.replace("{calls}", str(calls))), cell("FINAL(str(len(replies)))")]
    task = work(turns, str(calls), sub_chars=200, mb=10 * scale)
    return Case(f"{name} of {calls}", ("sqlite",), task, measures)


OVER_HTTP: dict[str, Callable[[float], list[Case]]] = {
    "iteration": iteration,
    "fanout": fan_out,
    "atonce": at_once,
    "sequential": sequential,
    "context": context,
    "import": imports,
    "size": size,
}
