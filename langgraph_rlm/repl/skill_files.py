"""Skill files: the files of a question's skills where code may read and import them.

There are such files where the sandbox is locked in: what a skill's code does, it does in there. The
host puts them there from the store, so an old question finds the skills that it was put with.
"""

from base64 import b64decode
from pathlib import Path
from typing import Protocol, runtime_checkable

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.repl.base import Inputs, Sharing
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.skills import Skill, kept_skills

FOLDER = "skills"
"""The folder of skills, within the folder of inputs. Those of later questions, where they are
others, are in `skills_1` and on."""


@runtime_checkable
class Importing(Sharing, Protocol):
    """A session whose code may import modules of skills. A session need not; its backend says so by
    `imports_skills`."""

    imports_skills: bool


class SkillFiles:
    """The skills of one session."""

    def __init__(self, session: Importing, blobs: BlobStore) -> None:
        self._session = session
        self._blobs = blobs
        self._now: str | None = None
        self._paths: dict[str, str] = {}

    def entered(self, skills: str | None) -> str:
        """Give the code that has a question's skills importable; empty where that is done.

        They come last in the path, so that they hide no module of Python's. Modules of other
        versions of them are forgotten.

        Args:
            skills: the digest of the list of skills; None for a question without.

        Raises:
            BlobError: a blob is missing or altered.
            SandboxError: a file cannot be written.
        """
        if skills == self._now:
            return ""
        before, self._now = self._now, skills
        known = [skill for each in (before, skills) for skill in self._of(each)]
        packages = {skill.package for skill in known if not skill.is_hidden}
        path = "" if skills is None else self._path(skills)
        old = "" if before is None else self._paths[before]
        return _ENTER.format(old=old, new=[path] if path else [], packages=sorted(packages))

    def _of(self, skills: str | None) -> list[Skill]:
        return [] if skills is None else [*kept_skills(skills, self._blobs)]

    def _path(self, skills: str) -> str:
        if skills not in self._paths:
            inputs = self._session.inputs()
            number = len(self._paths)
            name = f"{FOLDER}_{number}" if number else FOLDER
            folder = Path(inputs.folder, name)
            try:
                for skill in self._of(skills):
                    self._put(folder / skill.package, skill, inputs)
            except OSError as error:
                raise SandboxError(
                    f"The skills cannot be put where code may read them: {error}. Is the disk full?"
                ) from error
            self._paths[skills] = f"{inputs.known_as}/{name}"
        return self._paths[skills]

    def _put(self, folder: Path, skill: Skill, inputs: Inputs) -> None:
        for file in skill.files:
            target = folder.joinpath(*file.path.split("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.length is None:
                target.write_bytes(b64decode(self._blobs.get(file.digest)))
            else:
                self._blobs.put_at(target, file.digest, may_link=inputs.is_locked)


_ENTER = (
    "(lambda sys: (sys.path.__setitem__(slice(None), [p for p in sys.path if p != {old!r}] + "
    "{new!r}), [sys.modules.pop(m) for m in list(sys.modules) if m.partition('.')[0] in "
    "{packages!r}]) and None)(__import__('sys'))"
)
