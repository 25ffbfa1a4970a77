"""The README and docs: their snippets run, in order, and what they have to name is named. Links lead somewhere; lines fit."""

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel

import langgraph_rlm
from langgraph_rlm import ChatRLM, Limits, create_rlm
from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.server.settings import read_config
from langgraph_rlm.testing import cell

from .openai_server import Body, OpenAIServer, last_message
from .servers import Served
from .structure import NAME, ROOT
from .test_layout import ORDER

README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = [*PAGES, CONTRIBUTING]

COLUMNS = 100
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
URL = re.compile(r"https?://[^\s)]+")


def name_of(page: Path) -> str:
    return page.stem


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return fence.findall(page.read_text())


# Snippets


SCRIPT = {
    "send_email(": "FINAL(send_email('ann'))",
    "get_price(": "FINAL(str(get_price()))",
    "price(item": "FINAL(str(price('tea')))",
    "remember(": "FINAL(remember('ann'))",
    "search(query": "FINAL(search('tea'))",
    '"type": "array"': "FINAL([{'name': 'ann'}])",
    "matches this JSON schema": "FINAL({'name': 'ann'})",
    "": "first = llm_query('a')\nsecond = llm_query('b')\nFINAL('yes')",
}
"""What a root model writes, by the first text that its system prompt has."""


SERVED_AT = "http://127.0.0.1:8000/v1"
"""The server's address in snippets."""

TRUE_AFTER = {
    "responses": "then.output_text == 'yes'",
    "acp": "harness.answer == 'yes'",
    "chat-model": "reply.text == 'sent to ann'",
    "durability": "out['answer'] == 'yes'",
    "sandboxes": "audited.opened == 1",
    "structured-answers": "contracts == [contract] == [Contract(name='ann')]",
    "tools": "out['answer'] == 'a baker'",
    "ui": "out['answer'] == 'sent to ann'",
}
"""What a page's snippets have to lead to, by its name."""


def reply(body: Body) -> str:
    """What a model does that has read the snippets' questions. Only a root model is told of a REPL."""
    system = body["messages"][0]["content"]
    if "REPL" not in system:
        return "yes"
    said = last_message(body)
    if "Error" in said:
        raise AssertionError(f"a snippet's code failed: {said}")
    return cell(next(code for sign, code in SCRIPT.items() if sign in system))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the snippets run: with contracts to read, and a file that is too long to be a question."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "ann.txt").write_text("ends in February")
    (tmp_path / "contracts" / "ben.txt").write_text("ends in May")
    (tmp_path / "archive.txt").write_text("ends in February\n" * 3_000)
    return tmp_path


def run(snippet: str, names: dict[str, Any]) -> None:
    """Run a snippet, which may await."""
    code = compile(snippet, "<snippet>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    awaited = eval(code, names)
    if inspect.iscoroutine(awaited):
        asyncio.run(awaited)


@pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_snippets_of_a_page_run_from_top_to_bottom(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one namespace, with nothing but what the page imports. Its test functions are called too."""
    names: dict[str, Any] = {"__name__": name_of(page)}
    with OpenAIServer(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        snippets = blocks(page, "python")
        with served(snippets, folder) as url:
            for snippet in snippets:
                run(snippet.replace(SERVED_AT, url), names)
                check(names.get("out"))
    assert eval(TRUE_AFTER.get(name_of(page), "True"), names)
    for test in [value for name, value in names.items() if name.startswith("test_")]:
        test()


@contextmanager
def served(snippets: list[str], folder: Path) -> Iterator[str]:
    """Serve where a snippet asks a server, and give its base URL."""
    if not any(SERVED_AT in snippet for snippet in snippets):
        yield ""
        return
    settings = Settings(model="gpt-5", db=str(folder / "server.db"))
    with Served(create_app(settings)) as server:
        yield server.url


def check(out: Any) -> None:
    """Whether a graph that a snippet has called gave an answer, or waits for one."""
    if out is not None:
        assert "__interrupt__" in out or out["stop_reason"] == "answered"


def test_the_configurations_of_the_server_are_such(tmp_path: Path) -> None:
    models, keys = blocks(ROOT / "docs/server.md", "toml")
    (tmp_path / "models.toml").write_text(models)
    assert read_config(tmp_path / "models.toml")["aliases"]["contracts"].sub_model == "llama3:8b"
    (tmp_path / "keys.toml").write_text(keys)
    assert read_config(tmp_path / "keys.toml")["keys"]["team-one"].usd_per_day == 50


def test_the_readme_shows_a_run_as_the_demo_prints_it() -> None:
    """But for times and tokens, and for what it leaves out where it says `[...]`."""
    command = [sys.executable, "-m", "langgraph_rlm", "demo", "--lines=20000", "--sub-calls=20"]
    printed = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout
    (shown,) = blocks(README, "text")
    rest = iter(without_measurements(printed.partition("Question 2")[2]))
    for line in without_measurements(shown):
        start = line.partition("[...]")[0].rstrip()
        if start:
            assert any(each.startswith(start) for each in rest), f"{line!r} is not printed there"


def without_measurements(text: str) -> Iterable[str]:
    """Lines without the seconds and tokens that they tell, which change with machine and prompt."""
    measured = r"\d+\.\d s\b|[\d,]+ tokens in, [\d,]+ out"
    return [re.sub(measured, "", line) for line in text.splitlines()]


def test_the_drawing_is_that_of_the_graph() -> None:
    (shown,) = blocks(ROOT / "docs/why.md", "mermaid")
    assert shown.strip() == (ROOT / "tests/snapshots/graph.mmd").read_text().strip()


# What has to be named


def unnamed(names: Iterable[str], *pages: Path) -> list[str]:
    """Those that no page has as code."""
    text = "\n".join(page.read_text() for page in pages)
    return [name for name in names if not re.search(rf"`(?:--)?{name}\b|\b{name}=", text)]


def test_every_argument_is_named() -> None:
    arguments = inspect.signature(create_rlm).parameters
    assert unnamed(arguments, *PAGES) == []
    assert unnamed(arguments, ROOT / "docs/graph.md") == []


def test_every_public_name_is_named() -> None:
    assert unnamed(langgraph_rlm.__all__, *PAGES) == []


def test_every_limit_is_named() -> None:
    assert unnamed(Limits.model_fields, ROOT / "docs/limits.md") == []


def test_every_option_of_the_chat_model_is_named() -> None:
    own = set(ChatRLM.model_fields) - set(BaseChatModel.model_fields)
    assert unnamed(own, ROOT / "docs/chat-model.md") == []


def test_every_setting_of_the_server_is_named() -> None:
    assert unnamed(Settings.model_fields, ROOT / "docs/server.md") == []


def test_every_room_is_in_the_tree() -> None:
    (tree,) = blocks(CONTRIBUTING, "text")
    rooms = re.findall(r"^  (\w+)(?:/|\.py) ", tree, re.MULTILINE)
    assert rooms == [room for room in ORDER if room != "__main__"]


def test_the_files_of_the_walks_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)`", CONTRIBUTING.read_text())
    assert [
        path for path in named if not any((at / path).is_file() for at in (ROOT, ROOT / NAME))
    ] == []


# Form


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) < 150


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_lines_fit(page: Path) -> None:
    """All but tables and addresses."""
    lines = [URL.sub("", line) for line in page.read_text().splitlines()]
    assert [line for line in lines if len(line) > COLUMNS and not line.startswith("|")] == []


def anchors(page: Path) -> set[str]:
    """What a link may lead to in a page, as GitHub makes it from headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken: list[str] = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if URL.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_readme() -> None:
    text = README.read_text()
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []
