"""The command lists, forgets and prunes threads: of its own database, of the server's, of PostgreSQL."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from langgraph.checkpoint.sqlite import SqliteSaver

from langgraph_rlm.cli.kept_options import REMEMBERED
from langgraph_rlm.cli.main import main
from langgraph_rlm.storage.backends import backend_at

from .faults.databases import CannotStart, Postgres
from .models import rlm, root, thread


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with threads `new`, and `old`, which is two days old."""
    path = tmp_path / "threads.db"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        for name in ("old", "new"):
            ask(saver, name)
    return path


def ask(saver: Any, name: str, **metadata: str) -> None:
    graph = rlm(root("FINAL(len(context))"), checkpointer=saver)
    config = {**thread(name), "metadata": metadata}
    graph.invoke({"query": f"{name}: how long?\n\x1b[31mred", "context": f"{name} " * 1000}, config)


@pytest.fixture
def command(db: Path) -> Callable[..., Result]:
    def run(*arguments: str, input: str | None = None) -> Result:
        name, *more = arguments
        return CliRunner().invoke(main, [name, "--db", str(db), *more], input=input)

    return run


def age(tmp_path: Path) -> None:
    then = time.time() - 3 * 3600
    for path in (tmp_path / "blobs").glob("??/*"):
        os.utime(path, (then, then))


def blobs(tmp_path: Path) -> int:
    return len([*backend_at(str(tmp_path / "blobs")).blobs()])


def test_threads_are_listed_for_people_and_for_scripts(command: Callable[..., Result]) -> None:
    done = command("threads")
    assert done.exit_code == 0
    lines = [line for line in done.stdout.splitlines() if "how long?" in line]
    assert [line.split()[0] for line in lines] == ["new", "old"]
    assert all("done" in line and "KB" in line for line in lines)
    assert "\x1b" not in done.stdout
    listed = json.loads(command("threads", "--json").stdout)["threads"]
    assert [each["id"] for each in listed] == ["new", "old"]
    assert listed[0]["state"] == "done"
    assert listed[0]["question"].startswith("new: how long?")
    assert listed[0]["bytes"] > 4000


def test_forgetting_asks_first_and_says_what_is_freed(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    age(tmp_path)
    for answer in ("n\n", ""):
        refused = command("forget", "old", input=answer)
        assert refused.exit_code == 1
        assert "Delete 1 thread for ever?" in refused.stderr
        assert "Nothing was deleted" in refused.stderr
        assert blobs(tmp_path) == 2
    done = command("forget", "old", input="y\n")
    assert done.stdout.startswith("Deleted 1 thread with ")
    assert "and 1 stored value (4.0 KB)." in done.stdout
    assert blobs(tmp_path) == 1
    again = command("forget", "old", "--yes")
    assert again.exit_code == 1
    assert "Error: There is no thread 'old'" in again.stderr


def test_what_is_too_young_is_kept_and_told(command: Callable[..., Result], tmp_path: Path) -> None:
    done = command("forget", "old", "--yes")
    assert "Kept 1 stored value (4.0 KB) that no known thread needs:" in done.stdout
    assert "What was put after" in done.stdout
    assert (
        json.loads(command("prune", "--older-than", "1d", "--json", "--yes").stdout)["blobs"] == 0
    )
    age(tmp_path)
    freed = json.loads(command("prune", "--older-than", "4w", "--json", "--yes").stdout)
    assert (freed["threads"], freed["blobs"], freed["dry_run"]) == ([], 1, False)


def test_pruning_shows_first_what_it_would_delete(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    age(tmp_path)
    dry = command("prune", "--older-than", "0s", "--dry-run")
    assert dry.stdout.startswith("Would delete 2 threads with ")
    assert command("prune", "--older-than", "1h", "--dry-run").stdout.startswith(
        "Would delete 0 th"
    )
    no = command("prune", "--older-than", "0s", input="n\n")
    assert "Delete 2 threads with " in no.stderr
    assert blobs(tmp_path) == 2
    assert command("prune", "--older-than", "0s", "--yes").stdout.startswith("Deleted 2 threads")
    assert blobs(tmp_path) == 0
    assert command("threads").stdout == "There are no threads.\n"


@pytest.mark.parametrize("wrong", ["30", "d", "-1d", "1.5h", "30 days", "1y"])
def test_times_are_a_number_and_a_unit(command: Callable[..., Result], wrong: str) -> None:
    done = command("prune", "--older-than", wrong)
    assert done.exit_code == 2
    assert "write a number and s, m, h, d or w" in done.stderr


def test_each_thread_is_deleted_with_the_store_that_it_was_asked_with(tmp_path: Path) -> None:
    """The command remembers the store of a thread, as a demo has one of its own."""
    db, other = tmp_path / "threads.db", tmp_path / "other"
    with SqliteSaver.from_conn_string(str(db)) as saver:
        ask(saver, "here")
        graph = rlm(root("FINAL(len(context))"), checkpointer=saver, blob_store=other)
        remembered = {REMEMBERED: json.dumps({"blob_store": str(other)})}
        config = {**thread("there"), "metadata": remembered}
        graph.invoke({"query": "q", "context": "there " * 1000}, config)
    arguments = ["--db", str(db), "--yes", "--json", "--grace", "0s"]
    time.sleep(1.1)
    freed = json.loads(CliRunner().invoke(main, ["forget", "there", *arguments]).stdout)
    assert (freed["threads"], freed["blobs"], freed["bytes"]) == (["there"], 1, 6000)
    assert ([*backend_at(str(other)).blobs()], blobs(tmp_path)) == ([], 1)


def test_a_database_that_is_not_there_or_is_none_is_one_line(tmp_path: Path) -> None:
    missing = CliRunner().invoke(main, ["threads", "--db", str(tmp_path / "no.db")])
    assert missing.exit_code == 1
    assert missing.stderr.startswith("Error: There is no database")
    assert not (tmp_path / "no.db").exists()
    (tmp_path / "text").write_text("no database " * 1000)
    wrong = CliRunner().invoke(main, ["threads", "--db", str(tmp_path / "text"), "--json"])
    assert "cannot be opened" in json.loads(wrong.stdout)["error"]["message"]


def test_a_postgresql_url_is_a_database(tmp_path: Path) -> None:
    from langgraph.checkpoint.postgres import PostgresSaver

    try:
        server = Postgres()
    except CannotStart as error:
        pytest.skip(str(error))
    with server, PostgresSaver.from_conn_string(server.url) as saver:
        saver.setup()
        ask(saver, "old")
        age(tmp_path)
        run = CliRunner().invoke
        assert "old" in run(main, ["threads", "--db", server.url]).stdout
        done = run(main, ["prune", "--older-than", "0s", "--yes", "--db", server.url])
        assert done.stdout.startswith("Deleted 1 thread with ")
        assert blobs(tmp_path) == 0
