"""Scenario: a run with three levels, loops, batches and tools, in which every reply depends on all replies before it.

Each reply carries the digest of the request that it answers, and later requests carry replies: one that is lost, repeated
or swapped changes every digest behind it, and the answer. The digest also tells which call a saved reply came from.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

QUESTION = {"query": "LEVEL0 go", "context": "The context of the root, some lines of it.\n" * 200}

LEVEL0 = [
    """
notes = []
for i in range(2):
    first = llm_query(f'Q{i} of the root about {context[:20]}')
    notes.append(llm_query(f'second of {i} about {first}'))
seal = stamp('root', notes[-1])
notes.append(seal['stamp'])
""",
    """
firsts = llm_query_batched([f'Q{i} batched after {notes[i % 3]}' for i in range(3)])
seconds = llm_query_batched([f'B about {first}' for first in firsts])
kids = rlm_query_batched([f'LEVEL1 kid {i} of {notes[i]}' for i in range(2)], contexts=[seconds[0], context[:60]])
""",
    "FINAL([notes, firsts, seconds, kids, llm_query(f'the end of {kids}')])",
]
LEVEL1 = [
    """
one = llm_query(f'Q of the child about {context[:80]}')
seal = stamp('child', one)
deep = rlm_query_batched([f'LEVEL2 grandchild {i} of {one}' for i in range(2)], contexts=[[one, seal['stamp']], {'a': one}])
""",
    "FINAL([one, seal['stamp'], deep, llm_query_batched([f'B about {part}' for part in deep])])",
]
LEVEL2 = [
    """
parts = [llm_query(f'LONG Q of the grandchild about {context}')[:200]]
parts += llm_query_batched([f'A {parts[0]}', f'B {parts[0]}'])
for part in parts[1:]:
    parts.append(stamp('grandchild', part)['stamp'])
FINAL(parts)
""",
]
PROGRAMS = {"LEVEL0": LEVEL0, "LEVEL1": LEVEL1, "LEVEL2": LEVEL2}
"""The cells that a root model writes, by the first word of its question."""

LONG = 3_000
"""Characters of a long reply: too many to lie in the state."""


def digest_of(request: Any) -> str:
    """Names a request among all of a run."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]


def reply_to(messages: Sequence[Mapping[str, Any]]) -> str:
    """The model's reply: a cell of the program that the question names, or for a plain prompt its own digest."""
    mark = f"[{digest_of(messages)}]"
    if messages[0]["role"] != "system":
        return mark + " long" * (LONG // 5) if "LONG" in messages[0]["content"] else mark
    found = re.search("LEVEL[012]", messages[1]["content"])
    assert found is not None, messages[1]["content"]
    code = PROGRAMS[found[0]][sum(message["role"] == "assistant" for message in messages)]
    return f"{mark}\n```repl\n{code}\n```"


def stamp_of(arguments: Mapping[str, Any]) -> str:
    """The tool's result."""
    return f"[{digest_of(arguments)}]"


def marks(text: str) -> set[str]:
    """The digests of the requests whose replies a text carries."""
    return set(re.findall(r"\[([0-9a-f]{16})\]", text))
