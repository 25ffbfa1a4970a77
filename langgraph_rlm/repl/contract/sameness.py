"""Promises about sameness: two sessions of one spec do the same, so that a log can be replayed."""

import re
import time

from langgraph_rlm.repl.base import Outcome, Raised, Returned, Session, Suspended
from langgraph_rlm.repl.contract.check import SPEC, Opener, Promises, equal, gives, holds, ran

promise = Promises()

CELLS = (
    """
import random, time, datetime
items = {'pear', 'apple', 'fig', 'kiwi'}
print(items, list(items), hash('apple'))""",
    """
print(random.random(), random.randint(1, 1000), random.choice('abcdef'))
rows = list(range(20))
random.shuffle(rows)
rows""",
    "print(time.time(), datetime.datetime.now(), datetime.date.today())",
    "replies = [llm_query(f'{name} {random.random()}') for name in items]\nreplies",
    "time.sleep(0.01)\ntime.time()",
    """
counts = {}
for reply in replies:
    counts[reply] = counts.get(reply, 0) + 1
print(counts)
1 / 0""",
    "try:\n    tool(sorted(counts))\nexcept ValueError as error:\n    print('caught', error)",
    "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nf(15)",
    "import re, json\njson.dumps(re.findall('[a-z]+', context))",
    "print(sorted(items, key=hash), f)",
    "x = [tool]\nx[0]({'b', 'a'})",
)
"""Cells that show whatever often differs from run to run: order, chance, time, replies."""

CLOCK_CODE = """
from datetime import datetime, timezone
import time
[time.time(), str(datetime.now()), str(datetime.now(timezone.utc))]"""


@promise
def the_same_cells_do_the_same(open_session: Opener) -> None:
    """Two sessions of one spec that get the same cells and answers do the same.

    Addresses that an interpreter prints are left out: the replay ignores them too.
    """
    first, second = _transcript(open_session()), _transcript(open_session())
    equal(first, second)


@promise
def the_clock_stands_still(open_session: Opener) -> None:
    """Every clock of every session shows the instant of the spec, however long it runs."""
    shown = [SPEC.clock.timestamp(), "2026-01-02 03:04:05", "2026-01-02 03:04:05+00:00"]
    session = open_session()
    gives(session, CLOCK_CODE, shown)
    time.sleep(0.05)
    gives(session, CLOCK_CODE, shown)
    gives(open_session(), CLOCK_CODE, shown)


@promise
def sleeping_takes_no_time(open_session: Opener) -> None:
    """`time.sleep(60)` returns at once, and the stopwatches stand still."""
    code = "import time\nt = time.perf_counter()\ntime.sleep(60)\ntime.perf_counter() - t"
    started = time.monotonic()
    gives(open_session(), code, 0)
    seconds = time.monotonic() - started
    holds(seconds < 30, f"it took {seconds:.0f} seconds")


@promise
def the_seed_decides_chance(open_session: Opener) -> None:
    """`random` gives the same in sessions of one seed, and something else with another seed."""
    code = (
        "import random\n[random.random(), random.randint(0, 10**6), random.sample(range(100), 3)]"
    )
    first = ran(open_session(seed="a"), code).value
    gives(open_session(seed="a"), code, first)
    other = ran(open_session(seed="b"), code).value
    holds(other != first, f"another seed gives {other!r} too")


def _transcript(session: Session) -> str:
    """Run the cells, and give all outcomes and calls as text. Each `tool` call fails."""
    told: list[Outcome] = []
    for code in CELLS:
        outcome = session.feed(code)
        while isinstance(outcome, Suspended):
            told.append(outcome)
            reply = f"r{len(told) % 2}"
            failed = outcome.call.function == "tool"
            outcome = session.resume(Raised("ValueError", "no") if failed else Returned(reply))
        told.append(outcome)
    return re.sub(r"0x[0-9a-f]+", "", repr(told))
