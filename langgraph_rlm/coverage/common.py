"""Common: how far two texts agree, in bytes. Never looks for anything."""

SPAN = 1 << 6
"""Bytes that are first compared at once."""

LOOK = 1 << 8
"""Bytes among which the first difference is found at one look."""


def common_start(a: bytes, i: int, b: bytes, j: int, most: int) -> int:
    """Count the bytes in which `a[i:]` and `b[j:]` agree, at most `most`."""
    done, span = 0, SPAN
    while done < most:
        span = min(span, most - done)
        one, other = a[i + done : i + done + span], b[j + done : j + done + span]
        if one == other:
            done += span
            span *= 2
        elif span <= LOOK:
            return done + _low_bytes(
                int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
            )
        else:
            most = done + span - 1  # the last of these bytes need not be compared again
            span //= 2
    return done


def common_end(a: bytes, i: int, b: bytes, j: int, most: int) -> int:
    """Count the bytes in which `a[:i]` and `b[:j]` agree from their ends on, at most `most`."""
    done, span = 0, SPAN
    while done < most:
        span = min(span, most - done)
        one, other = a[i - done - span : i - done], b[j - done - span : j - done]
        if one == other:
            done += span
            span *= 2
        elif span <= LOOK:
            differing = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
            return done + _low_bytes(differing)
        else:
            most = done + span - 1
            span //= 2
    return done


def _low_bytes(difference: int) -> int:
    """Count the bytes of zeros that a number other than 0 ends with."""
    return ((difference & -difference).bit_length() - 1) // 8


def is_start(text: bytes, offset: int) -> bool:
    """Tell whether a character of UTF-8 begins at an offset, or the text ends there."""
    return offset >= len(text) or text[offset] & 0xC0 != 0x80
