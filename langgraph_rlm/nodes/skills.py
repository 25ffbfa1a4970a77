"""Skills: what a question tells of them, from the log alone. Reads no folder."""

from collections.abc import Sequence

from langgraph_rlm.log.entries import QuestionEntry
from langgraph_rlm.prompts import SkillDoc
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.skills import MAIN, Skill, kept_skills

MAX_FILES = 20
"""Most files of one skill that are named."""


def new_skills(
    questions: Sequence[QuestionEntry], blobs: BlobStore, *, with_modules: bool
) -> tuple[SkillDoc, ...]:
    """Give what is told of the skills of the last question; nothing where the one before it had the
    same. Blocks.

    Args:
        questions: of the thread, up to the one that is told.
        blobs: has the skills.
        with_modules: whether code can import their modules.
    """
    skills = questions[-1].get("skills")
    if skills is None or (len(questions) > 1 and questions[-2].get("skills") == skills):
        return ()
    return tuple(_told(skill, with_modules) for skill in kept_skills(skills, blobs))


def _told(skill: Skill, with_modules: bool) -> SkillDoc:
    paths = [file.path for file in skill.files if file.path != MAIN]
    has_modules = any(path.endswith(".py") for path in paths)
    return SkillDoc(
        place=skill.place,
        description=skill.description,
        files=tuple(f"`{path}`" for path in paths[:MAX_FILES]),
        left=max(len(paths) - MAX_FILES, 0),
        package=skill.package if with_modules and has_modules else "",
        is_hidden=skill.is_hidden,
    )
