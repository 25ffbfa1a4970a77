"""Files back: what code writes into `out/` is the user's, in every sandbox, after a kill, and whatever else stands there."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_rlm import BlobError, BlobStore, ContextError, read_file, save_files
from langgraph_rlm.repl import snapshots
from langgraph_rlm.testing import ScriptedModel, cell, load_run, replay_run, save_run
from tests.jails import SANDBOXES, needs_a_jail

from .models import rlm, root, shown, thread
from .test_heavy_cells import Counting

FOLDER = Path(__file__).parent.parent
WRITES = """
with open("out/b.csv", "w") as file:
    file.write("a,b")
import os
os.mkdir("out/sub")
with open("out/sub/a.bin", "wb") as file:
    file.write(b"\\x00\\xff")
"""
GOES_ON = """
import os
os.remove("out/b.csv")
with open("out/sub/a.bin", "ab") as file:
    file.write(b"!")
FINAL(sorted(os.listdir("out")))
"""


def names(out: Any) -> list[str]:
    return [file["name"] for file in out["files"]]


def in_new_process(folder: Path, sandbox: str, kill: str) -> tuple[int, Any]:
    """A run of `tests/out_process.py`: its exit code, and what it printed."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.out_process", str(folder), sandbox]
    done = subprocess.run([*command, kill], cwd=FOLDER, capture_output=True, text=True, timeout=100)
    return done.returncode, json.loads(done.stdout or "null")


class TestEverySandbox:
    @pytest.mark.parametrize("sandbox", SANDBOXES)
    def test_what_code_writes_is_in_the_output_sorted_by_name(self, sandbox: str) -> None:
        model = root(WRITES, "FINAL('done')")
        out = rlm(model, sandbox=sandbox).invoke({"query": "?", "context": "x"})
        assert [(f["name"], f["type"], f["size"]) for f in out["files"]] == [
            ("b.csv", "text/csv", 3),
            ("sub/a.bin", "application/octet-stream", 2),
        ]
        assert [read_file(file) for file in out["files"]] == [b"a,b", b"\x00\xff"]
        assert "out/" in model.prompts[0][0].text
        told = shown(model, 1)
        assert "In out/, for the user: b.csv (3 bytes), sub/a.bin (2 bytes)" in told

    @pytest.mark.parametrize("sandbox", SANDBOXES)
    def test_a_following_question_finds_them_and_changes_them(self, sandbox: str) -> None:
        """The interpreter of the first question is gone by then: its files are there again."""
        saver = InMemorySaver()
        first = rlm(root(f"{WRITES}\nFINAL('done')"), sandbox=sandbox, checkpointer=saver)
        assert names(first.invoke({"query": "?", "context": "x"}, thread())) == [
            "b.csv",
            "sub/a.bin",
        ]
        first.rlm.sessions.drop_all()
        second = rlm(root("", GOES_ON), sandbox=sandbox, checkpointer=saver)
        out = second.invoke({"query": "?"}, thread())
        assert (json.loads(out["answer"]), names(out)) == (["sub"], ["sub/a.bin"])
        assert read_file(out["files"][0]) == b"\x00\xff!"

    @pytest.mark.parametrize(
        ("sandbox", "kill"),
        [
            pytest.param("monty", "inside", marks=pytest.mark.slow),
            pytest.param("monty", "between", marks=pytest.mark.slow),
            pytest.param("local", "between", marks=pytest.mark.slow),
            pytest.param("local", "inside", marks=pytest.mark.slow),
            pytest.param("python", "between", marks=[needs_a_jail, pytest.mark.slow]),
            pytest.param("python", "inside", marks=needs_a_jail),
        ],
    )
    def test_a_run_that_is_killed_gives_the_same_files(
        self, tmp_path: Path, sandbox: str, kill: str
    ) -> None:
        """A spreadsheet and a chart are written; the process dies after the cells, or within one."""
        if sandbox != "monty":
            pytest.importorskip("openpyxl")
            pytest.importorskip("matplotlib")
        code, _ = in_new_process(tmp_path, sandbox, kill)
        assert code == -9
        code, told = in_new_process(tmp_path, sandbox, kill)
        assert code == 0
        assert len(told["logged"]) == 2
        assert told["logged"].items() < told["files"].items()
        assert told["in_out"] == told["files"]
        assert told["saved"] == sorted(told["files"])
        assert "files_differ" not in told["events"]


class TestReplay:
    def test_a_snapshot_in_the_middle_of_a_cell_has_what_the_cell_had_written(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(snapshots, "AFTER_SECONDS", 0.0)
        code = (
            "open('out/a', 'w').write('one')\nprice()\nf = open('out/a', 'a')\n"
            "f.write(' two')\nf.close()\nFINAL(open('out/kept').read())"
        )

        def price() -> int:
            """Give the price."""
            return 1

        def graph(saver: Any) -> tuple[Any, Counting]:
            sandbox = Counting()
            model = root("open('out/kept', 'w').write('kept')", code)
            options = {"tools": [price], "interrupt_on": {"price": True}, "sandbox": sandbox}
            return rlm(model, checkpointer=saver, **options), sandbox

        saver = InMemorySaver()
        first, _ = graph(saver)
        first.invoke({"query": "?", "context": "x"}, thread())
        first.rlm.sessions.drop_all()
        second, sandbox = graph(saver)
        out = second.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread())
        assert (sandbox.loaded, sandbox.opened) == (1, 0)
        assert out["answer"] == "kept"
        assert {file["name"]: read_file(file) for file in out["files"]} == {
            "a": b"one two",
            "kept": b"kept",
        }

    def test_other_bytes_than_the_log_has_are_told_and_those_of_the_log_stand(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """`time.monotonic` is one of the few things that are real."""
        saver = InMemorySaver()
        now = "import time\nopen('out/t', 'w').write(str(time.monotonic_ns()))\nprint(1)"
        first = rlm(root(now, "FINAL(1)"), sandbox="local", checkpointer=saver)
        out = first.invoke({"query": "?", "context": "x"}, thread())
        first.rlm.sessions.drop_all()
        second = rlm(root("", "FINAL(open('out/t').read())"), sandbox="local", checkpointer=saver)
        with caplog.at_level(logging.WARNING, "langgraph_rlm.repl"):
            parts = list(second.stream({"query": "?"}, thread(), stream_mode=["custom", "values"]))
        events = [part for mode, part in parts if mode == "custom"]
        (differ,) = [event for event in events if event["type"] == "files_differ"]
        assert (differ["place"], differ["names"]) == ("0.0", ["t"])
        assert "wrote other bytes: 't'" in caplog.text
        last: Any = parts[-1][1]
        assert last["files"] == out["files"]
        assert last["answer"] == read_file(out["files"][0]).decode()

    def test_a_cell_that_is_rolled_back_leaves_no_files(self) -> None:
        model = root(
            "open('out/a', 'w').write('a')",
            "open('out/b', 'w').write('b')\nwhile True:\n    pass",
            "import os\nFINAL(os.listdir('out'))",
        )
        graph = rlm(model, limits={"max_cell_seconds": 0.3})
        out = graph.invoke({"query": "?", "context": "x"})
        assert (out["answer"], names(out)) == ('["a"]', ["a"])

    def test_a_saved_run_replays_without_the_bytes_of_its_files(self, tmp_path: Path) -> None:
        saver = InMemorySaver()
        graph = rlm(root(f"{WRITES}\nFINAL('done')"), checkpointer=saver)
        graph.invoke({"query": "?", "context": "x"}, thread())
        save_run(graph, thread(), tmp_path / "run.json")
        assert load_run(tmp_path / "run.json")["root"]["log"]["0.0"].get("files")
        assert replay_run(tmp_path / "run.json", blob_store=tmp_path / "none").cells == 1

    def test_turns_of_before_have_no_out(self) -> None:
        """Code that asked for the folder was refused then, and is refused again."""
        saver = InMemorySaver()
        code = "try:\n    open('out/a', 'w')\nexcept PermissionError as error:\n    print(error)"
        first = rlm(root(code, "FINAL(1)"), checkpointer=saver)
        first.invoke({"query": "?", "context": "x"}, thread())
        state = first.get_state(thread()).values
        turn = {**state["log"]["0"], "rules": 3}
        old = {key: value for key, value in state["log"]["0.0"].items() if key != "files"}
        from langgraph_rlm.repl.divergence import outcome_digest

        said = "Permission denied: '/out/a'\n"
        old |= {"digest": outcome_digest(said, None, None), "stdout": {"text": said}}
        first.update_state(thread(), {"log": {"0": turn, "0.0": old}})
        second = rlm(root("", "", "FINAL(2)"), checkpointer=saver)
        assert second.invoke({"query": "?"}, thread())["answer"] == "2"


class TestRunsWithoutFiles:
    def test_they_give_an_empty_list_and_their_checkpoints_have_nothing_of_it(self) -> None:
        saver = InMemorySaver()
        model = root("print(1)", "FINAL(1)")
        out = rlm(model, checkpointer=saver).invoke({"query": "?", "context": "x"}, thread())
        assert out["files"] == []
        saved = [item.checkpoint for item in saver.list(thread())]
        assert saved
        assert not [one for one in saved if "files" in one["channel_versions"]]
        log = saved[0]["channel_values"].get("log") or {}
        assert not [entry for entry in log.values() if "files" in entry or "left_out" in entry]
        assert "out/" not in shown(model, 1)

    def test_children_have_no_out_and_are_told_of_none(self) -> None:
        child = root("try:\n    open('out/a', 'w')\nexcept PermissionError:\n    FINAL('none')")
        graph = rlm(root("FINAL(rlm_query('?'))"), sub=child, limits={"max_depth": 2})
        out = graph.invoke({"query": "?", "context": "x"})
        assert (out["answer"], out["files"]) == ("none", [])
        assert "out/" not in child.prompts[0][0].text


class TestLimits:
    def test_what_is_too_large_is_not_taken_and_the_model_is_told(self) -> None:
        model = root("open('out/a', 'w').write('a' * 60)", "open('out/b', 'w').write('b' * 60)")
        model.replies = [*model.replies, cell("FINAL(1)")]
        graph = rlm(model, sandbox="local", limits={"max_out_bytes": 100})
        out = graph.invoke({"query": "?", "context": "x"})
        assert names(out) == ["a"]
        told = shown(model, 2)
        assert "'b': 60 bytes are too many: 40 are left for this question" in told

    def test_each_version_of_a_file_counts(self) -> None:
        codes = [f"open('out/a', 'w').write('{letter}' * 40)" for letter in "abc"]
        model = root(*codes, "FINAL(1)")
        graph = rlm(model, sandbox="local", limits={"max_out_bytes": 100})
        out = graph.invoke({"query": "?", "context": "x"})
        assert names(out) == []
        assert "a is gone" in shown(model, 3)

    def test_monty_may_write_no_more(self) -> None:
        code = "try:\n    open('out/a', 'w').write('a' * 200)\nexcept OSError as error:\n    FINAL(str(error))"
        out = rlm(root(code), limits={"max_out_bytes": 100}).invoke({"query": "?", "context": "x"})
        assert "limit" in out["answer"]


class TestSaving:
    @pytest.fixture
    def out(self) -> Any:
        graph = rlm(root(f"{WRITES}\nFINAL('done')"))
        return graph.invoke({"query": "?", "context": "x"})

    def test_files_are_saved_with_their_folders(self, out: Any, tmp_path: Path) -> None:
        saved = save_files(out["files"], tmp_path / "new")
        assert saved == [tmp_path / "new/b.csv", tmp_path / "new/sub/a.bin"]
        assert [path.read_bytes() for path in saved] == [b"a,b", b"\x00\xff"]

    def test_nothing_is_written_over(self, out: Any, tmp_path: Path) -> None:
        (tmp_path / "b.csv").write_text("mine")
        (tmp_path / "b (2).csv").symlink_to(tmp_path / "elsewhere")
        for _ in range(2):  # the second time, the same bytes are there
            saved = save_files(out["files"], tmp_path)
            assert saved[0] == tmp_path / "b (3).csv"
        assert (tmp_path / "b.csv").read_text() == "mine"
        assert not (tmp_path / "elsewhere").exists()

    @pytest.mark.parametrize(
        "name", ["../x", "/etc/x", "a/../../x", "", "a//b", "x\ny", "CON", "a\\b", ".ssh/x", "a:b"]
    )
    def test_a_name_that_leads_elsewhere_is_refused(
        self, out: Any, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(ContextError, match="not the name"):
            save_files([{**out["files"][0], "name": name}], tmp_path)

    def test_a_link_that_leads_outside_is_refused(self, out: Any, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "new").mkdir()
        (tmp_path / "new/sub").symlink_to(tmp_path / "other")
        with pytest.raises(ContextError, match="outside"):
            save_files(out["files"], tmp_path / "new")
        assert not os.listdir(tmp_path / "other")

    def test_a_file_whose_bytes_are_gone_is_named(self, out: Any, tmp_path: Path) -> None:
        with pytest.raises(BlobError, match=out["files"][0]["digest"]):
            save_files(out["files"], tmp_path, blob_store=BlobStore.open(tmp_path / "none"))

    def test_a_file_is_the_context_of_another_question(self, out: Any, tmp_path: Path) -> None:
        (path, _) = save_files(out["files"], tmp_path)
        for context in (path, read_file(out["files"][0])):
            given = rlm(ScriptedModel(replies=[cell("FINAL(context)")]))
            assert given.invoke({"query": "?", "context": context})["answer"] == "a,b"
