"""The page of a trace, in a browser: what it shows, how it is gone through, and what it never lets texts do."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from langgraph_rlm.trace.enclosed import page_texts
from langgraph_rlm.trace.html import page_of
from tests.browser import chromium, expect, why_no_browser
from tests.page_samples import Record, crowd, hostile, levels, mapped, untimed
from tests.page_story import ANSWER, LEASES, QUESTION, both

ROOT = Path(__file__).parent.parent
BUILT = ROOT / "langgraph_rlm/trace/page"
needs_browser = pytest.mark.skipif(why_no_browser() is not None, reason=str(why_no_browser()))

Traces = list[list[Record]]


class Opened:
    """A page that is open, and what went wrong in it or was asked of anybody."""

    def __init__(self, context: Any, folder: Path) -> None:
        self.folder = folder
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda said: self.errors.append(said.text) if said.type == "error" else None
        )
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", lambda dialog: (self.errors.append("a dialog"), dialog.dismiss()))

    def show(self, traces: Traces, texts: list[dict[str, str]] = [], at: str = "") -> Any:  # noqa: B006
        """Write a page to a file and open it."""
        file = self.folder / "page.html"
        boot = {"mode": "static", "traces": [{"records": records} for records in traces]}
        file.write_text(page_of(boot, texts), encoding="utf-8")
        return self.go(f"{file.as_uri()}{at}")

    def go(self, address: str) -> Any:
        """Open an address anew."""
        self.page.goto("about:blank")
        self.page.goto(address)
        self.page.wait_for_selector(".bar")
        return self.page

    def check(self) -> None:
        """Nothing failed, and nothing but the file was asked for."""
        assert self.errors == []
        assert [
            url for url in self.asked if not url.startswith(("file:", "about:", "data:", "blob:"))
        ] == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(8_000)
    page = Opened(context, tmp_path)
    yield page
    page.check()
    context.close()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Traces, list[dict[str, str]]]:
    """The records of a real run and of its fork, and their texts."""
    folder = tmp_path_factory.mktemp("story")
    with ThreadPoolExecutor(1) as elsewhere:  # Playwright's loop runs in this thread
        traces = elsewhere.submit(asyncio.run, both(folder, speed=6)).result()
    texts = [page_texts(trace, contexts=True) for trace in traces]
    return [
        mapped(list(trace.records), LEASES, known)
        for trace, known in zip(traces, texts, strict=True)
    ], texts


def row(page: Any, text: str) -> Any:
    return page.locator(".row", has_text=text).first


def call(page: Any) -> Any:
    """The first call of the run, a batch."""
    return page.locator(".row.k-call").first


def picked(page: Any) -> str:
    """The name of the row that is picked, once the page is drawn."""
    page.evaluate(
        "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
    )
    return page.locator(".row.picked .name").inner_text()


def names(page: Any) -> list[str]:
    return page.locator(".row .name").all_inner_texts()


@needs_browser
def test_the_steps_of_a_run_and_what_stands_behind_each(opened: Opened, story: Any) -> None:
    """Question, turns, code, output, errors, a batch with a failed call, child RLMs, and who approved what."""
    page = opened.show(*story)
    assert page.locator(".question").first.inner_text() == QUESTION
    assert page.locator(".head .answer").inner_text().startswith(ANSWER[:60])
    assert page.locator(".runs").inner_text().split() == ["killed", "paused", "finished"]
    assert [name for name in names(page) if name.startswith("Turn")] == [
        f"Turn {number}" for number in range(1, 7)
    ]

    row(page, "Turn 1").click()
    details = page.locator(".details")
    for text in (
        "Reasoning",
        "each headed by LEASE",
        "First a look",
        "heads = grep(",
        "LEASE 00, Aalen",
    ):
        expect(details).to_contain_text(text)
    assert details.locator(".t-function, .t-keyword, .t-builtin, .t-string").count() > 3

    row(page, "sent to owner@").click()
    expect(details).to_contain_text("approved it")
    expect(details).to_contain_text("owner@harbour.example")
    details.locator(".raw summary").click()
    expect(details).to_contain_text('"type": "reply"')
    row(page, "7 leases").locator(".twist").click()
    expect(page.locator(".row", has_text="I take the rents")).to_have_count(1)

    call(page).click()
    details.get_by_role("button", name="429: the rate limit").click()
    expect(page.locator(".row.picked .mood")).to_have_text(
        "failed"
    )  # it was folded, and is not any more
    expect(details).to_contain_text("Who may end this lease")
    expect(details).to_contain_text("waited")


@needs_browser
def test_search_finds_what_stands_behind_references(opened: Opened, story: Any) -> None:
    """Hits are counted and gone through; what they stand in is unfolded."""
    page = opened.show(*story)
    page.keyboard.press("/")
    page.keyboard.type(
        "Celle, Harbour Street 14"
    )  # within a prompt of 600 characters, item 11 of a folded batch
    expect(page.locator(".found")).to_have_text("1 step")
    page.keyboard.press("Enter")
    expect(page.locator(".row.picked.hit")).to_have_count(1)
    expect(page.locator(".found")).to_have_text("1 of 1 step")
    assert "Celle, Harbour Street 14" in page.locator(".details").inner_text()
    assert page.evaluate("[...CSS.highlights.keys()]") == ["found"]
    page.locator(".search input").fill("zzz is nowhere")
    expect(page.locator(".found")).to_have_text("nothing found")
    page.keyboard.press("Escape")
    expect(page.locator(".found")).to_have_count(0)


@needs_browser
def test_the_keyboard_is_enough(opened: Opened, story: Any) -> None:
    """Moving, folding, views, help and search need no mouse."""
    page = opened.show(*story)
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    assert picked(page) == "Turn 1"
    page.keyboard.press("ArrowLeft")
    assert page.locator(".row.picked").get_attribute("aria-expanded") == "false"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert picked(page) == "Cell"
    page.keyboard.press("k")
    page.keyboard.press("End")
    assert picked(page) == "Answer"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    for key, name in zip("1234", ("Steps", "Coverage", "Spend", "Compare"), strict=True):
        page.keyboard.press(key)
        expect(page.locator(".tabs [aria-current]")).to_have_text(name)


@needs_browser
def test_any_place_has_a_link(opened: Opened, story: Any) -> None:
    """The address of a file leads to the step, the search and the view that it was copied from."""
    page = opened.show(*story)
    call(page).click()
    page.keyboard.press("ArrowRight")
    row(page, "Lease 02").click()
    page.wait_for_url("**at=**")
    address = page.url
    expect(opened.go(address).locator(".row.picked .name")).to_have_text("3")
    page.keyboard.press("2")
    page.wait_for_url("**view=coverage**")
    expect(opened.go(page.url).locator(".map")).to_have_count(1)


@needs_browser
def test_coverage_leads_to_the_text_and_to_the_calls(opened: Opened, story: Any) -> None:
    """A click on the map names what is known of the place; a click on a quote shows where it stands, or how near."""
    page = opened.show(*story)
    assert page.locator(".quote.not_found").inner_text().endswith("not found in the contexts")
    page.locator("a.quote.near").click()
    expect(page.locator(".region")).to_contain_text("91 % the same")
    assert (
        page.locator(".p-quote")
        .inner_text()
        .startswith("The landlord may end this lease at once if")
    )
    link = page.locator(".touched button").first
    assert "1.0/0/" in link.inner_text()
    strip = page.get_by_role("slider")
    box = strip.bounding_box()
    strip.click(position={"x": box["width"] * 0.97, "y": 8})
    expect(page.locator(".region")).to_contain_text("never seen by a model")
    expect(page.locator(".source")).to_contain_text("LEASE 35")
    strip.press("Home")
    expect(page.locator(".region")).to_contain_text("Byte 0: shown")
    page.get_by_role("button", name="Next").click()
    page.locator(".touched").wait_for()


@needs_browser
def test_what_is_not_known_is_not_claimed(opened: Opened, story: Any) -> None:
    """A context that code had as a variable says so; a share that is not known is not given as a figure."""
    (records, other), texts = story
    page = opened.show(
        [mapped(records, LEASES, texts[0], seen_share=None), other], texts, "#view=coverage"
    )
    assert "how much was seen is not known" in page.locator(".map").inner_text()
    assert "used it as a whole" in page.locator(".map").inner_text()
    assert "Never seen" not in page.locator(".map").inner_text()
    page.keyboard.press("1")
    expect(page.locator(".facts")).to_contain_text("Seen by modelsnot known")


@needs_browser
def test_two_runs_stand_side_by_side(opened: Opened, story: Any) -> None:
    """Steps are aligned by place; what differs is marked, down to the words."""
    page = opened.show(*story, "#view=compare")
    marks = page.locator(".pair .mood").all_inner_texts()
    assert marks.count("differs") == 4 and "same" not in marks
    page.locator(".pair", has_text="nobody may end it").click()
    expect(page.locator(".sides .add").first).to_be_visible()
    assert "nobody" in "".join(page.locator(".sides .add").all_inner_texts())
    assert page.locator(".totals .differs").count() >= 1
    page.get_by_role("checkbox").check()
    expect(page.locator(".pair .mood.same").first).to_have_text("same")


@needs_browser
def test_spend_is_drawn_against_the_limits(opened: Opened, story: Any) -> None:
    """Cost, tokens and sub-calls have a chart each, which says the sum and the limit."""
    page = opened.show(*story, "#view=spend")
    said = page.locator(".chart figcaption").all_inner_texts()
    assert [text.split()[0] for text in said] == ["Cost", "Tokens", "Sub-calls"]
    assert "of $0.050" in said[0] and "no limit" in said[1] and "of 200" in said[2]
    assert page.locator(".chart canvas").count() == 3


@needs_browser
def test_texts_never_become_markup(opened: Opened, story: Any) -> None:
    """Hostile strings in every field, names and types included: they are shown, and do nothing."""
    traces, texts = story
    spoilt: list[str] = []
    for records, known in hostile(traces[0], texts[0]):
        page = opened.show([records, traces[1]], [known, texts[1]])
        for key in "12341":
            page.keyboard.press(key)
        page.keyboard.press("e")
        for _ in range(20):
            page.keyboard.press("j")
        assert "native code" not in page.locator("body").inner_text()
        spoilt.append(page.locator("body").inner_text())
        assert (
            page.locator(
                "img, iframe, object, embed, base, form, #app script, #app style, #app svg"
            ).count()
            == 0
        )
        assert (
            page.evaluate(
                "[...document.querySelectorAll('a')].filter((a) => a.protocol !== 'file:').length"
            )
            == 0
        )
        assert page.evaluate("window.hostile") is None
    assert "U+202E" in spoilt[0] and "<b>bold</b>" in spoilt[0]


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, story: Any, tmp_path: Path, scheme: Any) -> None:
    """Roles, labels, contrast and focus of each view are as WCAG 2.1 AA asks."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    ).Axe()
    rules = (
        {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    )  # the rest is the same in both
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    opened = Opened(context, tmp_path)
    page = opened.show(*story)
    for key in ("j", "2", "3", "4"):
        page.keyboard.press(key)
        if key == "2":
            page.get_by_role("slider").press("Home")
        page.wait_for_timeout(80)
        found = axe.run(page, options=rules).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [
            (one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in serious
        ] == []
    context.close()


@needs_browser
@pytest.mark.parametrize(
    "records", [lambda: crowd(10_000), lambda: levels(10)], ids=["10,000 calls", "1,110 child RLMs"]
)
def test_only_what_is_on_the_screen_is_made(
    opened: Opened, records: Callable[[], list[Record]]
) -> None:
    """All unfolded and scrolled to the end, the page has no more elements than a small one."""
    page = opened.show([records()])
    page.keyboard.press("e")
    page.keyboard.press("End")
    expect(page.locator(".row.picked .name")).to_have_text("Answer")
    assert page.evaluate("document.querySelector('.sheet').clientHeight / 26") > 4_000
    assert page.evaluate("document.querySelectorAll('*').length") < 900
    canvas = page.evaluate("document.querySelector('.bars').height")
    assert canvas < 4_000


@needs_browser
def test_a_phone_shows_steps_first_and_details_over_them(
    browser: Any, story: Any, tmp_path: Path
) -> None:
    """One column: a step that is touched fills the screen, and leads back."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    opened = Opened(context, tmp_path)
    page = opened.show(*story)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    row(page, "Turn 2").tap()
    expect(page.locator(".details")).to_be_visible()
    assert page.locator(".details").bounding_box()["width"] == 390
    page.get_by_role("button", name="← Steps").tap()
    expect(page.locator(".details")).not_to_be_visible()
    opened.check()
    context.close()


@needs_browser
def test_logs_of_before_have_no_times_and_are_shown(opened: Opened) -> None:
    """Without times there are no bars, and all else is there."""
    page = opened.show([untimed(crowd(20))])
    assert "no times" in page.locator(".untimed").inner_text()
    call(page).click()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".row")).to_have_count(25)
    page.keyboard.press("3")
    expect(page.locator(".spend")).to_contain_text("no times")


def test_the_script_cannot_end_its_element() -> None:
    """The built files stand in a page as they are."""
    for name in ("app.js", "app.css"):
        text = (BUILT / name).read_text(encoding="utf-8").lower()
        assert not any(end in text for end in ("</script", "</style", "<!--", "<script"))
        assert (
            "http://" not in text.replace("http://www.w3.org/", "")
            and "sourcemappingurl" not in text
        )


def test_every_library_in_the_page_has_its_licence() -> None:
    """What `package.json` puts into the page is named with its licence."""
    package = json.loads((ROOT / "web/package.json").read_text())
    licences = (BUILT / "LICENSES.txt").read_text(encoding="utf-8")
    for name, version in package["dependencies"].items():
        assert f"{name} {version} (" in licences
        assert version[0].isdigit()  # pinned


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm on this machine")
def test_building_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """What is committed is what the sources and the lock file give."""
    web = tmp_path / "web"
    shutil.copytree(ROOT / "web", web, ignore=shutil.ignore_patterns("node_modules"))
    installed = subprocess.run(
        ["npm", "ci"], cwd=web, capture_output=True, text=True, timeout=110, check=False
    )
    if installed.returncode:
        pytest.skip(f"npm ci found no registry: {installed.stderr[-300:]}")
    subprocess.run(["node", "build.mjs", str(tmp_path / "out")], cwd=web, check=True, timeout=60)
    for file in BUILT.iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes(), file.name
