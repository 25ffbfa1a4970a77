"""Page: how fast the page of a large trace is drawn and scrolled, and how much memory it takes.

    python benchmarks/page.py                  # 10,000 calls in one batch, and 1,110 children
    python benchmarks/page.py --calls 100000

Records are made up (`tests/page_samples.py`): a run with as many calls takes minutes. Seconds to
first paint are Chromium's own, from the start of the navigation to a file. Frames are counted while
the list of steps, all unfolded, is scrolled by 300 pixels a frame for two seconds; a screen shows
at most 60 a second. The heap is JavaScript's, after a collection.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from langgraph_rlm.trace.html import page_of  # noqa: E402
from tests.browser import chromium  # noqa: E402
from tests.page_samples import Record, crowd, levels  # noqa: E402

SCROLL = """() => new Promise((done) => {
  const list = document.querySelector(".steps");
  const frames = [];
  let before = performance.now();
  const step = (now) => {
    frames.push(now - before);
    before = now;
    list.scrollTop += 300;
    if (frames.length && frames.reduce((sum, ms) => sum + ms, 0) > 2000) {
      frames.sort((a, b) => a - b);
      done({ count: frames.length / 2, slow: frames[Math.floor(frames.length * 0.95)] });
    } else requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
HEADS = (
    f"{'':<18}{'file':>9}{'rows':>9}{'first paint':>13}{'frames/s':>10}{'95 % below':>12}"
    f"{'heap':>9}{'nodes':>7}"
)
ROW = "{rows:>9,.0f}{paint:>11.2f} s{frames:>10.1f}{slow:>9.1f} ms{heap:>6.1f} MB{nodes:>7,.0f}"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def measured(browser: Any, address: str) -> dict[str, float]:
    """Open a page in a new profile, unfold all, scroll, and count."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(address)
    page.wait_for_selector(".row")
    page.wait_for_function(f"{PAINT} !== undefined")
    paint = page.evaluate(PAINT) / 1000
    page.keyboard.press("e")
    page.wait_for_timeout(300)
    rows = page.evaluate("document.querySelector('.sheet').clientHeight / 26")
    frames = page.evaluate(SCROLL)
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    nodes = page.evaluate("document.querySelectorAll('*').length")
    page.close()
    return {
        "rows": rows,
        "paint": paint,
        "frames": frames["count"],
        "slow": frames["slow"],
        "heap": heap / 1e6,
        "nodes": nodes,
    }


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=10, help="children of each RLM, 3 levels")
    parser.add_argument("--times", type=int, default=3, help="the median is printed")
    options = parser.parse_args()
    runs: dict[str, list[Record]] = {
        f"{options.calls:,} calls": crowd(options.calls),
        f"{sum(options.width**level for level in (1, 2, 3)):,} child RLMs": levels(options.width),
    }
    print(HEADS)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for name, records in runs.items():
            file = Path(folder) / "page.html"
            boot = {"mode": "static", "traces": [{"records": records}]}
            file.write_text(page_of(boot), encoding="utf-8")
            found = [measured(browser, file.as_uri()) for _ in range(options.times)]
            got = sorted(found, key=lambda one: one["paint"])[len(found) // 2]
            size = file.stat().st_size / 1e6
            print(f"{name:<18}{size:>6.1f} MB{ROW.format(**got)}", flush=True)


if __name__ == "__main__":
    main()
