"""Rate limits: a batch of sub-calls against a provider that answers so many of them a second.

    python -m benchmarks.rate_limits [--calls 200] [--per-second 20] [--silent]

The provider counts the last second, answers 429 above its limit, and says when to come back. The
time is that of the whole run; `refused` are the 429s that it sent.
"""

import argparse
import os
import tempfile
import threading
import time
from collections import deque
from typing import Any

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell
from tests.openai_server import OpenAIServer, Reply


class Limited:
    """Answers the first so many requests of each second, after 0.3 s."""

    def __init__(self, per_second: int, *, is_silent: bool) -> None:
        self.refused = 0
        self._per_second = per_second
        self._is_silent = is_silent
        self._taken = deque[float]()
        self._lock = threading.Lock()

    def __call__(self, _: Any) -> Reply:
        """Answer or refuse one."""
        with self._lock:
            now = time.monotonic()
            while self._taken and self._taken[0] < now - 1:
                self._taken.popleft()
            if len(self._taken) < self._per_second:
                self._taken.append(now)
                return Reply(content="leaf", seconds=0.3)
            self.refused += 1
            wait = 1 - (now - self._taken[0])
        headers = {} if self._is_silent else {"retry-after-ms": str(int(wait * 1000) + 1)}
        return Reply(status=429, content="Rate limit reached", headers=headers)


def main() -> None:
    """Run once, and print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--per-second", type=int, default=20)
    parser.add_argument("--silent", action="store_true", help="do not say when to come back")
    given = parser.parse_args()
    code = f"replies = llm_query_batched([f'number {{i}}' for i in range({given.calls})])"
    root = ScriptedModel(replies=[cell(f"{code}\nFINAL(str(replies.count('leaf')))")])
    limited = Limited(given.per_second, is_silent=given.silent)
    with OpenAIServer(limited) as server, tempfile.TemporaryDirectory() as folder:
        os.environ.update(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="none", no_proxy="*")
        graph = create_rlm(root, sub_model="openai:leaf", blob_store=folder, sandbox="monty")
        start = time.monotonic()
        out = graph.invoke({"query": "q"})
    seconds = time.monotonic() - start
    print(
        f"{out['answer']} of {given.calls} answered, {limited.refused} refused, {seconds:.1f} s; "
        f"the limit alone takes {given.calls / given.per_second:.1f} s"
    )


if __name__ == "__main__":
    main()
