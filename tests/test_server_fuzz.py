"""Random requests by the server's own OpenAPI document: whatever comes, the server has an answer of its own, never a 5xx."""

import subprocess
import venv
from pathlib import Path

import httpx
import pytest

from langgraph_rlm.server import create_app
from langgraph_rlm.testing import ScriptedModel, cell

from .servers import Served, rlm_app

SCHEMATHESIS = "schemathesis==4.32.5"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def schemathesis(request: pytest.FixtureRequest) -> Path:
    """The command, in an environment of its own that pytest's cache keeps: it and `langgraph-api` want different `jsonschema-rs`."""
    folder = request.config.cache.mkdir("schemathesis")
    command = folder / "bin" / "schemathesis"
    if not command.exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", SCHEMATHESIS]
        done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=110)
        if done.returncode != 0:
            pytest.skip(f"pip cannot install {SCHEMATHESIS}: {done.stderr[-300:]}")
    return command


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["scripted", "rlm"])
def test_no_request_breaks_the_server(schemathesis: Path, tmp_path: Path, kind: str) -> None:
    """schemathesis, with a seed; as an answer of the server counts only what its document names."""
    app = (
        rlm_app(lambda: ScriptedModel(answer=lambda _: cell("FINAL('x')")))
        if kind == "rlm"
        else None
    )
    with Served(
        app
        or create_app(
            chat=lambda model_id, owner: ScriptedModel(answer=lambda text: f"got {len(text)}")
        )
    ) as server:
        command = [schemathesis, "run", server.url.replace("/v1", "/openapi.json")]
        options = [
            "--checks",
            CHECKS,
            "--max-examples",
            "60",
            "--seed",
            "7",
            "--phases",
            "examples,coverage,fuzzing",
            "--no-color",
        ]
        done = subprocess.run(
            [*command, *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
        assert httpx.get(server.url.replace("/v1", "/health")).json() == {"status": "ok"}
