"""Names: what tables are called in SQL, from the names of their files. Reads nothing."""

import re
from collections.abc import Iterable

MAX_CHARS = 60
RESERVED_WORDS = (
    "all analyse analyze and anti any array as asc asof asymmetric at authorization binary both by "
    "case cast check collate collation column columns concurrently constraint create cross default "
    "deferrable desc describe distinct do else end except false fetch for foreign freeze from full "
    "generated glob group having ilike in initially inner intersect into is isnull join lambda "
    "lateral leading left like limit map natural not notnull null offset on only or order outer "
    "overlaps pivot pivot_longer pivot_wider placing positional primary qualify references "
    "returning right select semi show similar some struct summarize symmetric table tablesample "
    "then to trailing true try_cast tuple union unique unpack unpivot using variadic verbose when "
    "where window with"
)
RESERVED = frozenset(RESERVED_WORDS.split())
"""Words that DuckDB takes for a name only between quotes."""


def sql_name(path: str, part: str | None = None) -> str:
    """Make a name that needs no quotes: `data/sales 2024.csv` is `sales_2024`.

    Args:
        path: of the file.
        part: the sheet or table within it, whose name comes after the file's.
    """
    stem = path.rpartition("/")[2]
    stem = stem.rpartition(".")[0] or stem
    words = re.sub(r"[\W_]+", "_", "_".join(filter(None, (stem, part)))).strip("_")[:MAX_CHARS]
    name = words.strip("_") or "file"
    if name[0].isdigit():
        return f"t_{name}"
    return f"{name}_table" if name.lower() in RESERVED else name


def distinct(name: str, taken: Iterable[str]) -> str:
    """Number a name that is taken, also in other letters: `sales_2`."""
    known = {each.lower() for each in taken}
    number, new = 2, name
    while new.lower() in known:
        new = f"{name}_{number}"
        number += 1
    return new
