"""Promises about files: what code writes into `out/`, where a session is a `Writing`."""

import os
from pathlib import Path

from langgraph_rlm.repl.base import Session, Writing
from langgraph_rlm.repl.contract.check import Opener, Promises, equal, gives, holds, ran

promise = Promises()

WRITES = """
with open("out/table.csv", "w") as file:
    file.write("é,1")
with open("out/bytes", "wb") as file:
    file.write(b"\\x00\\xff")
llm_query("a")
with open("out/table.csv", "a") as file:
    file.write(",2")"""


def _folder_of(session: Session, open_session: Opener) -> Path | None:
    """Give the folder of a session; None where the backend has none, and promises nothing here."""
    if open_session.gives_files and isinstance(session, Writing):
        return Path(session.out_folder())
    return None


@promise
def out_begins_empty(open_session: Opener) -> None:
    """`out/` is there for code, empty, and no other session's; asking for it again empties none."""
    first, second = open_session(), open_session()
    if (folder := _folder_of(first, open_session)) is None or (
        other := _folder_of(second, open_session)
    ) is None:
        return
    gives(first, "import os\nos.listdir('out')", [])
    ran(first, "with open('out/a', 'w') as file:\n    file.write('a')")
    equal([_folder_of(first, open_session), os.listdir(folder)], [folder, ["a"]])
    equal(os.listdir(other), [])
    gives(second, "import os\nos.listdir('out')", [])


@promise
def what_code_writes_is_in_out(open_session: Opener) -> None:
    """What a cell has written is in the folder of the host once the cell has ended."""
    session = open_session()
    if (folder := _folder_of(session, open_session)) is None:
        return
    ran(session, WRITES, "reply")
    equal((folder / "table.csv").read_text(encoding="utf-8"), "é,1,2")
    equal((folder / "bytes").read_bytes(), b"\x00\xff")


@promise
def what_the_host_puts_into_out_is_there(open_session: Opener) -> None:
    """Code reads what the host has put into the folder between cells."""
    session = open_session()
    if (folder := _folder_of(session, open_session)) is None:
        return
    for name in "bca":
        (folder / name).write_text(name)
    gives(
        session,
        "import os\n[sorted(os.listdir('out')), open('out/b').read()]",
        [["a", "b", "c"], "b"],
    )


@promise
def out_goes_with_its_session(open_session: Opener) -> None:
    """Once a session is closed, its folder is gone."""
    session = open_session()
    if (folder := _folder_of(session, open_session)) is None:
        return
    ran(session, "with open('out/a', 'w') as file:\n    file.write('a')")
    session.close()
    holds(not folder.exists(), f"{folder} is still there")
