"""The live page in a browser: approvals, forks, tabs, runs of other processes, hostile texts, and pages of other sites."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from langgraph_rlm.testing import cell
from langgraph_rlm.ui import app

from .browser import chromium, expect, why_no_browser
from .models import rlm, thread
from .servers import Served
from .test_ui import KEY, Shop
from .test_ui_processes import Processes

pytestmark = pytest.mark.skipif(why_no_browser() is not None, reason=str(why_no_browser()))


def elsewhere(call: Any, *given: Any) -> Any:
    """Call sync code of LangGraph: Playwright's loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *given).result()


class Browser:
    """A browser that has the cookie, and what went wrong in its tabs."""

    def __init__(self, context: Any, url: str) -> None:
        self.url = url.removesuffix("/v1")
        self.context = context
        self.problems: list[str] = []

    def tab(self, name: str = "t") -> Any:
        """A tab that shows a thread."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: (self.problems.append("a dialog"), dialog.dismiss()))
        page.on("console", self._heard)
        page.goto(f"{self.url}/?token={KEY}")
        page.wait_for_selector(".bar")
        assert "token" not in page.url and KEY not in page.content()
        if name:
            page.goto(f"{self.url}/?thread={name}")
            page.wait_for_selector(".bar")
        return page

    def _heard(self, said: Any) -> None:
        if (
            said.type == "error" and "409" not in said.text
        ):  # a refused answer is no fault of the page
            self.problems.append(said.text)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with chromium() as started:
        yield started


@contextmanager
def live(chrome: Any, given: Any) -> Iterator[Browser]:
    """A browser on the page of a graph or a saver."""
    context = chrome.new_context(viewport={"width": 1300, "height": 900})
    context.set_default_timeout(10_000)
    with Served(app(given, key=KEY, user="ann")) as server:
        browser = Browser(context, server.url)
        yield browser
        context.close()
    assert browser.problems == []


def test_an_approval_in_two_tabs_runs_its_tool_once(chrome: Any) -> None:
    shop = Shop("FINAL([buy('tea'), buy('jam')])")
    elsewhere(shop.graph.invoke, {"query": "shop"}, thread())
    with live(chrome, shop.graph) as browser:
        one, other = browser.tab(), browser.tab()
        for tab in (one, other):
            tab.locator(".waiting button").click()
        one.get_by_role("button", name="Approve", exact=True).click()
        expect(one.locator(".waiting")).to_contain_text("jam")
        expect(other.locator(".waiting")).to_contain_text("jam")
        assert shop.bought == [("tea", 1)]
        for tab in (one, other):
            tab.locator(".waiting button").click()
        other.get_by_role("button", name="Edit").click()
        other.locator("form textarea").fill('{"item": 7}')
        other.get_by_role("button", name="Approve with these").click()
        expect(other.get_by_role("alert")).to_contain_text("still waits")
        other.locator("form textarea").fill('{"item": "honey"}')
        other.get_by_role("button", name="Approve with these").click()
        for tab in (one, other):
            expect(tab.locator(".waiting")).to_have_count(0)
            expect(tab.locator(".head .answer")).to_contain_text("honey")
    assert shop.bought == [("tea", 1), ("honey", 1)]
    log = elsewhere(shop.graph.get_state, thread()).values["log"]
    assert log["0.0/1/0"]["decision"]["by"] == "ann"


def test_a_question_and_a_fork_beside_the_old_branch(chrome: Any) -> None:
    graph = rlm([cell("print('before')\nFINAL('one')")], checkpointer=InMemorySaver())
    with live(chrome, graph) as browser:
        page = browser.tab("")
        page.locator("form.ask textarea").fill("Which one?")
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.locator(".head .answer")).to_contain_text("one")
        page.locator(".row", has_text="Turn").first.click()
        page.get_by_role("button", name=re.compile("⑂")).first.click()
        editor = page.locator(".fork textarea")
        editor.fill(editor.input_value().replace("'one'", "'two'"))
        page.get_by_role("button", name="Fork here").click()
        expect(page.locator(".compare .totals")).to_be_visible()
        expect(page.locator(".compare .pair.chg").first).to_be_visible()


HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script>\u2028<!--"


def test_hostile_texts_are_texts(chrome: Any) -> None:
    code = f"print({HOSTILE!r})\nbuy({HOSTILE!r})"
    shop = Shop(code, saver=InMemorySaver())
    given = {"query": HOSTILE, "context": {HOSTILE[:60]: HOSTILE * 40}}
    elsewhere(shop.graph.invoke, given, thread())
    with live(chrome, shop.graph) as browser:
        page = browser.tab()
        for row in page.locator(".row").all()[:8]:
            row.click()
            assert page.locator("#app img[src=x]").count() == 0
        assert "onerror" in page.locator(".waiting").inner_text()
        page.locator(".waiting button").click()
        expect(page.locator(".card")).to_contain_text("onerror")
        assert page.locator("#app script").count() == 0


@pytest.mark.slow
def test_a_run_of_another_process_is_followed(chrome: Any, tmp_path: Path) -> None:
    processes = Processes(tmp_path, str(tmp_path / "threads.db"))
    with SqliteSaver.from_conn_string(processes.db) as saver:
        saver.setup()
        try:
            with live(chrome, saver) as browser:
                page = browser.tab("")
                processes.act("start")
                page.locator(".threads li button").click(timeout=30_000)
                expect(page.locator(".waiting")).to_contain_text("tea", timeout=30_000)
                processes.act("wait")
                page.locator(".waiting button").click()
                page.get_by_role("button", name="Approve", exact=True).click()
                expect(page.locator(".head .answer")).to_contain_text("tea", timeout=30_000)
                assert len(processes.bought) == 1
        finally:
            processes.end()


ATTACK = """<!doctype html><form id="f" method="post" enctype="text/plain" target="i"
  action="URL/api/threads/t/answers"><input name='{"answers":{"PAUSE":{"type":"approve"}},"x":"' value='"}'></form>
<iframe name="i"></iframe><iframe id="framed" src="URL/?thread=t"></iframe>
<img id="img" src="URL/api/threads"><script>
const body = JSON.stringify({answers: {"PAUSE": {type: "approve"}}});
const path = "URL/api/threads/t/answers";
const tries = [
  fetch(path, {method: "POST", credentials: "include", body}),
  fetch(path, {method: "POST", credentials: "include", mode: "no-cors", body,
    headers: {"content-type": "text/plain"}}),
  fetch(path, {method: "POST", credentials: "include", body,
    headers: {"content-type": "application/json", "x-csrf-token": "guess"}}),
  fetch("URL/", {credentials: "include"}).then((answer) => answer.text()),
  fetch("URL/api/threads", {credentials: "include"}).then((answer) => answer.json()),
];
document.getElementById("f").submit();
navigator.sendBeacon(path, new Blob([body], {type: "text/plain"}));
const source = new EventSource("URL/api/threads/t/events", {withCredentials: true});
const heard = [];
source.addEventListener("record", (event) => heard.push(event.data));
Promise.allSettled(tries).then((ended) => setTimeout(() => {
  window.got = {heard, read: ended.filter(({status, value}) => status == "fulfilled" && value?.type != "opaque")};
}, 500));
</script>"""


def test_a_page_of_another_port_neither_reads_nor_does_anything(chrome: Any) -> None:
    """Browsers send it the cookie: ports do not make another site."""
    shop = Shop()
    elsewhere(shop.graph.invoke, {"query": "shop"}, thread())
    (pause,) = elsewhere(shop.graph.get_state, thread()).interrupts
    with Served(app(shop.graph, key=KEY)) as server:
        url = server.url.removesuffix("/v1")
        context = chrome.new_context()
        page = context.new_page()
        page.goto(f"{url}/?token={KEY}")
        with attacker(ATTACK.replace("URL", url).replace("PAUSE", pause.id)) as evil:
            page.goto(evil)
            page.wait_for_function("window.got")
            assert page.evaluate("window.got") == {"heard": [], "read": []}
            assert page.evaluate("document.getElementById('img').naturalWidth") == 0
            framed = [frame for frame in page.frames if "thread=t" in frame.url]
            assert not framed or "csrf" not in framed[0].content()
        context.close()
    assert elsewhere(shop.graph.get_state, thread()).interrupts == (pause,)
    assert not shop.bought


@contextmanager
def attacker(html: str) -> Iterator[str]:
    """A page on another port of the same host."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        serving.join(10)
