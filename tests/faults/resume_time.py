"""Resume time: how long a new process takes, from its start to its first new call, next to the time the cells before took.

    python -m tests.faults.resume_time [--cells 30] [--seconds 0.5]

Each cell calls a sub-model that takes `--seconds`. The run is killed in its last cell's call, and resumed in a new process. A process
that asks a question of its own, and one that only imports what both of them do, show what of that time is Python's start.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .provider import Provider


def reply_of(cells: int) -> Any:
    """The models: a root that writes a cell a turn, and a sub-model."""

    def reply(messages: list[dict[str, str]]) -> str:
        if messages[0]["role"] != "system":
            return f"the answer to {messages[-1]['content'][:20]}"
        turn = sum(message["role"] == "assistant" for message in messages)
        code = f"found_{turn} = [part.upper() for part in llm_query('cell {turn}: ' + context[:100]).split()]\nprint(found_{turn})"
        return f"```repl\n{code}\n```" if turn < cells else "```repl\nFINAL(found_0)\n```"

    return reply


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=30)
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="of each call, at most; half of it on average"
    )
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="rlm-resume-") as folder,
        Provider(args.seconds, reply_of(args.cells)) as provider,
    ):
        command = [
            sys.executable,
            "-m",
            "tests.faults.runner",
            "--db",
            f"sqlite:{folder}/threads.db",
            "--store",
            f"{folder}/blobs",
        ]
        command += ["--url", provider.url, "--thread", "t", "--out", f"{folder}/out.json"]
        began, calls = time.monotonic(), 2 * args.cells
        with subprocess.Popen(command) as run:
            assert provider.wait_for("t", calls, 600)
            run.send_signal(signal.SIGKILL)
        first, last = provider.asked("t")[0].arrived, provider.asked("t")[calls - 1].arrived
        took = f"{last - first:.2f} s for {args.cells} cells and {calls - 1} calls"
        print(f"first process: {first - began:.2f} s to its first call, then {took}")
        began = time.monotonic()
        with subprocess.Popen([*command, "--resume"]) as run:
            assert provider.wait_for("t", calls + 1, 600)
            resumed = provider.asked("t")[calls].arrived - began
            assert provider.wait_for("t", calls + 2, 600)
            print(
                f"second process: {resumed:.2f} s to its first new call, the one that was in flight at the kill"
            )
            assert provider.asked("t")[calls].digest == provider.asked("t")[calls - 1].digest
            run.wait()
        assert "error" not in Path(folder, "out.json").read_text()
        imports = "import tests.faults.runner, langchain_openai, langgraph.checkpoint.sqlite.aio, pydantic_monty, langgraph_rlm.graph"
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", imports], check=True)
        print(f"a process that only imports: {time.monotonic() - began:.2f} s")
        began = time.monotonic()
        with subprocess.Popen([*command, "--thread", "fresh"]) as run:
            assert provider.wait_for("fresh", 1, 600)
            fresh = provider.asked("fresh")[0].arrived - began
            run.kill()
        print(
            f"a process with a new question: {fresh:.2f} s to its first call; so the {args.cells} cells cost {resumed - fresh:+.2f} s"
        )


if __name__ == "__main__":
    main()
