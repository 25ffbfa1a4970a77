"""Nox: the tests on each supported Python that this machine has. `make test-all` runs it.

Interpreters are found on the PATH (`python3.12`) and among pyenv's versions. Sessions of those that
are missing are skipped, and named at the end.
"""

import os
from pathlib import Path

import nox

VERSIONS = ["3.11", "3.12", "3.13", "3.14"]
PYENV = Path("~/.pyenv/versions").expanduser()

nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = False

# Ahead of pyenv's shims, which stand on the PATH for versions that they then do not run.
folders = [str(path) for path in sorted(PYENV.glob("3.*/bin"))]
os.environ["PATH"] = os.pathsep.join([*folders, os.environ["PATH"]])


@nox.session(python=VERSIONS)
def tests(session: nox.Session) -> None:
    """Install the package with the tools of developers, and run the tests."""
    session.run("python", "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
    session.run("python", "-m", "pip", "install", "--quiet", "--editable", ".", "--group", "dev")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=VERSIONS)
def adapters(session: nox.Session) -> None:
    """Run the tests of MCP servers' tools, with LangChain's adapters and the SDK that they need."""
    session.run("python", "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
    session.run("python", "-m", "pip", "install", "--quiet", "--editable", ".", "--group", "dev")
    needed = ("langchain-mcp-adapters>=0.3,<0.4", "mcp>=1.24,<2", "uvicorn", "starlette")
    session.run("python", "-m", "pip", "install", "--quiet", *needed)
    session.run("python", "-m", "pytest", "tests/test_mcp_tools.py", *session.posargs)
