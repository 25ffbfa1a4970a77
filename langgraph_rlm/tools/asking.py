"""Asking: one pause, until it has an answer of the right form. Knows no tool.

A caller in Python is told of a wrong answer by an error. A run with an id is a server's, which
would mark its thread as failed and show nobody what was wrong: there the call pauses again, and the
pause says why.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import PlainValidator, ValidationError, WithJsonSchema

from langgraph_rlm.errors import ResumeError
from langgraph_rlm.log.text import clip
from langgraph_rlm.pregel.given_again import paused_again, run_of
from langgraph_rlm.storage.json_types import is_dict

PROBLEM = "problem"
"""Key of a pause's value that says why its last answer was refused."""

PROBLEM_CHARS = 1_000
"""Most characters of it."""

PROBLEMS = "__rlm_problems"
"""Key of a config's `configurable`: why answers were refused in this invocation, by the ids of
their pauses."""


def ask(value: Any, schema: Any, check: Callable[[Any], Any] | None) -> Any:
    """Pause until there is an answer of the right form, and give it.

    LangGraph stores an answer as soon as it has passed the check of its `interrupt`, and keeps a
    stored one for ever. So everything that can be wrong with an answer is part of that check.

    Args:
        value: what the pause shows.
        schema: the JSON schema of its answers.
        check: gives an answer as it is stored, or raises `ResumeError`; None takes any.

    Raises:
        GraphInterrupt: there is no answer yet; or, in a run with an id, a wrong one.
        ResumeError: the answer has the wrong form. The pause stays open.
    """
    from langgraph.config import get_config
    from langgraph.errors import GraphInterrupt
    from langgraph.types import Interrupt, interrupt

    config = get_config()
    problems: dict[str, str] = config.get("configurable", {}).get(PROBLEMS, {})
    form: Any = None
    if check is not None:
        form = Annotated[Any, PlainValidator(check), WithJsonSchema(schema)]
    try:
        return interrupt(value, response_schema=form)
    except ValidationError as error:
        refused = error.errors()[0].get("ctx", {})["error"]
    except GraphInterrupt as paused:
        [pause] = paused.args[0]
        if pause.id not in problems:
            raise
        told = with_problem(value, problems[pause.id])
        again = Interrupt(value=told, id=pause.id, response_schema=pause.response_schema)
        raise GraphInterrupt((again,)) from None
    if run_of(config) is None:
        raise refused from None
    problem = problem_of(refused)
    again = paused_again(with_problem(value, problem), schema)
    problems[again.id] = problem
    raise GraphInterrupt((again,))


def problem_of(error: ResumeError) -> str:
    """Say in a pause why an answer was refused; its schema stands beside it."""
    return clip(error.problem or str(error), limit=PROBLEM_CHARS)


def with_problem(value: Any, problem: str) -> Any:
    """Put into the value of a pause why its last answer was refused: under a key of its own, and
    where LangChain's pages show it, in the description of the first action."""
    if not is_dict(value):
        return value
    told = {**value, PROBLEM: problem}
    actions = value.get("action_requests")
    if actions:
        told["action_requests"] = [_described(actions[0], problem), *actions[1:]]
    elif "description" in value:
        told = _described(told, problem)
    return told


def _described(action: Mapping[str, Any], problem: str) -> dict[str, Any]:
    known = action.get("description")
    return {**action, "description": f"{problem}\n\n{known}" if known else problem}
