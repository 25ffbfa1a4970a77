"""Random requests by the server's own OpenAPI document: whatever comes, the server has an answer of its own, never a 5xx."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig  # noqa: F401

from langgraph_rlm.server import create_app
from langgraph_rlm.testing import ScriptedModel

from .servers import Served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    with Served(create_app(chat=lambda model_id, owner: ScriptedModel(answer=lambda text: f"got {len(text)}"))) as server:
        yield schemathesis.openapi.from_url(server.url.replace("/v1", "/openapi.json"))


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_server(case: Any) -> None:
    response = case.call()
    not_a_server_error(None, response, case)
    assert response.status_code < 500, response.text
