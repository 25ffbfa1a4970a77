"""Mails: the text of a mail or of a mailbox, and what is attached. Runs in the worker.

Source: RFC 5322 and 2045, by the standard library's `email`.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from html.parser import HTMLParser
from typing import Any, BinaryIO, cast

from langgraph_rlm.documents.names import Distinct, plain
from langgraph_rlm.documents.outcome import Facts, Parts, Unreadable

HEADERS = ("From", "To", "Cc", "Bcc", "Reply-To", "Date", "Subject", "Message-ID")
MAX_MAIL = 200 << 20
"""Bytes of one mail: it is parsed in memory."""
BEGINS = re.compile(rb"From [^\r\n]* \d\d:\d\d")
"""The line before a mail of a mailbox. Others that begin so are of its text."""
MAX_DEPTH = 20
"""How deep mails may be attached to mails, in one mail."""


def read_mail(data: bytes, parts: Parts) -> None:
    """Write the text of a mail, and then each attachment.

    Raises:
        Unreadable: it is not a mail.
    """
    if not _write_mail(data, "", Distinct(), parts):
        raise Unreadable("broken: it has neither headers nor text")


def read_mailbox(file: BinaryIO, parts: Parts) -> None:
    """Write the text of each mail of a mailbox, and its attachments.

    Raises:
        Unreadable: it has no mail, or one that is too large.
    """
    names = Distinct()
    count = 0
    for count, data in enumerate(_mails(file), 1):
        if not _write_mail(data, f"{count:05}.eml", names, parts):
            parts.skip(f"{count:05}.eml", "broken: it has neither headers nor text")
    if not count:
        raise Unreadable("broken: it has no mail")


def _mails(file: BinaryIO) -> Iterator[bytes]:
    """Cut a mailbox at the lines that begin a mail, which follow an empty line."""
    lines: list[bytes] = []
    size = 0
    is_after_empty = True
    while line := file.readline(MAX_MAIL):
        if is_after_empty and BEGINS.match(line):
            if lines:
                yield b"".join(lines)
            lines, size = [], 0
        else:
            size += len(line)
            if size > MAX_MAIL:
                raise Unreadable(f"a mail in it has over {MAX_MAIL:,} bytes")
            lines.append(line)
        is_after_empty = not line.strip()
    if b"".join(lines).strip():
        yield b"".join(lines)


def _write_mail(data: bytes, name: str, names: Distinct, parts: Parts) -> bool:
    """Write one mail; give False if it has nothing to read."""
    mail = message_from_bytes(data)
    text, attached = _contents(mail)
    heads = [f"{key}: {value}" for key in HEADERS if (value := _header(mail, key))]
    if not heads and not text.strip():
        return False
    facts: Facts = {"subject": _header(mail, "Subject")}
    if attached:
        facts["attachments"] = len(attached)
        heads.append("Attachments: " + ", ".join(found for found, _ in attached))
    parts.text(name, "\n".join([*heads, "", text.strip(), ""]), facts)
    prefix = f"{name}/" if name else ""
    for found, attachment in attached:
        start = parts.size
        parts.write(_payload(attachment))
        parts.end(names.name(prefix + found), start, is_text=False)
    return True


def _header(mail: Message, key: str) -> str:
    """Give a header as text; one that is wrongly encoded stays as it is."""
    value = str(mail.get(key, ""))
    with suppress(MessageError, ValueError, LookupError):  # no such encoding, or not in it
        value = str(make_header(decode_header(value)))
    return " ".join(value.split())


def _contents(mail: Message) -> tuple[str, list[tuple[str, Message]]]:
    """Give the text that people read, and the other parts with their names."""
    plains: list[str] = []
    pages: list[str] = []
    attached: list[tuple[str, Message]] = []
    for part in _leaves(mail):
        kind = part.get_content_type()
        given = _file_name(part)
        if given is None and kind == "text/plain":
            plains.append(_decoded(part))
        elif given is None and kind == "text/html":
            pages.append(text_of_page(_decoded(part)))
        else:
            attached.append((_named(given, kind, len(attached) + 1), part))
    return "\n\n".join(plains if any(map(str.strip, plains)) else pages), attached


def _leaves(mail: Message, depth: int = 0) -> Iterator[Message]:
    """Give the parts that have no parts; an attached mail is one."""
    if not mail.is_multipart() or mail.get_content_type() == "message/rfc822":
        yield mail
        return
    if depth > MAX_DEPTH:
        raise Unreadable(f"parts in parts, over {MAX_DEPTH} deep")
    for part in cast("list[Message]", mail.get_payload()):
        yield from _leaves(part, depth + 1)


def _file_name(part: Message) -> str | None:
    try:
        found = part.get_filename()
    except (ValueError, IndexError, AttributeError, TypeError, LookupError):
        found = "unnamed"
    if found is None and part.get_content_disposition() == "attachment":
        return "unnamed"
    return found


def _named(given: str | None, kind: str, number: int) -> str:
    if kind == "message/rfc822":
        return plain(given or f"mail {number}.eml")
    return plain(given or f"part {number}.{kind.split('/')[-1]}")


def _payload(part: Message) -> bytes:
    if part.get_content_type() == "message/rfc822" and part.is_multipart():
        return cast("Any", part.get_payload(0)).as_bytes()
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _decoded(part: Message) -> str:
    data = _payload(part)
    try:
        return data.decode(part.get_content_charset() or "utf-8", "replace")
    except LookupError:  # the mail names an encoding that there is not
        return data.decode("utf-8", "replace")


class _Text(HTMLParser):
    """Gathers what a page shows."""

    BREAKS = re.compile("p|br|div|tr|li|ul|ol|table|blockquote|pre|hr|h[1-6]")
    UNSEEN = frozenset(("script", "style", "head", "title"))

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in self.UNSEEN
        if self.BREAKS.fullmatch(tag):
            self.texts.append("\n")
        elif tag in ("td", "th"):
            self.texts.append("\t")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - (tag in self.UNSEEN))
        if self.BREAKS.fullmatch(tag):
            self.texts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.texts.append(re.sub(r"\s+", " ", data))


def text_of_page(page: str) -> str:
    """Give the text of a mail that is a page alone."""
    parser = _Text()
    parser.feed(page)
    parser.close()
    lines = (line.strip() for line in "".join(parser.texts).split("\n"))
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).strip()
