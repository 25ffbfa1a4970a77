"""Skill folders: skills as users give them, in the Agent Skills format, checked and stored.

A skill is a folder with a `SKILL.md`: a front matter in YAML with `name` and `description`, and
instructions in Markdown. Other files of it come along. Nothing of it is run or imported here.
Source: agentskills.io/specification.
"""

import os
import re
import stat
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.storage.skills import MAIN, Skill, SkillFile, keep_skills

MAX_MAIN_BYTES = 1 << 20
MAX_FILE_BYTES = 10 << 20
MAX_SKILL_BYTES = 50 << 20
MAX_FILES = 500
"""Most files of one skill, folders among them."""

MAX_SKILLS = 100

MAX_FRONT_CHARS = 16_000
DEEPEST = 20
MAX_NAME = 64
MAX_DESCRIPTION = 1_024

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(?P<front>.*?)\r?\n---[ \t]*(\r?\n|\Z)", re.DOTALL)

LEFT_OUT = ("__pycache__",)
"""Folders that are no part of a skill; nor are hidden files and folders."""


class SkillFolders:
    """The skills of one `create_rlm`. They are read again where their files have changed."""

    def __init__(self, folders: Sequence[str | Path], blobs: BlobStore) -> None:
        """Read the skills.

        Args:
            folders: each is a skill, or has skills as its folders. Of two skills of one name, the
                later one counts.
            blobs: stores them.

        Raises:
            ConfigurationError: a folder is not there, has no skill, or one that is wrong.
        """
        self._folders = [Path(folder) for folder in folders]
        self._blobs = blobs
        self._lock = threading.Lock()
        self._known: tuple[object, str] | None = None
        if self._folders:
            self.now()

    def now(self) -> str | None:
        """Give the digest of the list of skills as they are on disk now; None for none. Blocks.

        Raises:
            ConfigurationError: one of them is wrong.
            BlobError: the store cannot be written.
        """
        if not self._folders:
            return None
        with self._lock:
            found = [Found(path) for folder in self._folders for path in _skills_in(folder)]
            if len(found) > MAX_SKILLS:
                raise ConfigurationError(f"skills= has {len(found)} skills; at most {MAX_SKILLS}.")
            signature = tuple(each.signature for each in found)
            if self._known is None or self._known[0] != signature or not self._has():
                skills = {
                    skill.name: skill for skill in (each.stored(self._blobs) for each in found)
                }
                self._known = signature, keep_skills(list(skills.values()), self._blobs)
            return self._known[1]

    def _has(self) -> bool:
        """Whether the store still has them; they get younger."""
        return self._known is not None and self._blobs.has(self._known[1])


def _skills_in(folder: Path) -> list[Path]:
    """Find the folders of skills: the folder itself, or those in it."""
    if not folder.is_dir():
        raise ConfigurationError(f"skills={str(folder)!r} is no folder.")
    if (folder / MAIN).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{MAIN}"))
    if not found:
        raise ConfigurationError(
            f"skills={str(folder)!r} has no {MAIN}, and neither has a folder in it."
        )
    return found


class Found:
    """The folder of one skill, with the files in it."""

    def __init__(self, folder: Path) -> None:
        """Look at the files. None is opened yet.

        Raises:
            ConfigurationError: they are too many or too large, or one is no ordinary file within
                the folder.
        """
        self.folder = folder
        self._root = folder.resolve()
        self._files = {MAIN: self._checked(folder / MAIN)}
        for path in self._walk(folder):
            self._files.setdefault(path.relative_to(folder).as_posix(), self._checked(path))
        total = sum(found.st_size for found in self._files.values())
        if total > MAX_SKILL_BYTES:
            raise self._wrong(f"it has {total:,} bytes; at most {MAX_SKILL_BYTES:,}")

    @property
    def signature(self) -> object:
        """What changes when a file of it does."""
        files = self._files.items()
        stats = [(name, each.st_ino, each.st_size, each.st_mtime_ns) for name, each in files]
        return str(self.folder), tuple(stats)

    def stored(self, blobs: BlobStore) -> Skill:
        """Store the files, and give the skill. Raises `ConfigurationError`."""
        contents = {name: self._read(name) for name in self._files}
        try:
            text = contents[MAIN].decode()
        except UnicodeDecodeError as error:
            raise self._wrong(f"{MAIN} is not UTF-8: {error}") from None
        front = self._front(text)
        name, description = self._name(front), self._description(front)
        files = [_stored(path, data, blobs) for path, data in contents.items()]
        return Skill(name, description, tuple(files))

    def _walk(self, folder: Path) -> Iterator[Path]:
        todo, seen = [folder], 0
        while todo:
            for path in sorted(todo.pop().iterdir()):
                if path.name.startswith(".") or path.name in LEFT_OUT:
                    continue
                seen += 1
                if seen > MAX_FILES:
                    raise self._wrong(f"it has more than {MAX_FILES} files")
                if path.is_dir() and not path.is_symlink():
                    todo.append(path)
                else:
                    yield path

    def _checked(self, path: Path) -> os.stat_result:
        """Check one file. A link may lead to another file of the skill, and nowhere else."""
        name = path.relative_to(self.folder).as_posix()
        if not name.isprintable() or "`" in name or "\\" in name:
            raise self._wrong(f"a file has the name {name!r}")
        real = path.resolve()
        if not real.is_relative_to(self._root):
            raise self._wrong(f"{name} is a link that leaves the folder")
        try:
            found = real.stat()
        except OSError as error:
            raise self._wrong(f"{name} cannot be read: {error}") from None
        if not stat.S_ISREG(found.st_mode):
            raise self._wrong(f"{name} is not an ordinary file")
        most = MAX_MAIN_BYTES if name == MAIN else MAX_FILE_BYTES
        if found.st_size > most:
            raise self._wrong(f"{name} has {found.st_size:,} bytes; at most {most:,}")
        return found

    def _read(self, name: str) -> bytes:
        """Read a file, which may have become something else since it was checked."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            opened = os.open((self.folder / name).resolve(), flags)
            with os.fdopen(opened, "rb") as file:
                now, then = os.fstat(opened), self._files[name]
                if (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino):
                    raise self._wrong(f"{name} has changed while it was read; try again")
                return file.read(MAX_FILE_BYTES)
        except OSError as error:
            raise self._wrong(f"{name} cannot be read: {error}") from None

    def _front(self, text: str) -> dict[str, Any]:
        """Read the front matter."""
        found = FRONT.match(text[: MAX_FRONT_CHARS + 100])
        if found is None or len(found["front"]) > MAX_FRONT_CHARS:
            raise self._wrong(
                f"{MAIN} must begin with a front matter between lines of ---, of at most "
                f"{MAX_FRONT_CHARS:,} characters"
            )
        front = self._yaml(found["front"])
        if not is_dict(front):
            raise self._wrong(f"the front matter of {MAIN} must be `name: ...`, `description: ...`")
        return {str(key): value for key, value in front.items()}

    def _yaml(self, text: str) -> Any:
        """Read plain values of YAML.

        References to other values are refused, since a few lines of them can stand for gigabytes,
        and so is what is nested deeply, which takes the library long: 7,000 brackets 22 seconds.
        """
        import yaml

        library: Any = yaml
        depth = 0
        try:
            events: Any = library.parse(text, yaml.SafeLoader)
            for event in events:
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                if isinstance(event, yaml.AliasEvent):
                    raise self._wrong("its front matter has aliases (*name), which are not taken")
                if depth > DEEPEST:
                    raise self._wrong(f"its front matter is nested more than {DEEPEST} deep")
            return yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            told = " ".join(str(error).split())[:300]
            raise self._wrong(f"the front matter of {MAIN} is no YAML: {told}") from None

    def _name(self, front: dict[str, Any]) -> str:
        name = front.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > MAX_NAME:
            raise self._wrong(
                f"its name is {str(name)[:MAX_NAME]!r}, and must be lower-case letters, digits and "
                f"single hyphens, {MAX_NAME} characters at most"
            )
        if name.replace("-", "_") in sys.stdlib_module_names:
            raise self._wrong(f"its name {name!r} is that of a module of Python's: rename it")
        return name

    def _description(self, front: dict[str, Any]) -> str:
        given = front.get("description")
        line = " ".join(given.split()) if isinstance(given, str) else ""
        plain = "".join(letter for letter in line if letter.isprintable()).replace("`", "'")
        if not plain or len(plain) > MAX_DESCRIPTION:
            raise self._wrong(
                f"its description has {len(plain):,} characters, and must have 1 to "
                f"{MAX_DESCRIPTION:,}: what it is for, and when to use it"
            )
        return plain

    def _wrong(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"The skill {str(self.folder)!r} is refused: {why}.")


def _stored(path: str, data: bytes, blobs: BlobStore) -> SkillFile:
    try:
        length = len(data.decode())
    except UnicodeDecodeError:
        return SkillFile(path, blobs.put(b64encode(data)), len(data), None)
    return SkillFile(path, blobs.put(data), len(data), length)
