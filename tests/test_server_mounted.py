"""The server within LangGraph's own, as its `http.app`: one process, both APIs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .openai_server import OpenAIServer
from .test_langgraph_dev import OFFLINE, ROOT, _free_port, _stop, _wait_until_up
from .test_server_defects import answer_call, user

APP = """
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.server.settings import Alias

app = create_app(Settings(db="server.db", aliases={"loop": Alias(model="root", direct_below_tokens=0)}))
"""


@pytest.mark.slow
def test_both_apis_in_one_server(tmp_path: Path) -> None:
    """A plain answer, a stream, a run with a tool; LangGraph's own paths are still there. It fails calls that block its loop."""
    import openai

    from langgraph_rlm.testing import cell

    from .servers import TOOL

    (tmp_path / "graphs").symlink_to(ROOT / "graphs")
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "langgraph.json").write_text(
        json.dumps(
            {
                "dependencies": ["."],
                "graphs": {"rlm": "./graphs/rlm.py:graph"},
                "http": {"app": "./app.py:app"},
            }
        )
    )
    code = cell("FINAL('pays ' + price(item='apple'))")
    with OpenAIServer(reply=lambda body: code if body["model"] == "root" else "42") as upstream:
        port = _free_port()
        url, command = (
            f"http://127.0.0.1:{port}",
            [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"],
        )
        env = {
            **os.environ,
            **OFFLINE,
            "LANGGRAPH_RLM_STORE": str(tmp_path / "blobs"),
            "OPENAI_BASE_URL": upstream.url,
            "OPENAI_API_KEY": "x",
        }
        with (tmp_path / "server.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(port)],
                cwd=tmp_path,
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            _wait_until_up(url, process, tmp_path / "server.log")
            with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
                plain = client.chat.completions.create(model="m", messages=user("q"))
                stream = client.chat.completions.create(model="m", messages=user("q"), stream=True)
                assert (
                    plain.choices[0].message.content
                    == "".join(chunk.choices[0].delta.content or "" for chunk in stream)
                    == "42"
                )
                paused = client.chat.completions.create(
                    model="loop", messages=user("q"), tools=[TOOL]
                )
                done = client.chat.completions.create(
                    model="loop", messages=answer_call(user("q"), paused, "3"), tools=[TOOL]
                )
                assert done.choices[0].message.content == "pays 3"
                with pytest.raises(openai.BadRequestError, match="n=2"):
                    client.chat.completions.create(model="m", messages=user("q"), n=2)
            assert httpx.get(f"{url}/health").json() == {"status": "ok"}
            assert httpx.post(f"{url}/assistants/search", json={}).json()[0]["graph_id"] == "rlm"
        except BaseException:
            print((tmp_path / "server.log").read_text()[-6000:])
            raise
        finally:
            _stop(process)
