"""Answering: asks a person on a terminal what to do about the calls that wait.

Nothing is approved by pressing Enter, and what is shown of a call is all of it, or says that it is
not. Runs nothing.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from langgraph_rlm.cli.display_text import counted
from langgraph_rlm.errors import ResumeError
from langgraph_rlm.hosting.pauses import WITHIN, Action, Pause
from langgraph_rlm.hosting.visible import escaped, printable
from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.tools.approvals import checked_answer
from langgraph_rlm.tools.arguments import problems_of

LABELS: Mapping[str, str] = {
    "approve": "[a]pprove",
    "edit": "[e]dit",
    "reject": "[r]eject",
    "respond": "res[p]ond",
    "give": "[g]ive its result",
    "fail": "[f]ail",
    "view": "[v]iew all",
    "later": "[l]ater",
}
"""What may be chosen; the letter in brackets is enough."""
SHOWN_LINES = 30
"""Most lines shown of a call's arguments before somebody asks for all."""
EDITORS = ("VISUAL", "EDITOR")


class Later(Exception):
    """The person leaves a call open."""


class Asker:
    """Asks about pauses on one console, and remembers what is left for later."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._later = set[str]()

    def answers(self, pauses: Sequence[Pause]) -> dict[str, Any]:
        """Ask about each pause that was not left for later, one by one.

        Returns:
            The answers by the ids of their pauses, each of the form that its pause takes.

        Raises:
            KeyboardInterrupt: Ctrl-C.
        """
        open_ones = [pause for pause in pauses if pause.id not in self._later]
        given: dict[str, Any] = {}
        for number, pause in enumerate(open_ones, 1):
            _forget_typed()
            self._title(pause, number, len(open_ones))
            try:
                given[pause.id] = self._answer(pause)
            except Later:
                self._later.add(pause.id)
        return given

    def say(self, text: str) -> None:
        """Show one line that is a problem."""
        self._console.print(Text(printable(text), style="yellow"))

    def _answer(self, pause: Pause) -> Any:
        """Ask until an answer has the form that the pause takes. Raises `Later`."""
        while True:
            answer = self._asked(pause)
            try:
                checked = checked_answer(pause.value, pause.schema, answer)
            except ResumeError as error:
                self.say(str(error))
                continue
            problems = _problems(pause, checked)
            if not problems:
                return checked
            self.say(f"This does not fit: {'; '.join(problems)}")

    def _asked(self, pause: Pause) -> Any:
        if pause.kind == "external":
            return self._result(pause.actions[0])
        if pause.kind == "other":
            self._block(_pretty(pause.value))
            self._choice(["give", "later"])
            return self._value("answer")
        decisions = [self._decision(action, pause) for action in pause.actions]
        return decisions[0] if len(decisions) == 1 else {"decisions": decisions}

    def _title(self, pause: Pause, number: int, of: int) -> None:
        waits = "A call waits for you"
        if of > 1:
            waits += f" ({number} of {of})"
        self._console.print(Rule(waits, align="left", style="yellow"))
        child, within, place = pause.place.rpartition(WITHIN)
        where = f"{place}, in the child RLM at {child}" if within else place
        if where:
            self._field("place", where)

    def _decision(self, action: Action, pause: Pause) -> dict[str, Any]:
        is_whole = self._call(action)
        options = [*action.allowed, *([] if is_whole else ["view"]), "later"]
        while True:
            chosen = self._choice(options)
            if chosen == "view":
                self._view(action)
            elif chosen == "approve":
                return {"type": "approve"}
            elif chosen == "reject":
                reason = self._line("reason (may be empty)")
                return {"type": "reject", **({"message": reason} if reason else {})}
            elif chosen == "respond":
                return {"type": "respond", "message": self._value("result")}
            else:
                edited = self._edited(action, pause)
                if edited is not None:
                    return edited

    def _result(self, action: Action) -> Any:
        """Ask for the result of a tool that the caller runs."""
        is_whole = self._call(action)
        options = ["give", "fail", *([] if is_whole else ["view"]), "later"]
        while (chosen := self._choice(options)) == "view":
            self._view(action)
        if chosen == "fail":
            return {"error": self._line("error")}
        return self._value("result")

    def _edited(self, action: Action, pause: Pause) -> dict[str, Any] | None:
        """Ask for other arguments until they fit the tool; None leaves them as they are."""
        text = _pretty(action.arguments)
        while True:
            given = self._text(text)
            if given is None or not given.strip():
                self.say("The arguments stay as they were.")
                return None
            text = given
            try:
                arguments = json.loads(given)
            except ValueError as error:
                self.say(f"This is no JSON: {error}")
                self._again()
                continue
            decision = {
                "type": "edit",
                "edited_action": {"name": action.tool, "args": arguments},
            }
            problems = _edit_problems(pause.schema, arguments)
            if not problems:
                return decision
            self.say(f"The arguments do not fit {action.tool}: {'; '.join(problems)}")
            self._again()

    def _text(self, text: str) -> str | None:
        """Have a text edited, in the user's editor where one is set, else typed anew."""
        if any(os.environ.get(name) for name in EDITORS):
            return click.edit(text, extension=".json", require_save=False)
        self._console.print(Text("Type the arguments as JSON, then an empty line:", style="dim"))
        lines: list[str] = []
        while line := self._read("").rstrip():
            lines.append(line)
        return "\n".join(lines)

    def _again(self) -> None:
        """Wait before an editor opens again, so that the problem can be read."""
        if any(os.environ.get(name) for name in EDITORS):
            self._read("Press Enter to edit again: ")

    def _call(self, action: Action) -> bool:
        """Show a call; give whether all of it is shown."""
        self._field("tool", action.tool)
        if action.description:
            self._field("about", action.description)
        return self._block(_pretty(action.arguments))

    def _block(self, text: str) -> bool:
        """Show the first lines of a text as the screen wraps them."""
        width = max(20, self._console.width - 2)
        lines = [
            line[at : at + width]
            for line in text.split("\n")
            for at in range(0, max(1, len(line)), width)
        ]
        for line in lines[:SHOWN_LINES]:
            self._console.print(Text(f"  {line}", style="bold", no_wrap=True, overflow="ignore"))
        more = len(lines) - SHOWN_LINES
        if more > 0:
            self.say(f"  ... {counted(more, 'more line')} that are not shown here")
        return more <= 0

    def _view(self, action: Action) -> None:
        click.echo_via_pager(f"{printable(action.tool)}\n{_pretty(action.arguments)}\n")

    def _field(self, name: str, value: str) -> None:
        text = Text.assemble((f"{name:6}", "dim"), (printable(value), "bold"))
        self._console.print(text)

    def _choice(self, options: Sequence[str]) -> str:
        """Ask for one of some choices. Raises `Later` where that is chosen."""
        by_key = {_key(option): option for option in options}
        asked = ", ".join(LABELS[option] for option in options)
        while True:
            given = self._read(f"{asked}: ").strip().lower()
            chosen = by_key.get(given, given)
            if chosen == "later":
                raise Later
            if chosen in options:
                return chosen

    def _value(self, name: str) -> Any:
        """Ask for a value: JSON, else the text as it is."""
        given = self._read(f"{name} (JSON, or text): ")
        try:
            return json.loads(given)
        except ValueError:
            return given

    def _line(self, name: str) -> str:
        return self._read(f"{name}: ").strip()

    def _read(self, prompt: str) -> str:
        """Read a line. The end of the input, Ctrl-D, leaves the call for later."""
        self._console.print(Text(prompt), end="")
        try:
            return input()
        except KeyboardInterrupt:
            self._console.print()
            raise
        except EOFError:
            self._console.print()
            raise Later from None


def _forget_typed() -> None:
    """Drop what was typed before a question was there to be read: it must not answer it."""
    if sys.stdin.isatty() and sys.platform != "win32":
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _key(option: str) -> str:
    label = LABELS[option]
    return label[label.index("[") + 1]


def _pretty(value: Any) -> str:
    """Write a value as JSON, every character of it visible."""
    return escaped(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def _problems(pause: Pause, answer: Any) -> list[str]:
    """Tell what the schema of a pause of an unknown kind refuses."""
    if pause.kind != "other" or not is_dict(pause.schema):
        return []
    return problems_of(answer, pause.schema)


def _edit_problems(schema: Any, arguments: Any) -> list[str]:
    """Tell what of edited arguments the schema of a decision refuses."""
    forms: list[Any] = schema.get("oneOf", []) if is_dict(schema) else []
    for form in forms:
        fields: Any = form["properties"]
        if fields["type"].get("const") == "edit":
            shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
            wanted = fields["edited_action"]["properties"]["args"]
            return problems_of(arguments, {**wanted, **shared})
    return []


def approved_by_name(pauses: Sequence[Pause], tools: frozenset[str]) -> dict[str, Any]:
    """Approve the calls of tools that the user has named beforehand.

    A call that may have run already is not among them.
    """
    given: dict[str, Any] = {}
    for pause in pauses:
        actions = pause.actions
        is_named = all(each.tool in tools and "approve" in each.allowed for each in actions)
        if pause.kind == "approval" and is_named and not pause.is_doubtful:
            approve = {"type": "approve"}
            given[pause.id] = (
                approve if len(actions) == 1 else {"decisions": [approve] * len(actions)}
            )
    return given
