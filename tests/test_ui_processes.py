"""The page over a database that other processes use: their runs are followed, and go on with answers that the page keeps."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from langgraph_rlm.cli.main import main

from .faults.databases import CannotStart, Postgres
from .test_ui import YES, Page, served

ROOT = Path(__file__).parents[1]


class Processes:
    """Processes over one database."""

    def __init__(self, folder: Path, db: str) -> None:
        self.db = db
        self.ledger = folder / "bought"
        self._env = {**os.environ, "BOUGHT": str(self.ledger)}
        self._running: list[subprocess.Popen[str]] = []

    @property
    def bought(self) -> list[str]:
        """What was bought, and by which process."""
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start a process, and wait for its first line."""
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**self._env, **env},
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._running.append(process)
        return process

    def act(self, act: str, **env: str) -> subprocess.Popen[str]:
        """Start one of the acts of `ui_process.py` on the thread `t`."""
        process = self.start("tests.ui_process", self.db, "t", act, **env)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    def end(self) -> None:
        """End what still runs."""
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Processes over a SQLite file."""
    running = Processes(tmp_path, str(tmp_path / "threads.db"))
    yield running
    running.end()


@contextmanager
def page_of(process: subprocess.Popen[str]) -> Iterator[Page]:
    """The page that a process serves, as its line tells."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("The page is at http://127.0.0.1:"), line
    url, _, token = line.split()[4].partition("/?token=")
    yield Page(url, token)


def follow(processes: Processes, page: Page) -> None:
    """Follow a run of another process to its pause, answer it, and see yet another one end it."""
    starts = processes.act("start")
    page.wait(lambda: page.get("/api/threads/t/records").status_code == 200)
    with page.reader() as reader:
        replies = reader.until(
            lambda r: [each for each in r.records.values() if each["type"] == "reply"]
        )
        assert replies
        reader.until(lambda r: r.state.get("state") == "paused")
        assert starts.wait(30) == 0
        (pause,) = page.pauses()
        waits = processes.act("wait")
        time.sleep(0.2)
        assert page.state() == "paused"  # who waits holds nothing
        told = page.post("/api/threads/t/answers", {"answers": {pause["interrupt"]: YES}})
        assert told.json()["runs"] is False
        again = page.post("/api/threads/t/answers", {"answers": {pause["interrupt"]: YES}})
        assert again.status_code == 409
        reader.until(lambda r: r.state.get("state") == "done")
        assert waits.wait(30) == 0
        assert processes.bought == [f"tea {waits.pid}"]
        assert reader.records["trace"]["answer"] == '[3,"tea"]'


def test_a_run_of_another_process_is_followed_and_answered(processes: Processes) -> None:
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(processes.db) as saver:
        saver.setup()
        with served(saver) as page:
            follow(processes, page)


@pytest.mark.slow
def test_and_so_it_is_with_postgresql(tmp_path: Path) -> None:
    from langgraph.checkpoint.postgres import PostgresSaver

    try:
        server = Postgres()
    except CannotStart as reason:
        pytest.skip(f"no PostgreSQL server: {reason}")
    with server, PostgresSaver.from_conn_string(server.url) as saver:
        saver.setup()
        processes = Processes(tmp_path, server.url)
        try:
            with served(saver) as page:
                follow(processes, page)
        finally:
            processes.end()


@pytest.mark.slow
def test_the_command_keeps_answers_and_a_process_with_the_tools_takes_them(
    processes: Processes,
) -> None:
    """`langgraph-rlm ui` on the database alone; then `serve_ui` of the process with the graph."""
    assert processes.act("start").wait(30) == 0
    command = processes.start(
        "langgraph_rlm", "ui", "--db", processes.db, "--port", "0", "--no-open"
    )
    with page_of(command) as page:
        (pause,) = page.pauses()
        (listed,) = page.get("/api/threads").json()["threads"]
        assert (listed["id"], listed["state"]) == ("t", "paused")
        page.post("/api/threads/t/answers", {"answers": {pause["interrupt"]: YES}})
        with page.reader() as reader:
            reader.until(lambda r: r.state.get("answers"))
            command.send_signal(signal.SIGINT)
            assert command.wait(15) in (0, 130)  # it does not wait for the page that still follows
    serves = processes.start("tests.ui_process", processes.db, "t", "serve")
    with page_of(serves) as page:
        assert page.state() == "paused" and not processes.bought
        assert page.post("/api/threads/t/continue").status_code == 202
        page.wait(lambda: page.state() == "done")
        assert processes.bought == [f"tea {serves.pid}"]


@pytest.mark.slow
def test_a_graph_that_is_named_runs_the_threads_and_is_resumable_when_the_page_ends(
    processes: Processes,
) -> None:
    named = ("--graph", "tests.ui_process:graph", "--port", "0", "--no-open")
    first = processes.start("langgraph_rlm", "ui", "--db", processes.db, *named)
    with page_of(first) as page:
        name = page.post("/api/threads", {"question": "shop"}).json()["id"]
        page.wait(lambda: page.records(name).get("trace", {}).get("state") == "running")
        first.send_signal(signal.SIGTERM)
        assert first.wait(15) == 0
    second = processes.start("langgraph_rlm", "ui", "--db", processes.db, *named)
    with page_of(second) as page:
        assert page.state(name) == "stopped"
        assert page.post(f"/api/threads/{name}/continue").status_code == 202
        (pause,) = page.wait(lambda: page.state(name) == "paused" and page.pauses(name))
        answers = {"answers": {pause["interrupt"]: YES}}
        assert page.post(f"/api/threads/{name}/answers", answers).json()["runs"] is True
        page.wait(lambda: page.state(name) == "done")
    assert processes.bought == [f"tea {second.pid}"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "LANGGRAPH_RLM_API_KEY"),
        (("--db", "/nowhere/at/all.db"), "/nowhere/at/all.db"),
        (("--graph", "tests.ui_process:nothing"), "has no 'nothing'"),
        (("--graph", "tests.ui_process:graph", "--model", "openai:x"), "give no --model"),
        (("--host", "203.0.113.1", "--allow-host", "x"), "anybody on them could answer"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(main, ["ui", "--no-open", "--port", "0", *arguments])
    assert done.exit_code in (1, 2) and said in done.stderr, done.stderr


@pytest.mark.slow
def test_a_key_of_the_environment_is_the_token_and_is_not_printed(processes: Processes) -> None:
    key = "a-key-of-the-environment"
    process = processes.start(
        "langgraph_rlm", "ui", "--db", processes.db, "--port", "0", "--no-open", "-m", "offline:3",
        LANGGRAPH_RLM_API_KEY=f"{key},another",
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert key not in line and "$LANGGRAPH_RLM_API_KEY" in line
    url = line.split()[4].partition("/?token=")[0]
    for given, status in ((key, 200), ("another", 200), ("other", 401)):
        told = httpx.get(f"{url}/api/threads", headers={"authorization": f"Bearer {given}"})
        assert told.status_code == status
