"""A backend of one's own: it runs in a graph, and `repl_contract` says which promises it breaks."""

import pytest

from langgraph_rlm import ConfigurationError, create_rlm
from langgraph_rlm.repl.base import Answer, Finished, Outcome, Session, SessionSpec
from langgraph_rlm.repl.contract import CHECKS, ContractBroken
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.testing import ScriptedModel, cell, repl_contract


class ToySession:
    """Hands everything on to a session of Monty."""

    def __init__(self, inner: Session) -> None:
        self.inner = inner

    def feed(self, code: str, restore: frozenset[str] = frozenset()) -> Outcome:
        return self.after(self.inner.feed(code, restore))

    def resume(self, answer: Answer) -> Outcome:
        return self.after(self.inner.resume(answer))

    def after(self, outcome: Outcome) -> Outcome:
        return outcome

    def kill(self) -> None:
        self.inner.kill()

    def close(self) -> None:
        self.inner.close()


class ToyBackend:
    """A backend of one's own."""

    name = "toy"
    notes = "The interpreter is a toy."

    def __init__(self) -> None:
        self.monty = MontyBackend()
        self.opened = 0

    def open(self, spec: SessionSpec) -> Session:
        self.opened += 1
        return ToySession(self.monty.open(spec))

    def release_idle(self) -> None:
        self.monty.release_idle()

    def close(self) -> None:
        self.monty.close()


class ForgetfulSession(ToySession):
    """Starts anew after each error."""

    def __init__(self, monty: MontyBackend, spec: SessionSpec) -> None:
        super().__init__(monty.open(spec))
        self.monty = monty
        self.spec = spec

    def after(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Finished) and outcome.error is not None:
            self.inner.close()
            self.inner = self.monty.open(self.spec)
        return outcome


class ForgetfulBackend(ToyBackend):
    """Loses all variables when a cell raises."""

    name = "forgetful"

    def open(self, spec: SessionSpec) -> Session:
        return ForgetfulSession(self.monty, spec)


def test_a_backend_of_ones_own_answers_a_question() -> None:
    backend = ToyBackend()
    model = ScriptedModel(replies=[cell("words = context.split()"), cell("FINAL(len(words))")])
    out = create_rlm(model, sandbox=backend).invoke({"query": "count", "context": "a b c"})
    assert out["answer"] == "3"
    assert backend.opened == 1
    assert "The interpreter is a toy." in model.prompts[0][0].text


def test_a_broken_promise_is_named_with_its_reason() -> None:
    with pytest.raises(ContractBroken) as caught:
        repl_contract(ForgetfulBackend())
    assert "an_error_keeps_what_was_bound" in caught.value.broken
    assert "names_stay" not in caught.value.broken
    text = str(caught.value)
    assert text.startswith("The backend 'forgetful' breaks ")
    assert "A cell that raises keeps what it had bound" in text
    assert "NameError: name 'x' is not defined" in text


def test_checks_can_be_left_out_by_name() -> None:
    others = [check.name for check in CHECKS if check.name != "names_stay"]
    assert repl_contract(ToyBackend(), skip=others) == ("names_stay",)
    with pytest.raises(ConfigurationError, match="no_such_check, which is not a check: names_stay"):
        repl_contract(ToyBackend(), skip=["no_such_check"])
