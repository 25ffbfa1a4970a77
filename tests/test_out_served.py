"""Files back through the server, the command and the chat model."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from click.testing import CliRunner
from langchain_core.messages import AIMessageChunk, HumanMessage

from langgraph_rlm import ChatRLM, read_file
from langgraph_rlm.cli.main import main
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.server.files import RunFiles
from langgraph_rlm.server.settings import Alias
from langgraph_rlm.testing import ScriptedModel, cell

from .openai_server import OpenAIServer
from .servers import Process, Served

WRITES = cell(
    "open('out/table.csv', 'w').write('a,b')\n"
    "from pathlib import Path\n"
    "Path('out/pages').mkdir()\n"
    "Path('out/pages/é.html').write_text('<script>alert(1)</script>')\n"
    "Path('out/chart.png').write_bytes(b'png')\n"
    "FINAL('done')"
)
NAMES = ["chart.png", "pages/é.html", "table.csv"]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer(reply=lambda _: WRITES) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        yield server


class TestServer:
    @pytest.fixture
    def url(
        self, upstream: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[str]:
        monkeypatch.setenv("LANGGRAPH_RLM_API_KEY", "mine, yours")
        aliases = {"loop": Alias(model="root", direct_below_tokens=0, sandbox="monty")}
        settings = Settings(db=str(tmp_path / "server.db"), aliases=aliases)
        with Served(create_app(settings)) as server:
            yield server.url

    def ask(self, url: str, key: str = "mine", **options: Any) -> Any:
        client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
        return client.chat.completions.create(
            model="loop", messages=[{"role": "user", "content": "?"}], **options
        )

    def test_a_completion_names_its_files_and_openais_client_gets_them(self, url: str) -> None:
        done = self.ask(url)
        assert done.choices[0].message.content == "done"
        assert [file["filename"] for file in done.files] == NAMES
        client = openai.OpenAI(base_url=url, api_key="mine", max_retries=0)
        file = client.files.retrieve(done.files[2]["id"])
        assert (file.filename, file.bytes, file.object) == ("table.csv", 3, "file")
        assert client.files.content(file.id).read() == b"a,b"

    def test_a_stream_names_them_in_its_last_chunk(self, url: str) -> None:
        parts = list(self.ask(url, stream=True, stream_options={"include_usage": True}))
        named = [part for part in parts if getattr(part, "files", None)]
        assert len(named) == 1
        assert named[0].choices[0].finish_reason == "stop"
        assert [file["filename"] for file in named[0].files] == NAMES

    def test_another_key_and_another_id_get_nothing(self, url: str) -> None:
        id = self.ask(url).files[0]["id"]
        for key, asked, status in (
            ("yours", id, 404),
            ("none", id, 401),
            ("mine", f"{id[:-1]}{'0' if id[-1] != '0' else '1'}", 404),
            ("mine", "file-x", 404),
            ("mine", "..%2f..%2fetc%2fpasswd", 404),
        ):
            for end in ("", "/content"):
                got = httpx.get(
                    f"{url}/files/{asked}{end}", headers={"authorization": f"Bearer {key}"}
                )
                assert (got.status_code, "error" in got.json()) == (status, True)

    def test_a_browser_saves_the_bytes_and_runs_none(self, url: str) -> None:
        page = self.ask(url).files[1]
        got = httpx.get(
            f"{url}/files/{page['id']}/content", headers={"authorization": "Bearer mine"}
        )
        assert got.content == b"<script>alert(1)</script>"
        head = got.headers
        assert head["content-type"] == "application/octet-stream"
        assert head["content-disposition"].startswith('attachment; filename="_.html";')
        assert head["content-disposition"].endswith("filename*=UTF-8''%C3%A9.html")
        assert head["x-content-type-options"] == "nosniff"
        assert "sandbox" in head["content-security-policy"]

    def test_bytes_that_are_gone_are_a_404(self, url: str, tmp_path: Path) -> None:
        id = self.ask(url).files[0]["id"]
        for blob in (tmp_path / "blobs").rglob("*"):
            if blob.is_file():
                blob.unlink()
        got = httpx.get(f"{url}/files/{id}/content", headers={"authorization": "Bearer mine"})
        assert (got.status_code, got.json()["error"]["code"]) == (404, "file_gone")

    @pytest.mark.slow
    def test_the_command_serves_them_from_its_process_of_runs(
        self, upstream: OpenAIServer, tmp_path: Path
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text('[models.loop]\nmodel = "root"\ndirect_below_tokens = 0\n')
        options = ("--config", str(config), "--db", str(tmp_path / "server.db"))
        with Process(*options) as server:
            id = self.ask(server.url).files[2]["id"]
            server_client = openai.OpenAI(base_url=server.url, api_key="x", max_retries=0)
            assert server_client.files.content(id).read() == b"a,b"
            with pytest.raises(openai.NotFoundError):
                server_client.files.content("file-none")


class TestCommand:
    def ask(self, tmp_path: Path, *arguments: str) -> Any:
        where = ("--db", str(tmp_path / "threads.db"), "--sandbox", "monty")
        return CliRunner().invoke(main, ["ask", *arguments, *where])

    def test_files_are_saved_and_named_in_the_last_lines(
        self, upstream: OpenAIServer, tmp_path: Path
    ) -> None:
        out = tmp_path / "new" / "out"
        done = self.ask(tmp_path, "?", "--model", "openai:root", "--out", str(out))
        assert done.exit_code == 0
        assert done.stdout == "done\n"
        assert done.stderr.splitlines()[-3:] == [f"Saved: {out / name}" for name in NAMES]
        assert (out / "table.csv").read_text() == "a,b"

    def test_a_finished_run_gives_them_later(self, upstream: OpenAIServer, tmp_path: Path) -> None:
        done = self.ask(tmp_path, "?", "--model", "openai:root", "--thread", "t")
        assert "3 files to save: chart.png, pages/é.html, table.csv" in done.stderr
        out = tmp_path / "out"
        later = self.ask(tmp_path, "--resume", "t", "--out", str(out), "--json")
        told = json.loads(later.stdout)
        assert [(file["name"], file["path"]) for file in told["files"]] == [
            (name, str(out / name)) for name in NAMES
        ]

    def test_a_folder_that_cannot_be_made_is_told_before_anything_is_paid(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        out = str(tmp_path / "file" / "out")
        done = self.ask(tmp_path, "?", "--model", "openai:root", "--out", out)
        assert done.exit_code != 0
        assert "cannot be made" in done.stderr


class TestChatModel:
    def model(self, **options: Any) -> ChatRLM:
        scripted = ScriptedModel(replies=[WRITES])
        return ChatRLM(model=scripted, direct_below_tokens=0, sandbox="monty", **options)

    def test_a_reply_is_text_and_names_its_files(self) -> None:
        reply = self.model().invoke("?")
        assert reply.content == "done"
        files = reply.response_metadata["files"]
        assert [file["name"] for file in files] == NAMES
        assert read_file(files[2]) == b"a,b"

    @pytest.mark.parametrize("is_streamed", [False, True])
    def test_where_asked_for_they_are_content_blocks(self, is_streamed: bool) -> None:
        model = self.model(file_blocks=True)
        reply: Any = model.invoke("?")
        if is_streamed:
            chunks: list[AIMessageChunk] = list(model.stream("?"))
            reply = sum(chunks[1:], chunks[0])
        assert reply.text == "done"
        blocks = [block for block in reply.content_blocks if block["type"] in ("image", "file")]
        assert [
            (block["type"], block["extras"]["filename"], base64.b64decode(block["base64"]))
            for block in blocks
        ] == [
            ("image", "chart.png", b"png"),
            ("file", "pages/é.html", b"<script>alert(1)</script>"),
            ("file", "table.csv", b"a,b"),
        ]

    def test_a_reply_with_blocks_may_stand_in_a_later_call(self) -> None:
        model = self.model(file_blocks=True)
        reply = model.invoke("?")
        assert model.invoke([HumanMessage("?"), reply, HumanMessage("more?")]).text == "done"


def test_an_id_leads_to_nothing_of_another_database(tmp_path: Path) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    async def asked() -> list[Any]:
        answer = RunFiles(InMemorySaver(), str(tmp_path)).answer
        id = f"file-{'a' * 20}-{'0' * 16}"
        return [part async for part in answer("mine", id, True)]

    from langgraph_rlm.server.errors import Refused

    with pytest.raises(Refused, match="no file"):
        asyncio.run(asked())
