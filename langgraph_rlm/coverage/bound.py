"""Bound: which contexts the names in code stand for, from one question of a thread to the next."""

import re
from collections.abc import Sequence

from langgraph_rlm.coverage.uses import ALL
from langgraph_rlm.log.entries import QuestionEntry
from langgraph_rlm.log.places import handles_in
from langgraph_rlm.repl.input_files import ENDING

WORD = re.compile(r"\w+")


class Bound:
    """The digests of contexts by the names of variables, and of their paths: see `handles_of`."""

    def __init__(self) -> None:
        self._questions = 0
        self._numbered: dict[str, str] = {}
        self._named: dict[str, str] = {}
        """By the names that users gave, and `context`."""

    def take(self, questions: Sequence[QuestionEntry]) -> None:
        """Come to the last of some questions, of which the first ones were taken before."""
        for question in questions[self._questions :]:
            handles = handles_in(question)
            for handle in handles:
                self._numbered[f"context_{len(self._numbered)}"] = handle.digest
            self._named |= {each.name: each.digest for each in handles if each.name is not None}
            if handles:
                self._named["context"] = handles[0].digest
        self._questions = len(questions)

    def named_in(self, code: str) -> dict[str, str]:
        """Give what may be named in some code: the names that stand in it or, where code can have
        every variable, all of them."""
        words = {*WORD.findall(code)}
        if words & ALL or not code.isascii():  # Python takes some letters for others
            words = {*self._numbered, *self._named}
            words |= {name + ENDING for name in words}
        found = {word: self._digest(word) for word in words}
        return {word: digest for word, digest in found.items() if digest is not None}

    def _digest(self, name: str) -> str | None:
        """A variable of a name comes before the path of another one."""
        base = name.removesuffix(ENDING)
        for known in (name, base):
            digest = self._named.get(known) or self._numbered.get(known)
            if digest is not None:
                return digest
        return None
