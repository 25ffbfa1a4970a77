"""The page of `langgraph-rlm ui` in a browser: approvals, forks, questions, and two tabs at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from langgraph_rlm.ui import app
from tests.browser import chromium, expect, why_no_browser
from tests.servers import Served
from tests.test_ui import KEY, Shop

pytestmark = pytest.mark.skipif(why_no_browser() is not None, reason=str(why_no_browser()))

ANSWERS = "got = buy('tea', count=2)\nFINAL(str(got))"


class Tabs:
    """A server of one shop, and tabs that are open on it."""

    def __init__(self, context: Any, url: str, shop: Shop) -> None:
        self.context, self.url, self.shop = context, url, shop
        self.errors: list[str] = []
        self.first = self.open(f"/?token={KEY}")

    def open(self, at: str = "/") -> Any:
        """Open one more tab."""
        tab = self.context.new_page()
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.goto(f"{self.url}{at}")
        tab.wait_for_selector(".bar")
        return tab

    def ask(self, question: str) -> Any:
        """Ask in a new thread, from the page."""
        self.first.get_by_label("Ask in a new thread").fill(question)
        self.first.get_by_role("button", name="Ask", exact=True).click()
        expect(self.first.locator(".head .question")).to_have_text(question)
        return self.first


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@contextmanager
def tabs(browser: Any, *codes: str, **options: Any) -> Iterator[Tabs]:
    shop = Shop(*codes or [ANSWERS], **options)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(15_000)
    with Served(app(shop.graph, key=KEY)) as server:
        opened = Tabs(context, server.url.removesuffix("/v1"), shop)
        try:
            yield opened
        finally:
            context.close()  # or the server waits for tabs that follow
        assert opened.errors == []


def pause(tab: Any) -> Any:
    """The card of the call that waits."""
    tab.locator(".waiting button").click()
    return tab.locator(".card")


def test_an_approval_is_given_in_the_page_and_its_tool_runs_once(browser: Any) -> None:
    """A second tab that answers later is told so, and both show the answer. What was decided stays to be read."""
    with tabs(browser) as opened:
        tab = opened.ask("Buy some tea.")
        card = pause(tab)
        expect(card).to_contain_text('"item": "tea"')
        other = opened.open(tab.url.removeprefix(opened.url))
        theirs = pause(other)
        card.get_by_role("button", name="Approve").click()
        expect(tab.locator(".head .answer")).to_contain_text("'count': 2")
        expect(other.locator(".head .answer")).to_contain_text("'count': 2")
        expect(theirs).to_have_count(0)  # what is over cannot be answered
        assert opened.shop.bought == [("tea", 2)]
        tab.locator(".row.k-call").click()
        expect(tab.locator(".decision")).to_contain_text("approved it")


@pytest.mark.slow
def test_a_tab_that_comes_too_late_is_told(browser: Any) -> None:
    """Its answer is on the way while another tab's is taken: the server's refusal is shown, and nothing runs twice."""
    with tabs(browser) as opened:
        tab = opened.ask("Buy some tea.")
        card = pause(tab)
        late = opened.open(tab.url.removeprefix(opened.url))
        on_the_way: list[Any] = []
        late.route("**/answers", lambda route: on_the_way.append(route))
        pause(late).get_by_role("button", name="Approve").click()
        card.get_by_role("button", name="Approve").click()
        expect(tab.locator(".head .answer")).to_contain_text("'count': 2")
        on_the_way[0].continue_()
        expect(late.locator(".band")).to_contain_text("answered")
        assert opened.shop.bought == [("tea", 2)]


@pytest.mark.slow
def test_arguments_are_edited_and_the_server_says_what_is_wrong(browser: Any) -> None:
    """JSON that is none, and arguments that do not fit, are refused in words; then what fits is done."""
    with tabs(browser) as opened:
        card = pause(opened.ask("Buy some tea."))
        card.get_by_role("button", name="Edit …").click()
        field, send = (
            card.get_by_role("textbox"),
            card.get_by_role("button", name="Approve with these"),
        )
        field.fill('{"item": ')
        send.click()
        expect(card.get_by_role("alert")).to_contain_text("This is not JSON")
        field.fill('{"item": "jam", "count": "many"}')
        send.click()
        expect(card.get_by_role("alert")).to_contain_text("count")
        field.fill('{"item": "jam", "count": 3}')
        send.click()
        expect(opened.first.locator(".head .answer")).to_contain_text("jam")
        assert opened.shop.bought == [("jam", 3)]


@pytest.mark.slow
def test_a_rejection_has_its_reason(browser: Any) -> None:
    """The code is told why."""
    code = "try:\n    got = buy('tea')\nexcept RuntimeError as error:\n    got = str(error)\nFINAL(got)"
    with tabs(browser, code) as opened:
        card = pause(opened.ask("Buy some tea."))
        card.get_by_role("button", name="Reject …").click()
        card.get_by_label("Why").fill("we have <b>enough</b>")
        card.get_by_role("button", name="Reject", exact=True).click()
        expect(opened.first.locator(".head .answer")).to_contain_text("we have <b>enough</b>")
        assert opened.shop.bought == []


def test_a_fork_is_followed_beside_the_old_branch(browser: Any) -> None:
    """Code of a cell is edited: the run goes on in a branch of its own, and what differs is marked."""
    with tabs(browser, "x = 'old'\nFINAL(x)") as opened:
        tab = opened.ask("Which?")
        expect(tab.locator(".head .answer")).to_have_text("old")
        tab.locator(".row.k-cell").click()
        tab.get_by_role("button", name="Fork with other code").click()
        tab.locator(".fork textarea").fill("x = 'new'\nFINAL(x)")
        tab.get_by_role("button", name="Fork here").click()
        expect(tab.locator(".tabs [aria-current]")).to_have_text("Compare")
        expect(tab.locator(".pair .mood.chg").first).to_have_text("differs")
        tab.keyboard.press("1")
        expect(tab.locator(".head .answer")).to_have_text("new")
        tab.keyboard.press("4")
        tab.locator(".pair", has_text="Answer").click()
        expect(tab.locator(".sides .add").first).to_have_text("old")
        expect(tab.locator(".sides .del").first).to_have_text("new")


@pytest.mark.slow
def test_threads_are_listed_and_asked_again(browser: Any) -> None:
    """A thread that is done takes another question; the list is filtered by what was asked."""
    with tabs(browser, "FINAL('one')", "FINAL('two')") as opened:
        tab = opened.ask("The first thing?")
        expect(tab.locator(".head .answer")).to_have_text("one")
        tab.get_by_role("button", name="Ask again …").click()
        tab.get_by_label("Another question to this thread").fill("And the second?")
        tab.get_by_role("button", name="Ask", exact=True).click()
        expect(tab.locator(".head .answer")).to_have_text("two")
        expect(tab.locator(".row.k-question")).to_have_count(2)
        tab.keyboard.press("5")
        expect(tab.locator(".threads .list li")).to_have_count(1)
        tab.get_by_label("Filter").fill("nothing like it")
        expect(tab.locator(".threads .list li")).to_have_count(0)
        tab.get_by_label("Filter").fill("done")
        tab.locator(".threads .list li button").click()
        expect(tab.locator(".head .answer")).to_have_text("two")
