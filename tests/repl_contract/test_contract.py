"""Every promise of the contract, on every backend of this package."""

import pytest

from langgraph_rlm.repl.base import Backend
from langgraph_rlm.repl.contract import CHECKS
from langgraph_rlm.repl.contract.check import Check

pytestmark = pytest.mark.filterwarnings("ignore:sandbox='local' is not a sandbox")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_backend_keeps_its_promise(backend: Backend, check: Check) -> None:
    check.on(backend)


def test_every_promise_is_a_sentence_with_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.promise.endswith("."), check.name
