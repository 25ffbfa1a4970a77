"""Skills: what a question may use of them, as blobs. Reads no folder (see `skill_folders`).

A question keeps the skills that it was put with, so that it replays after they have changed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Any

from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.context import ContextHandle

MAIN = "SKILL.md"

PLACE = "skills/"
"""What the names of skills begin with, where code reads them: no variable has such a name."""


@dataclass(frozen=True)
class SkillFile:
    """One file of a skill."""

    path: str
    """Its path in the skill, with slashes."""
    digest: str
    """Of its text; where it is no text, of its bytes as base64: saved runs hold texts alone."""
    size: int
    """Bytes."""
    length: int | None
    """Characters; None where it is no text."""


@dataclass(frozen=True)
class Skill:
    """One skill: what it is for, and its files by reference."""

    name: str
    """Lower-case letters, digits and single hyphens."""
    description: str
    """What it is for, on one line."""
    files: tuple[SkillFile, ...]
    """`SKILL.md` first."""

    @property
    def place(self) -> str:
        """The name by which code reads its text, as `peek(..., of=place)` takes it."""
        return PLACE + self.name

    @property
    def package(self) -> str:
        """The name by which code imports its modules."""
        return self.name.replace("-", "_")

    @cached_property
    def is_hidden(self) -> bool:
        """Whether a package of this name is installed, which code then imports instead. Nothing of
        it is imported here."""
        try:
            spec = find_spec(self.package)
        except (ValueError, ImportError):
            return True
        return spec is not None and spec.origin is not None  # else it is any folder

    @property
    def texts(self) -> dict[str, ContextHandle]:
        """Its texts by the names that code reads them by: that of the skill for `SKILL.md`, and
        with their paths behind it for the others."""
        found: dict[str, ContextHandle] = {}
        for file in self.files:
            if file.length:
                name = self.place if file.path == MAIN else f"{self.place}/{file.path}"
                found[name] = ContextHandle(file.digest, "text", file.length, file.size)
        return found


def keep_skills(skills: Sequence[Skill], blobs: BlobStore) -> str:
    """Store the list of skills, and give its digest. Their files are stored already."""
    listed = [asdict(skill) for skill in skills]
    return blobs.put(to_bytes(json.dumps(listed, ensure_ascii=False)))


@lru_cache(maxsize=16)
def kept_skills(digest: str, blobs: BlobStore) -> tuple[Skill, ...]:
    """Read a list of skills, once for many turns.

    Raises:
        BlobError: the blob is missing or altered.
    """
    listed: list[Any] = json.loads(blobs.get(digest))
    return tuple(
        Skill(
            name=each["name"],
            description=each["description"],
            files=tuple(SkillFile(**file) for file in each["files"]),
        )
        for each in listed
    )


def texts_of_skills(digest: str | None, blobs: BlobStore) -> Mapping[str, ContextHandle]:
    """Give the texts of a question's skills by the names that code reads them by; none for None."""
    if digest is None:
        return {}
    found: dict[str, ContextHandle] = {}
    for skill in kept_skills(digest, blobs):
        found |= skill.texts
    return found


def is_file_of_skill(name: str) -> bool:
    """Whether a name is that of a file beside the text of a skill."""
    return name.startswith(PLACE) and name.count("/") > 1
