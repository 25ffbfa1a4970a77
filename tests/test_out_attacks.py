"""Files back, from code that means harm: nothing outside `out/` is read, no name leads elsewhere, and the host neither waits nor fills up."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from langgraph_rlm.repl import out_look
from langgraph_rlm.repl.out_look import Changed, TooMany, listing_of, opened_folder, read_of
from tests.jails import needs_a_jail

from .models import rlm, root, shown

GOOD = "open('out/good', 'w').write('good')\n"


def given(code: str, sandbox: str = "local", **limits: Any) -> tuple[list[str], str]:
    """The names of the files that code gives beside a good one, and what the model is told."""
    model = root(f"import os\n{GOOD}{code}", "FINAL(1)")
    out = rlm(model, sandbox=sandbox, limits=limits).invoke({"query": "?", "context": "x"})
    return [file["name"] for file in out["files"]], shown(model, 1)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("os.symlink('/etc/passwd', 'out/x')", "'x': it is a link"),
        ("os.symlink('/etc', 'out/x')", "'x': it is a link"),
        ("os.symlink('/dev/zero', 'out/x')", "'x': it is a link"),
        ("open('y', 'w')\nos.link('y', 'out/x')", "'x': it is a hard link"),
        ("os.mkfifo('out/x')", "'x': it is a link or a device"),
        ("import socket\nsocket.socket(socket.AF_UNIX).bind('out/x')", "'x': it is a link or a"),
        ("open('out/a\\nb', 'w')", "'a\\nb': its name has characters"),
        ("open('out/\\u202egnp.exe', 'w')", "its name has characters that cannot be shown"),
        ("open(b'out/\\xff', 'w')", "'\\udcff': its name has characters"),
        ("open('out/' + 'n' * 255, 'w')", "its name is over 200 bytes"),
        ("open('out/CON.txt', 'w')", "its name is none on Windows"),
        ("open('out/a:b', 'w')", "its name is none on Windows"),
        ("open('out/a\\\\b', 'w')", "its name is none on Windows"),
        ("open('out/.bashrc', 'w')", "its name begins with a dot"),
        ("os.makedirs('out/.git/hooks')\nopen('out/.git/hooks/x', 'w')", "'.git': its name begins"),
        ("open('out/-rf', 'w')", "its name begins with"),
        ("open('out/GOOD', 'w')", "'good': its name differs from another one in case alone"),
        ("os.makedirs('out/' + '/'.join('abcdefghij'))", "it is more than 8 folders deep"),
        ("open('out/x', 'w').truncate(1 << 40)", "1,099,511,627,776 bytes are too many"),
    ],
)
def test_what_is_not_taken_is_told_and_the_rest_is_taken(code: str, told: str) -> None:
    found, said = given(code)
    assert len(found) == 1
    assert found[0].lower() == "good"
    assert told in said


@pytest.mark.parametrize("sandbox", ["local", pytest.param("python", marks=needs_a_jail)])
@pytest.mark.parametrize(
    "code",
    [
        "import shutil\nshutil.rmtree('out')\nos.symlink('/etc', 'out')",
        "import shutil\nshutil.rmtree('out')\nopen('out', 'w').write('a file')",
    ],
)
def test_out_itself_may_be_something_else(sandbox: str, code: str) -> None:
    found, said = given(code, sandbox)
    assert not found
    assert "'out/': it is not a folder that can be read" in said


@pytest.mark.parametrize("sandbox", ["local", pytest.param("python", marks=needs_a_jail)])
def test_out_may_be_removed_and_made_again(sandbox: str) -> None:
    code = "import shutil\nshutil.rmtree('out')\nos.mkdir('out')\nopen('out/new', 'w').write('n')"
    assert given(code, sandbox)[0] == ["new"]


def test_out_that_was_removed_is_there_again_in_the_next_cell() -> None:
    model = root("import os, shutil\nshutil.rmtree('out')", "FINAL(os.listdir('out'))")
    out = rlm(model, sandbox="local").invoke({"query": "?", "context": "x"})
    assert (out["answer"], out["files"]) == ("[]", [])


def test_of_many_files_the_first_are_taken() -> None:
    found, said = given("for n in range(600):\n    open(f'out/{n:03}', 'w')")
    assert (len(found), found[0], found[-1]) == (500, "000", "499")
    assert "there are over 500 files; pack them into one" in said
    assert "and 96 more" in said


def test_of_more_entries_than_are_looked_at_nothing_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(out_look, "MAX_SEEN", 50)
    found, said = given("for n in range(60):\n    os.mkdir(f'out/{n}')")
    assert not found
    assert "no change in it is taken" in said


def test_monty_makes_at_most_2000_files_in_a_cell() -> None:
    code = "for n in range(3000):\n    open(f'out/{n}', 'w')"
    found, said = given(code, "monty")
    assert len(found) == 500
    assert "at most 2,000 files" in said


class TestRaces:
    """Code of which the host does not know that it stands still."""

    def changed(self, folder: Path, change: Callable[[], object], *, begun: bool) -> str:
        """Why a listed file is not taken that changes before, or while, it is read."""
        with opened_folder(str(folder)) as handle:
            ((name, status),) = listing_of(handle).files.items()
            chunks = read_of(handle, name, status)
            if begun:
                next(chunks)
            change()
            with pytest.raises(Changed) as why:
                list(chunks)
            return str(why.value)

    @pytest.mark.parametrize("begun", [False, True])
    def test_a_file_that_is_written_meanwhile(self, tmp_path: Path, begun: bool) -> None:
        (tmp_path / "a").write_bytes(b"x" * (3 << 20))

        def grow() -> None:
            with (tmp_path / "a").open("ab") as file:
                file.write(b"more")

        assert "written while" in self.changed(tmp_path, grow, begun=begun)

    def test_a_file_that_is_cut_meanwhile(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"x" * (3 << 20))
        cut = lambda: os.truncate(tmp_path / "a", 1 << 20)  # noqa: E731
        assert "written while" in self.changed(tmp_path, cut, begun=True)

    @pytest.mark.parametrize("target", ["link", "fifo", "socket", "nothing"])
    def test_a_file_that_becomes_something_else(self, tmp_path: Path, target: str) -> None:
        (tmp_path / "a").write_text("x")

        def swap() -> None:
            (tmp_path / "a").unlink()
            if target == "link":
                (tmp_path / "a").symlink_to("/etc/passwd")
            elif target == "fifo":
                os.mkfifo(tmp_path / "a")
            elif target == "socket":
                with socket.socket(socket.AF_UNIX) as one:
                    one.bind(str(tmp_path / "a"))

        started = time.monotonic()
        assert self.changed(tmp_path, swap, begun=False)
        assert time.monotonic() - started < 5

    def test_a_folder_that_becomes_a_link(self, tmp_path: Path) -> None:
        out, other = tmp_path / "out", tmp_path / "other"
        for folder in (out / "sub", other):
            folder.mkdir(parents=True)
            (folder / "a").write_text("secret")

        def swap() -> None:
            (out / "sub/a").unlink()
            (out / "sub").rmdir()
            (out / "sub").symlink_to(other)

        assert "cannot be read" in self.changed(out, swap, begun=False)


def test_a_hundred_thousand_files_are_not_looked_through(tmp_path: Path) -> None:
    for number in range(10_001):
        (tmp_path / str(number)).touch()
    with opened_folder(str(tmp_path)) as folder, pytest.raises(TooMany):
        listing_of(folder)
