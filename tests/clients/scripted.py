"""The server that the clients are tried with: what its model writes follows from what it is asked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from langgraph_rlm.server import Settings
from langgraph_rlm.testing import ScriptedModel, cell
from tests.servers import Served, rlm_app

PRICES = {"apple": "3", "pear": "4", "fig": "5"}
SHOPPING = cell(
    f"total = 0\nfor item in {list(PRICES)}:\n    total += int(price(item=item))\nFINAL(f'{{total}} in all')"
)
ADA = json.dumps({"name": "Ada", "born": 1815})


def script(text: str) -> str:
    """What the root model writes, by the last thing that it is told."""
    if "shop" in text:
        return SHOPPING
    if "more" in text:
        return cell("x += 1\nFINAL(str(x))")
    if "who" in text:
        return cell(f"FINAL({ADA!r})")
    return cell("x = 41\nFINAL('the answer is 42')")


@contextmanager
def scripted_server(store: Path) -> Iterator[str]:
    """Give the base URL of the server."""
    settings = Settings(blob_store=str(store))
    app = rlm_app(lambda: ScriptedModel(answer=script), settings=settings, blob_store=store)
    with Served(app) as server:
        yield server.url
