"""Thoughts: what a model wrote to itself, told apart from its reply. Never calls a model.

Models mark thoughts in many ways: `<think>`, `<thinking>`, `<thought>`, `[THINK]` (Mistral),
`◁think▷` (Kimi), the channels of harmony (gpt-oss,
https://cookbook.openai.com/articles/openai-harmony). A chat template may have written the opening
tag itself: then the reply has the closing one alone. A reply that was cut off has the opening one
alone. Tags in code and in inline code are text.
"""

import re

from langgraph_rlm.log.python import parsed

NAMES = r"(?:seed:)?think(?:ing)?|thoughts?|reasoning"
OPEN = rf"<(?:{NAMES})>|\[THINK\]|◁think▷"
CLOSE = rf"</(?:{NAMES})>|\[/THINK\]|◁/think▷"
TAG = re.compile(rf"(?P<code>`[^`\n]*`)|(?P<open>{OPEN})|(?P<close>{CLOSE})", re.IGNORECASE)
OPENING = re.compile(OPEN, re.IGNORECASE)
CLOSING = re.compile(CLOSE, re.IGNORECASE)
FENCE = re.compile(r"[\s>]*(?:(?:[-*+]|\d+[.)])[ \t]+)?(?P<marks>`{3,}(?=[^`]*$)|~{3,})")
ANSWER = re.compile(r"\bFINAL\(")

HARMONY_STARTS = ("<|channel|>", "<|start|>", "analysis<|message|>")
HARMONY = re.compile(
    r"(?:<\|channel\|>)?(?P<channel>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"(?P<said>.*?)(?=<\|(?:end|start|channel|return|call)\|>|\Z)",
    re.DOTALL,
)
HARMONY_TOKEN = re.compile(r"<\|start\|>(?:assistant)?|<\|(?:end|return|call|channel|message)\|>")
BARE_HARMONY = re.compile(r"\s*(?P<thoughts>analysis.*)assistantfinal", re.DOTALL)
"""Harmony of which a server has left out the special tokens."""


def without_thoughts(text: str) -> str:
    """Give a model's text without its thoughts; see `split_thoughts`."""
    return split_thoughts(text)[0]


def split_thoughts(text: str) -> tuple[str, str]:
    """Tell a model's reply from its thoughts.

    Args:
        text: as the model wrote it, any length.

    Returns:
        The reply, and the thoughts. Everything behind an opening tag that is never closed, and
        everything before a closing tag that was never opened, is a thought.
    """
    bare = BARE_HARMONY.match(text)
    if bare is not None:
        return text[bare.end() :], bare["thoughts"]
    if text.lstrip().startswith(HARMONY_STARTS):
        return _split_harmony(text)
    if not OPENING.search(text) and not CLOSING.search(text):
        return text, ""
    scan = _Scan(text)
    scan.run()
    return "".join(scan.kept), "".join(scan.dropped)


def _split_harmony(text: str) -> tuple[str, str]:
    """The channel `analysis` is for the model itself, `final` and `commentary` are for the user."""
    thoughts: list[str] = []

    def said(match: re.Match[str]) -> str:
        if match["channel"] != "analysis":
            return match["said"]
        thoughts.append(match["said"])
        return ""

    return HARMONY_TOKEN.sub("", HARMONY.sub(said, text)), "".join(thoughts)


class _Scan:
    """One pass over a text, line by line. Linear, whatever the text."""

    def __init__(self, text: str) -> None:
        self.kept: list[str] = []
        self.dropped: list[str] = []
        self._text = text
        self._at = 0
        self._fence: OpenFence | None = None
        closings = [match.start() for match in CLOSING.finditer(text)]
        self._last_closing = closings[-1] if closings else -1

    def run(self) -> None:
        while self._at < len(self._text):
            end = self._text.find("\n", self._at) + 1 or len(self._text)
            if self._fence is None:
                self._outside(end)
            else:
                self._inside(self._fence, end)

    def _outside(self, end: int) -> None:
        """A line of prose, or the first of a fence."""
        line = self._text[self._at : end]
        opening = FENCE.match(line)
        if opening is not None:
            self._fence = OpenFence(opening["marks"], self._text, end)
            self._keep(end)
            return
        answer = ANSWER.search(line)
        last = end if answer is None else self._at + answer.start()
        edges = (self._at + len(line) - len(line.lstrip()), self._at + len(line.rstrip()))
        for tag in TAG.finditer(self._text, self._at, last):
            if tag["code"] or tag.start() < self._at:
                continue
            if tag["close"]:
                self._drop_all_before(tag.end())
            elif tag.end() <= self._last_closing:
                self._keep(tag.start())
                closing = CLOSING.search(self._text, tag.end())
                assert closing is not None
                self._drop(closing.end())
                if self._at > last:
                    return  # in another line
            elif tag.start() == edges[0] or tag.end() == edges[1]:  # else it is a mention
                self._keep(tag.start())
                self._drop(len(self._text))
                return
        self._keep(end)

    def _inside(self, fence: "OpenFence", end: int) -> None:
        """A line of a fence. A closing tag alone on its line, or right behind the marks that close
        the fence, ends thoughts that left a fence open, unless the fence is a whole program, or had
        the opening tag too."""
        line = self._text[self._at : end].strip()
        if fence.is_closed_by(line):
            self._fence = None
        elif fence.ends_with_thoughts(line) and not fence.has_opening and not fence.is_program:
            self._fence = None
            self._drop_all_before(end)
            return
        elif OPENING.search(line):
            fence.has_opening = True
        self._keep(end)

    def _keep(self, end: int) -> None:
        self.kept.append(self._text[self._at : end])
        self._at = end

    def _drop(self, end: int) -> None:
        self.dropped.append(self._text[self._at : end])
        self._at = end

    def _drop_all_before(self, end: int) -> None:
        self.dropped += self.kept
        self.kept.clear()
        self._drop(end)


MOST_LINES = 5_000
"""Lines of a fence with a tag that are read to see whether they are a program."""


class OpenFence:
    """A fence of code that a scan is in."""

    def __init__(self, marks: str, text: str, start: int) -> None:
        self.has_opening = False
        self._marks = marks
        self._text = text
        self._start = start
        self._is_program: bool | None = None

    def is_closed_by(self, line: str) -> bool:
        """Whether a stripped line is its last."""
        return line.startswith(self._marks) and not line.strip(self._marks[0])

    def ends_with_thoughts(self, line: str) -> bool:
        """Whether a stripped line is a closing tag, with or without the marks of its last line."""
        closing = CLOSING.search(line)
        if closing is None or closing.end() < len(line):
            return False
        before = line[: closing.start()]
        return not before or self.is_closed_by(before)

    @property
    def is_program(self) -> bool:
        """Whether it is closed, and holds Python: a tag in it is then part of a string."""
        if self._is_program is None:
            self._is_program = self._is_closed_python()
        return self._is_program

    def _is_closed_python(self) -> bool:
        at = self._start
        for _ in range(MOST_LINES):
            end = self._text.find("\n", at) + 1 or len(self._text)
            if self.is_closed_by(self._text[at:end].strip()):
                return parsed(self._text[self._start : at]) is not None
            at = end
        return False
