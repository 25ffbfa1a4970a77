"""What the prompt says that tools give to code: plain JSON types, and no module or class of the host."""

import datetime
import decimal
import enum
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Optional

import pytest
from langchain_core.tools import tool
from pydantic import BaseModel

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.repl.base import HostCall, Raised
from langgraph_rlm.repl.host import Host, OpenCell
from langgraph_rlm.repl.host_functions import respond
from langgraph_rlm.tools.given import as_tools
from langgraph_rlm.tools.returns import returns

from .models import rlm, root


class Place(BaseModel):
    name: str
    at: datetime.date | None = None


class Kind(enum.Enum):
    A = "a"
    B = "b"


@dataclass
class Point:
    x: int


class Plain:
    pass


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (str, "str"),
        (None, "None"),
        (int | None, "int | None"),
        (dict[str, int], "dict[str, int]"),
        (Any, "Any"),
        (Literal["a", "b"], "Literal['a', 'b']"),
        (datetime.date, "str"),
        (pathlib.Path, "str"),
        (Place, "{'name': str, 'at': str | None}"),
        (list[Place], "list[{'name': str, 'at': str | None}]"),
        (Optional[Point], "{'x': int} | None"),  # noqa: UP045
        (Kind, "'a' | 'b'"),
        (Sequence[int], "list[int]"),
        (Plain, "str"),
        (list[Plain], ""),
        ("Place", "{'name': str, 'at': str | None}"),
        ("Unknown", ""),
    ],
)
def test_a_return_type_is_what_code_gets(annotation: Any, shown: str) -> None:
    def find() -> Any: ...

    find.__annotations__["return"] = annotation
    assert returns(find) == shown


def test_no_annotation_shows_nothing() -> None:
    assert returns(lambda: 1) == ""


def test_the_prompt_and_errors_name_no_module_of_the_host() -> None:
    def find(place: Place, kind: Kind = Kind.A, sums: decimal.Decimal | None = None) -> list[Place]:
        """Find a place."""
        return [place]

    @tool
    def walk(to: Point) -> Point:
        """Walk."""
        return to

    codes = [
        "find(1)",
        "walk(2)",
        "walk({'x': 1}, 2)",
        "llm_query(1, 2, 3, 4)",
        "peek(zork=1)",
        "rlm_query_batched()",
        "FINAL(walk({'x': 1}))",
    ]
    model = root(*codes)
    assert rlm(model, tools=[find, walk]).invoke({"query": "q"})["answer"] == '{"x":1}'
    said = "\n".join(message.text for messages in model.prompts for message in messages)
    for name in (__name__, "langgraph_rlm", "typing.", "datetime.date |", "decimal."):
        assert name not in said, name
    assert "-> list[{'name': str, 'at': str | None}]" in said


def test_what_goes_with_an_artifact_is_not_said() -> None:
    @tool(response_format="content_and_artifact")
    def fetch(url: str) -> tuple[str, bytes]:
        """Fetch."""
        return url, b""

    assert as_tools([fetch])[0].signature == "fetch(url: str)"


def test_errors_in_turns_by_the_first_rules_stay_as_they_were() -> None:
    def walk(to: int) -> Point:
        """Walk."""
        return Point(to)

    made = as_tools([walk])[0]
    nothing: Any = None
    host = Host([], {"walk": made}, False, nothing, nothing, Limits())

    def told(rules: int, call: HostCall) -> str:
        answer = respond(call, OpenCell("0.0", "", rules), {}, host)
        assert isinstance(answer, Raised)
        return answer.message

    assert f"-> {__name__}.Point: " in told(1, HostCall("walk", ("x",)))
    assert "-> {'x': int}: " in told(2, HostCall("walk", ("x",)))
    assert "dict[str, typing.Any]" in told(1, HostCall("llm_query"))
    assert "dict[str, Any]" in told(2, HostCall("llm_query"))
