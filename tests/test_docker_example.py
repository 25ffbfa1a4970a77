"""The Docker example: its messages over a program that stands for `docker`, and a real daemon where there is one."""

import importlib.util
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from langgraph_rlm import create_rlm
from langgraph_rlm.errors import SandboxError
from langgraph_rlm.repl.base import SandboxCrashed
from langgraph_rlm.repl.contract import CHECKS
from langgraph_rlm.repl.contract.check import SPEC, gives
from langgraph_rlm.testing import ScriptedModel, cell, repl_contract

from .structure import ROOT

EXAMPLE = ROOT / "examples" / "docker_sandbox.py"

STAND_IN = f"""#!{sys.executable} -IS
import os, pathlib, signal, subprocess, sys, tempfile

folder = pathlib.Path(__file__).parent

def run(words):
    (folder / "last").write_text("\\n".join(words))
    name = words[words.index("--name") + 1]
    real = words[words.index("--volume") + 1].split(":")[0]
    variables = dict(w[6:].split("=", 1) for w in words if w.startswith("--env="))
    at = words.index("python")
    command = [w.replace("/rlm", real) if w.startswith("/rlm/") else w for w in words[at + 1 :]]
    with tempfile.TemporaryDirectory(dir=folder) as work:
        variables.update(HOME=work, TMPDIR=work)
        # a container does not end with the client that started it
        container = subprocess.Popen([{sys.executable!r}, *command], env=variables, cwd=work, start_new_session=True)
        (folder / name).write_text(str(container.pid))
        code = container.wait()
    (folder / name).unlink(missing_ok=True)
    sys.exit(code)

def rm(name):
    if not (folder / name).exists():
        sys.exit("Error: No such container: " + name)
    number = int((folder / name).read_text())
    (folder / name).unlink()
    os.killpg(number, signal.SIGKILL)

if sys.argv[1] == "run":
    run(sys.argv[2:])
else:
    assert sys.argv[1:3] == ["rm", "--force"]
    rm(sys.argv[3])
"""
"""Does what the example needs of `docker`, without containers: it proves the messages, not the walls."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docker_sandbox", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def put(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a program the `docker` of this process."""
    path = folder / "docker"
    path.write_text(program)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    put(STAND_IN, tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def backend(example: ModuleType, stand_in: Path) -> Iterator[Any]:
    made = example.DockerBackend()
    yield made
    made.close()


# The contract


@pytest.mark.slow
def test_the_example_keeps_the_contract(backend: Any) -> None:
    assert repl_contract(backend) == tuple(check.name for check in CHECKS)


def test_the_example_keeps_the_contract_in_containers(example: ModuleType) -> None:
    backend = example.DockerBackend()
    if reason := obstacle(example.IMAGE):
        pytest.skip(reason)
    try:
        assert repl_contract(backend) == tuple(check.name for check in CHECKS)
    finally:
        backend.close()


def obstacle(image: str) -> str:
    """Say why no container can be had here; empty where one can."""
    for command in (["docker", "info"], ["docker", "image", "inspect", image]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode:
            return f"{' '.join(command)}: {done.stderr.strip()}"
    return ""


# What a user relies on


def test_a_run_answers_in_a_container(backend: Any) -> None:
    model = ScriptedModel(replies=[cell("import csv\nFINAL(len(context.split()))")])
    out = create_rlm(model, sandbox=backend).invoke({"query": "count", "context": "a b c"})
    assert out["answer"] == "3"
    assert "CPython in a container" in model.prompts[0][0].text


def test_the_container_is_shut(backend: Any, stand_in: Path) -> None:
    backend.open(SPEC).close()
    words = (stand_in / "last").read_text()
    for needed in (
        "--network\nnone",
        "--read-only",
        "--cap-drop\nALL",
        "--security-opt\nno-new-privileges",
        "--user\n65534:65534",
        "--pids-limit\n128",
        "--log-driver\nnone",
        f"--memory\n{(64 + 768) << 20}",
        f"--memory-swap\n{(64 + 768) << 20}",
        "/langgraph_rlm:/rlm:ro",
    ):
        assert needed in words
    assert words.count("--volume") == 1
    assert not re.search("--privileged|docker.sock|--device|--pid\n|--ipc\n", words)


def test_a_large_value_crosses_both_ways(backend: Any) -> None:
    text = "é" * 5_000_000
    session = backend.open(replace(SPEC, values={"context": lambda: text}))
    gives(session, "context", text)


def test_a_guest_that_ends_its_interpreter_ends_its_container(backend: Any, stand_in: Path) -> None:
    session = backend.open(SPEC)
    with pytest.raises(SandboxCrashed):
        session.feed("import os\nos._exit(3)")
    assert not list(stand_in.glob("langgraph-rlm-*"))


def test_closing_the_backend_ends_its_containers(backend: Any, stand_in: Path) -> None:
    firsts = [open_container(backend, stand_in) for _ in range(2)]
    assert all(first.is_running() for first in firsts)
    backend.close()
    assert not list(stand_in.glob("langgraph-rlm-*"))  # `docker rm` was called for each
    assert all(has_ended(first) for first in firsts)


HOST = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("docker_sandbox", sys.argv[1])
sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from langgraph_rlm.repl.base import Returned
from langgraph_rlm.repl.contract.check import SPEC
session = module.DockerBackend().open(SPEC)
session.feed("llm_query('a')\\nwhile True: pass")
print("up", flush=True)
session.resume(Returned("b"))
"""


def test_nothing_is_left_when_the_host_is_killed(stand_in: Path) -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(EXAMPLE)], stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None and host.stdout.readline() == "up\n"
    left = psutil.Process(host.pid).children(recursive=True)
    assert len(left) >= 3  # the client, the relay and the worker
    time.sleep(0.2)  # the guest is in its loop
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    host.stdout.close()
    assert all(has_ended(process) for process in left)


def open_container(backend: Any, stand_in: Path) -> psutil.Process:
    """Open a session; give its container's first process."""
    before = set(stand_in.glob("langgraph-rlm-*"))
    backend.open(SPEC)
    (found,) = set(stand_in.glob("langgraph-rlm-*")) - before
    return psutil.Process(int(found.read_text()))


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process ends, soon. It may wait for its parent to see that."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


# Errors


BUILD = (
    r"printf 'FROM python:3.13-slim\nRUN pip install time-machine\n' | docker build --tag mine -"
)
FRAME = b'{"failed": "No module named \'time_machine\'"}'
SAYS = "#!/bin/sh\necho {!r} >&2\nexit 125\n"


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        (
            SAYS.format("docker: Cannot connect to the Docker daemon at unix:///x. Is it running?"),
            "Start the daemon, and check that `docker info` works.",
        ),
        (
            SAYS.format("docker: permission denied while trying to connect to the Docker daemon"),
            "Let your user use Docker",
        ),
        (
            SAYS.format("docker: Error response from daemon: No such image: mine:latest"),
            f"Build it: `{BUILD}`.",
        ),
        (
            f"#!{sys.executable} -IS\nimport os, sys, time\nif sys.argv[1] == 'rm': sys.exit()\nos.write(1, {struct.pack('!cQ', b'J', len(FRAME)) + FRAME!r})\ntime.sleep(5)\n",
            f"Build an image that has it: `{BUILD}`.",
        ),
        (
            SAYS.format("docker: something new"),
            "Docker says 'docker: something new'. Try `docker run --rm mine python -c 'import time_machine'`",
        ),
    ],
    ids=["daemon", "rights", "image", "time-machine", "other"],
)
def test_an_error_says_what_to_do(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, wanted: str
) -> None:
    put(program, tmp_path, monkeypatch)
    with pytest.raises(SandboxError, match=re.escape(wanted)) as caught:
        example.DockerBackend("mine").open(SPEC)
    assert str(caught.value).startswith("The Python of sandbox='docker' did not start: ")


def test_a_machine_without_docker_is_told(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"'docker' did not start: .* Install Docker"):
        example.DockerBackend().open(SPEC)


def test_a_daemon_that_does_not_answer_is_not_waited_for(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("#!/bin/sh\n[ $1 = rm ] || exec sleep 30\n", tmp_path, monkeypatch)
    monkeypatch.setattr(example, "START_SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(SandboxError, match="Try `docker run"):
        example.DockerBackend().open(SPEC)
    assert time.monotonic() - started < 10
