"""Watch: a step that takes too long is ended, whatever else is watched; one that ends in time never is."""

import threading
import time

from langgraph_rlm.repl.watch import Watch


class Step:
    """A session that notes when it was killed."""

    def __init__(self) -> None:
        self.killed = threading.Event()

    def kill(self) -> None:
        self.killed.set()


def test_each_watch_fires_for_its_own_session_alone() -> None:
    """A later watch that is due earlier wakes the thread that minds them."""
    long, short = Step(), Step()
    slow, quick = Watch(long, 60), Watch(short, 0.05)  # type: ignore[arg-type]
    with slow:
        with quick:
            assert short.killed.wait(10)
        assert quick.fired
        assert not slow.fired and not long.killed.is_set()
    assert quick.seconds >= 0.05


def test_a_step_that_ends_in_time_is_left_alone() -> None:
    step = Step()
    for _ in range(100):
        with Watch(step, 0.02):  # type: ignore[arg-type]
            pass
    time.sleep(0.1)
    assert not step.killed.is_set()


def test_time_that_is_up_already_ends_the_step() -> None:
    step = Step()
    with Watch(step, -1.0):  # type: ignore[arg-type]
        assert step.killed.wait(10)


def test_many_at_once() -> None:
    """As many interpreters as run at the same time, each with its own time."""
    steps = [Step() for _ in range(20)]
    watches = [Watch(step, 0.02 if index % 2 else 60) for index, step in enumerate(steps)]  # type: ignore[arg-type]
    for watch in watches:
        watch.__enter__()
    assert all(step.killed.wait(10) for step in steps[1::2])
    for watch in watches:
        watch.__exit__()
    assert [watch.fired for watch in watches] == [False, True] * 10
