"""Big inputs: files and folders of any size, made of repeated text, that `big.py` asks about."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000
FILES = 10_000
NEEDLE = "needle_in_haystack"
"""Stands once, at the end."""
UNITS = 20_000
"""Different lines or records, before they repeat."""


@dataclass(frozen=True)
class Kind:
    """One kind of input."""

    name: str
    file: str
    """Its file or folder."""
    common: str
    """A pattern that matches a million times in a gigabyte, and is no plain word."""
    word: str
    """A plain word that is as common."""


KINDS = (
    Kind("a file", "log.txt", "user1[0-9] ", "INFO"),
    Kind("a str", "log.txt", "user1[0-9] ", "INFO"),
    Kind("a folder of 10,000 files", "folder", "user1[0-9] ", "INFO"),
    Kind("a CSV", "rows.csv", ",user1[0-9],", ",2026-01"),
    Kind("one line of JSON", "one.json", '"word": "[a-m]', '"id": '),
    Kind("many-byte characters", "cjk.txt", "[🎉🎊]", "🎉"),
)


def make(kind: Kind, mb: int, root: Path) -> Path:
    """Make an input of about so many MB, unless it is there; give its path."""
    path = root / f"{mb}mb" / kind.file
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "folder":
            _fill(path, mb * MB)
        else:
            _write(path, mb * MB)
    return path


def _write(path: Path, size: int) -> None:
    head, unit, tail = _PARTS[path.name]()
    with path.open("wb") as file:
        left = size - file.write(head) - len(tail)
        while left >= len(unit):
            left -= file.write(unit)
        cut = max(unit.rfind(b"\n", 0, left), unit.rfind(b", ", 0, left) + 1)
        file.write(unit[: cut + 1] + tail)


def _fill(folder: Path, size: int) -> None:
    _, unit, tail = _log()
    each = size // FILES
    text = unit * (1 + 2 * each // len(unit))
    for number in range(FILES):
        path = folder / f"{number // 100:03}" / f"{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        start = text.find(b"\n", number * 7919 % (len(text) - each)) + 1
        path.write_bytes(
            text[start : start + each] + b"\n" + (tail if number == FILES - 1 else b"")
        )


def _words(rng: random.Random) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(rng.choices(letters, k=rng.randrange(2, 10))) for _ in range(3000)]


def _log() -> tuple[bytes, bytes, bytes]:
    rng = random.Random(1)
    words = _words(rng)
    lines = [
        f"2026-01-{n % 28 + 1:02} INFO user{n % 997} {' '.join(rng.choices(words, k=8))}\n"
        for n in range(UNITS)
    ]
    return b"", "".join(lines).encode(), f"2026-02-30 ERROR {NEEDLE}\n".encode()


def _csv() -> tuple[bytes, bytes, bytes]:
    rng = random.Random(2)
    words = _words(rng)
    rows = [
        f"{n},user{n % 997},{rng.random():.4f},{rng.choice(words)},2026-01-{n % 28 + 1:02}\n"
        for n in range(UNITS)
    ]
    return b"id,user,amount,word,day\n", "".join(rows).encode(), f"-1,{NEEDLE},0,,\n".encode()


def _json() -> tuple[bytes, bytes, bytes]:
    rng = random.Random(3)
    words = _words(rng)
    rows = [f'{{"id": {n % 1000}, "word": "{rng.choice(words)}"}}, ' for n in range(UNITS)]
    return b'{"rows": [', "".join(rows).encode(), f'{{"id": -1, "word": "{NEEDLE}"}}]}}'.encode()


def _many_byte() -> tuple[bytes, bytes, bytes]:
    rng = random.Random(4)
    lines = [
        "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(60)) + "🎉\n"
        for _ in range(UNITS // 4)
    ]
    return b"", "".join(lines).encode(), f"{NEEDLE}\n".encode()


_PARTS: dict[str, Callable[[], tuple[bytes, bytes, bytes]]] = {
    "log.txt": _log,
    "rows.csv": _csv,
    "one.json": _json,
    "cjk.txt": _many_byte,
}
"""What stands first, what is repeated, and what stands last."""
