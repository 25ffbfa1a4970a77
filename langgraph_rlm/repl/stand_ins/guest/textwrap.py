"""Stand-in for `textwrap`: its functions with all their options. It lacks `TextWrapper`."""

import re

__all__ = ["dedent", "fill", "indent", "shorten", "wrap"]

_SPACES = "\t\n\x0b\x0c\r "
_ANY = "[\t\n\x0b\x0c\r ]"
_NONE = "[^\t\n\x0b\x0c\r ]"
_PUNCT = "[\\w!\"'&.,?]"
_CHUNK = re.compile(
    f"({_ANY}+|(?<={_PUNCT})-{{2,}}(?=\\w)"
    f"|{_NONE}+?(?:-(?:(?<=[^\\d\\W]{{2}}-)|(?<=[^\\d\\W]-[^\\d\\W]-))(?=[^\\d\\W]-?[^\\d\\W])"
    f"|(?={_ANY}|\\Z)|(?<={_PUNCT})(?=-{{2,}}\\w)))"
)
_PLAIN_CHUNK = re.compile(f"({_ANY}+)")
_SENTENCE_END = re.compile("[a-z][\\.\\!\\?][\\\"\\']?\\Z")


def _expanded(text, size):
    """Expand tabs, which the interpreter may not do."""
    if "\t" not in text:
        return text
    made, column = [], 0
    for char in text:
        if char == "\t":
            step = size - column % size if size > 0 else 0
            made.append(" " * step)
            column += step
        else:
            made.append(char)
            column = 0 if char in "\n\r" else column + 1
    return "".join(made)


def _chunks(text, how):
    if how["expand_tabs"]:
        text = _expanded(text, how["tabsize"])
    if how["replace_whitespace"]:
        for space in _SPACES:
            text = text.replace(space, " ")
    pattern = _CHUNK if how["break_on_hyphens"] else _PLAIN_CHUNK
    chunks = [chunk for chunk in pattern.split(text) if chunk]
    if how["fix_sentence_endings"]:
        for at in range(len(chunks) - 1):
            if chunks[at + 1] == " " and _SENTENCE_END.search(chunks[at]):
                chunks[at + 1] = "  "
    return chunks


_HOW = {
    "initial_indent": "",
    "subsequent_indent": "",
    "expand_tabs": True,
    "replace_whitespace": True,
    "fix_sentence_endings": False,
    "break_long_words": True,
    "drop_whitespace": True,
    "break_on_hyphens": True,
    "tabsize": 8,
    "max_lines": None,
    "placeholder": " [...]",
}


def wrap(text, width=70, **kwargs):
    for name in kwargs:
        if name not in _HOW:
            raise TypeError(f"TextWrapper.__init__() got an unexpected keyword argument '{name}'")
    how = {**_HOW, **kwargs}
    if width <= 0:
        raise ValueError(f"invalid width {width!r} (must be > 0)")
    if how["max_lines"] is not None:
        indent = how["subsequent_indent"] if how["max_lines"] > 1 else how["initial_indent"]
        if len(indent) + len(how["placeholder"].lstrip()) > width:
            raise ValueError("placeholder too large for max width")
    chunks = _chunks(text, how)
    chunks.reverse()
    lines = []
    while chunks:
        indent = how["subsequent_indent"] if lines else how["initial_indent"]
        if how["drop_whitespace"] and chunks[-1].strip() == "" and lines:
            chunks.pop()
        current, size = _line(chunks, width - len(indent), how)
        if not current:
            continue
        if _fits(lines, chunks, size, width - len(indent), how):
            lines.append(indent + "".join(current))
        else:
            _end(lines, current, size, width, indent, how)
            break
    return lines


def _line(chunks, width, how):
    """Take the chunks of one line."""
    current, size = [], 0
    while chunks and size + len(chunks[-1]) <= width:
        size += len(chunks[-1])
        current.append(chunks.pop())
    if chunks and len(chunks[-1]) > width:
        _break(chunks, current, size, width, how)
        size = sum([len(chunk) for chunk in current])
    if how["drop_whitespace"] and current and current[-1].strip() == "":
        size -= len(current.pop())
    return current, size


def _break(chunks, current, size, width, how):
    """Put what fits of a chunk that is longer than a line into this one."""
    space = 1 if width < 1 else width - size
    if not how["break_long_words"]:
        if not current:
            current.append(chunks.pop())
        return
    end, chunk = space, chunks[-1]
    if how["break_on_hyphens"] and len(chunk) > space:
        hyphen = chunk.rfind("-", 0, space)
        if hyphen > 0 and any([char != "-" for char in chunk[:hyphen]]):
            end = hyphen + 1
    current.append(chunk[:end])
    chunks[-1] = chunk[end:]


def _fits(lines, chunks, size, width, how):
    if how["max_lines"] is None or len(lines) + 1 < how["max_lines"]:
        return True
    is_last = not chunks
    if how["drop_whitespace"] and len(chunks) == 1 and not chunks[0].strip():
        is_last = True
    return is_last and size <= width


def _end(lines, current, size, width, indent, how):
    """Add the last line, with the placeholder of what is left out."""
    while current:
        if current[-1].strip() and size + len(how["placeholder"]) <= width - len(indent):
            lines.append(indent + "".join(current) + how["placeholder"])
            return
        size -= len(current.pop())
    if lines:
        before = lines[-1].rstrip()
        if len(before) + len(how["placeholder"]) <= width:
            lines[-1] = before + how["placeholder"]
            return
    lines.append(indent + how["placeholder"].lstrip())


def fill(text, width=70, **kwargs):
    return "\n".join(wrap(text, width=width, **kwargs))


def shorten(text, width, **kwargs):
    return fill(" ".join(text.strip().split()), width=width, **{**kwargs, "max_lines": 1})


def dedent(text):
    lines = [line if line.strip(" \t") else "" for line in text.split("\n")]
    margin = None
    for line in lines:
        if line:
            found = line[: len(line) - len(line.lstrip(" \t"))]
            margin = found if margin is None else _common(margin, found)
    return "\n".join([line[len(margin or "") :] for line in lines])


def _common(one, other):
    size = 0
    while size < min(len(one), len(other)) and one[size] == other[size]:
        size += 1
    return one[:size]


def indent(text, prefix, predicate=None):
    made = []
    for line in _kept_lines(text):
        is_chosen = line.strip() if predicate is None else predicate(line)
        made.append(prefix + line if is_chosen else line)
    return "".join(made)


def _kept_lines(text):
    return text.splitlines(True)
