"""Common: how far two texts agree, in bytes. Never looks for anything."""

SPAN = 1 << 6
"""Bytes that are first compared at once."""


def common_start(a: bytes, i: int, b: bytes, j: int, most: int) -> int:
    """Count the bytes in which `a[i:]` and `b[j:]` agree, at most `most`."""
    done, span = 0, SPAN
    while done < most:
        span = min(span, most - done)
        if a[i + done : i + done + span] == b[j + done : j + done + span]:
            done += span
            span *= 2
        else:
            most = done + span - 1  # the last of these bytes need not be compared again
            span = max(1, span // 2)
    return done


def common_end(a: bytes, i: int, b: bytes, j: int, most: int) -> int:
    """Count the bytes in which `a[:i]` and `b[:j]` agree from their ends on, at most `most`."""
    done, span = 0, SPAN
    while done < most:
        span = min(span, most - done)
        if a[i - done - span : i - done] == b[j - done - span : j - done]:
            done += span
            span *= 2
        else:
            most = done + span - 1
            span = max(1, span // 2)
    return done


def is_start(text: bytes, offset: int) -> bool:
    """Tell whether a character of UTF-8 begins at an offset, or the text ends there."""
    return offset >= len(text) or text[offset] & 0xC0 != 0x80
