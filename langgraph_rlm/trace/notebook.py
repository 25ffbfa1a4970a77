"""Notebook: `show`, the trace page of a thread in a cell of Jupyter, with progress while it works.

The page is in a frame of its own: a sandbox of the browser that runs the page's script and nothing
else, has no origin, and so reaches neither the notebook nor its server.
"""

import html
import sys
import threading
import time
import uuid
from importlib import import_module
from typing import Any

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.history.homes import in_sync_use, saver_of
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.trace.follow import Changes, Follower
from langgraph_rlm.trace.reading import Trace
from langgraph_rlm.trace.save import html_of
from langgraph_rlm.trace.summary import progress_of, summary_of

SECONDS = 0.5
"""Between two looks at a thread that works; four times as long as a look takes, if that is more."""

MOST_SECONDS = 3600.0
"""How long a view waits for a thread that has not begun, or does not go on."""

MOST_PAGE_CHARS = 30_000_000
"""Largest page that is put into a notebook: its file has it too."""

HTML = "text/html"


def show(
    graph: Any, config: RunnableConfig, *, contexts: bool = False, height: int = 600
) -> "View":
    """Show a thread in a notebook: how far it is while it works, then its page.

    In Jupyter it gives back at once; the cell's output changes by itself until the run has ended or
    waits for a human. Call it before a run or after it. Elsewhere it prints a summary.

    Args:
        graph: see `langgraph_rlm.trace.atrace_of`.
        config: the thread.
        contexts: True to put the texts of contexts into the page, and so into the notebook's file.
        height: of the page, in pixels.

    Returns:
        What updates the output; `stop()` ends that, and `wait()` waits for the page.

    Raises:
        ConfigurationError: there is no checkpointer; or, outside of a notebook, no such thread.
    """
    saver_of(graph)
    view = View(graph, config, contexts=contexts, height=height)
    if _is_notebook():
        view.start()
    else:
        print(summary_of(wait_for(Follower(in_sync_use(graph), config).trace)))
    return view


def _is_notebook() -> bool:
    """Whether this is code of a notebook's kernel."""
    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return hasattr(get_ipython(), "kernel")


class View:
    """The output of one cell, which a thread of its own updates."""

    def __init__(self, graph: Any, config: RunnableConfig, *, contexts: bool, height: int) -> None:
        self._graph = graph
        self._config = config
        self._contexts = contexts
        self._height = height
        self._id = f"langgraph-rlm-{uuid.uuid4().hex}"
        self.text = ""
        """What the output says, as plain text."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=self._id, daemon=True)

    def start(self) -> None:
        """Make the output, and begin to update it."""
        told = "The run has not begun."
        self._publish({HTML: _panel(told), "text/plain": told}, is_new=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave the output as it is."""
        self._stopped.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the output has its page. The run must go on elsewhere meanwhile.

        Args:
            seconds: the longest time to wait; None for as long as it takes.
        """
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _follow(self) -> None:
        try:
            self._update_until_over()
        except Exception as error:  # noqa: BLE001 - the edge of a thread: its cell tells what failed
            self._put(f"The trace cannot be shown: {type(error).__name__}: {error}")

    def _update_until_over(self) -> None:
        follower = Follower(in_sync_use(self._graph), self._config)
        changed = time.monotonic()
        while not self._stopped.is_set() and time.monotonic() < changed + MOST_SECONDS:
            started = time.monotonic()
            changes = self._look(follower)
            if changes is not None and changes.state != "running":
                self._put_page(follower.last)
                return
            if changes is not None and (changes.records or changes.gone):
                self._put(progress_of(follower.last))
                changed = time.monotonic()
            took = time.monotonic() - started
            self._stopped.wait(max(SECONDS, 4 * took))

    def _look(self, follower: Follower) -> Changes | None:
        """Look once; None where the run has not begun."""
        try:
            return wait_for(follower.changes) if wait_for(follower.has_begun) else None
        except RuntimeError as error:
            # an InMemorySaver that a run writes to in another thread: the next look sees it whole
            if "changed size" not in str(error):
                raise
            return None

    def _put_page(self, trace: Trace) -> None:
        page = html_of([trace], contexts=self._contexts)
        told = summary_of(trace)
        if len(page) > MOST_PAGE_CHARS:
            self._put(f"{told}\n\nIts page is too large for a notebook: use save_trace.")
            return
        self._publish({HTML: frame_of(page, self._height), "text/plain": told})

    def _put(self, text: str) -> None:
        self._publish({HTML: _panel(text), "text/plain": text})

    def _publish(self, data: dict[str, str], *, is_new: bool = False) -> None:
        self.text = data["text/plain"]
        display: Any = import_module("IPython.display")
        display.publish_display_data(data, transient={"display_id": self._id}, update=not is_new)


def frame_of(page: str, height: int) -> str:
    """Give a page in a frame of its own, as HTML."""
    return (
        f'<iframe title="Trace" sandbox="allow-scripts" srcdoc="{html.escape(page)}" '
        f'style="width:100%;height:{height:d}px;border:0"></iframe>'
    )


def _panel(text: str) -> str:
    """Give plain text as HTML: models wrote some of it."""
    return f"<pre>{html.escape(text)}</pre>"
