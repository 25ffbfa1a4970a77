"""Mounted: the OpenAI-compatible server inside a worker of Aegra, at /openai/v1.

Aegra takes a FastAPI application only, and runs the lifespan of that one; ours opens the database.
Its own authentication does not cover what is mounted, so that keys of ours have to be there.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server import Settings, create_app

KEYS = "LANGGRAPH_RLM_API_KEY"

if not os.environ.get(KEYS):
    raise ConfigurationError(
        f"Anybody who reaches the worker could spend your models' money at /openai/v1. Set {KEYS} "
        "to the keys that clients have to give."
    )
MODEL = os.environ.get("LANGGRAPH_RLM_MODEL")
openai = create_app(Settings(db=os.environ["DATABASE_URL"], model=MODEL))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Open and close what the mounted server works with: it gets no lifespan of its own."""
    async with openai.router.lifespan_context(openai):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/openai", openai)
