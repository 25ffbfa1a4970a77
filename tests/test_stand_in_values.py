"""Stand-ins give what CPython's modules give: programs made by chance run in both, and print the same."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langgraph_rlm.repl import stand_ins
from langgraph_rlm.repl.base import Session
from langgraph_rlm.repl.contract.check import Opener
from langgraph_rlm.repl.monty import MontyBackend

from .twins import same, same_values, show

EXAMPLES = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    backend = MontyBackend()
    with Opener(backend) as opener:
        yield opener()
    backend.close()


INTS = st.integers(-(10**18), 10**18)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
DECIMALS = st.decimals(-1000, 1000, places=3, allow_nan=False)
LISTS = st.one_of(
    st.lists(INTS, max_size=8),
    st.lists(FLOATS, max_size=8),
    st.lists(st.one_of(INTS, FLOATS, st.booleans()), max_size=8),
    st.lists(st.one_of(DECIMALS, INTS), max_size=5),
)


@EXAMPLES
@given(data=LISTS, n=st.integers(1, 9))
def test_statistics(session: Session, data: list[Any], n: int) -> None:
    names = ["mean", "median", "median_low", "median_high", "mode", "multimode", "fmean"]
    names += ["variance", "pvariance"]
    if not any(isinstance(x, Decimal) for x in data):
        names += ["stdev", "pstdev"]
    calls = [f"statistics.{name}({data!r})" for name in names]
    for method in ("inclusive", "exclusive"):
        calls.append(f"statistics.quantiles({data!r}, n={n}, method={method!r})")
    same_values(session, "statistics", calls)


@EXAMPLES
@given(
    data=st.lists(st.one_of(st.integers(0, 10**9), st.floats(0, 1e9)), max_size=8),
    weights=st.lists(st.integers(0, 9), min_size=8, max_size=8),
)
def test_means_of_what_is_not_negative(
    session: Session, data: list[float], weights: list[int]
) -> None:
    weights = weights[: len(data)]
    same_values(
        session,
        "statistics",
        [
            f"statistics.harmonic_mean({data!r})",
            f"statistics.harmonic_mean({data!r}, {weights!r})",
            f"statistics.fmean({data!r}, {weights!r})" if data else "0",
            f"round(statistics.geometric_mean({data!r}), 3)",
        ],
    )


STEPS = st.lists(st.tuples(st.sampled_from(["push", "pop", "replace", "pushpop"]), INTS))


@EXAMPLES
@given(start=st.lists(INTS), steps=STEPS, n=st.integers(-1, 6))
def test_heapq(session: Session, start: list[int], steps: list[tuple[str, int]], n: int) -> None:
    lines = [f"import heapq\nh = {start!r}\nheapq.heapify(h)\nprint(h)"]
    for name, item in steps:
        lines.append("print(heapq.heappop(h))" if name == "pop" else f"heapq.heap{name}(h, {item})")
        lines.append("print(h)")
    lines.append(f"print(heapq.nlargest({n}, h), heapq.nsmallest({n}, h, key=lambda x: x % 7))")
    lines.append(f"print(list(heapq.merge(sorted(h), sorted({start!r}), [1, 5])))")
    lines.append("print(list(heapq.merge([3, 1], [2, 2], key=lambda x: -x)))")
    same(session, "\n".join(lines))


@EXAMPLES
@given(a=st.integers(-50, 50), b=st.integers(-5, 50), data=st.lists(st.integers(0, 3), min_size=1))
def test_operator(session: Session, a: int, b: int, data: list[int]) -> None:
    two = ["add", "and_", "eq", "floordiv", "ge", "gt", "is_", "is_not", "le", "lshift", "lt"]
    two += ["mod", "mul", "ne", "or_", "rshift", "sub", "truediv", "xor"]
    one = ["abs", "index", "inv", "invert", "neg", "not_", "pos", "truth"]
    calls = [f"operator.{name}({a}, {b})" for name in two]
    calls += [f"operator.{name}({a})" for name in one]
    calls += [f"operator.{name}({data!r}, {a % 4})" for name in ("contains", "countOf", "indexOf")]
    calls += [f"operator.concat({data!r}, [7])", f"operator.getitem({data!r}, {a % 4})"]
    same_values(session, "operator", calls)
    same(
        session,
        f"import operator as o\nx = {data!r}\no.setitem(x, 0, {a})\no.delitem(x, -1)\nprint(x, o.abs(-0.0), o.pow(2, 5))",
    )


@EXAMPLES
@given(text=st.text("abC d\té-"), sep=st.sampled_from([None, " ", "-"]))
def test_string(session: Session, text: str, sep: str | None) -> None:
    names = sorted(stand_ins.names_of("string") - {"capwords"})
    constants = [f"string.{name}" for name in names]
    same(session, show("string", f"string.capwords({text!r}, {sep!r})", *constants))


OPTIONS = st.fixed_dictionaries(
    {"width": st.integers(1, 25)},
    optional={
        "initial_indent": st.sampled_from(["", "> ", "    "]),
        "subsequent_indent": st.sampled_from(["", ". "]),
        "break_long_words": st.booleans(),
        "break_on_hyphens": st.booleans(),
        "drop_whitespace": st.booleans(),
        "replace_whitespace": st.booleans(),
        "fix_sentence_endings": st.booleans(),
        "expand_tabs": st.booleans(),
        "tabsize": st.integers(1, 4),
        "max_lines": st.integers(1, 3),
        "placeholder": st.sampled_from([" [...]", "...", ""]),
    },
)
WORDS = st.lists(
    st.sampled_from(["a", "bc", "word", "well-known", "--", "-x", "e.g.", "end.", "12-3", "longlonglong", "é", " ", "\t", "\n", "  ", "it's", "a--b", "\x0c"]), max_size=20
).map(" ".join)  # fmt: skip


@EXAMPLES
@given(text=st.one_of(WORDS, st.text("ab- .\t\n\x0b\r!", max_size=60)), options=OPTIONS)
def test_textwrap(session: Session, text: str, options: dict[str, Any]) -> None:
    for name in ("wrap", "fill"):
        same(session, show("textwrap", f"textwrap.{name}({text!r}, **{options!r})"))
    known = {"width": options["width"], "placeholder": options.get("placeholder", " [...]")}
    same(session, show("textwrap", f"textwrap.shorten({text!r}, **{known!r})"))
    same(session, show("textwrap", f"textwrap.indent({text!r}, '> ')"))


@EXAMPLES
@given(text=st.text("ab \t\n", max_size=60))
def test_dedent(session: Session, text: str) -> None:
    same(session, show("textwrap", f"textwrap.dedent({text!r})"))
    same(session, show("textwrap", f"textwrap.indent({text!r}, '+', lambda line: 'a' in line)"))


@EXAMPLES
@given(
    year=st.integers(1, 9998), month=st.integers(0, 13), day=st.integers(0, 32), other=st.integers(1, 9999)
)  # fmt: skip
def test_calendar(session: Session, year: int, month: int, day: int, other: int) -> None:
    for code in (
        f"calendar.isleap({year})",
        f"calendar.leapdays({year}, {other})",
        f"calendar.weekday({year}, {month}, {day})",
        f"[int(n) for n in calendar.monthrange({year}, {month})]",
        f"calendar.monthcalendar({year}, {month})",
        f"calendar.timegm(({year}, {month or 1}, {day}, 3, 4, 5))" if 0 < month < 13 else "1",
        "[list(calendar.month_name), list(calendar.month_abbr), list(calendar.day_name), list(calendar.day_abbr), int(calendar.SUNDAY)]",
        f"calendar.month_name[{month}]",
    ):
        same(session, show("calendar", code))


REFERENCES = ["&", "amp", "lt;", "&gt", "&#", "x", "80", "65;", "x41", "&notit;", "&eacute;", "é", " ", "&#xD800;", "&#1;", "&#x110000;", "&zork;", "&NotEqualTilde;", "<", '"', "'", "&#0;", "&#128;"]  # fmt: skip


@EXAMPLES
@given(text=st.lists(st.sampled_from(REFERENCES)).map("".join))
def test_html(session: Session, text: str) -> None:
    calls = [f"html.unescape({text!r})", f"html.escape({text!r})", f"html.escape({text!r}, False)"]
    same(session, show("html", *calls))


ODD = st.text("ab é&=+%;/?#:@.2F ~<", max_size=20)
URLS = st.lists(
    st.sampled_from(["http", "https:", "//", "ann", ":pw", "@", "ex.com", ":80", "/a", "/b;p", "?q=1", "&r=%20", "#f", "..", "/../", "./", "mailto:", "A", "é"]), max_size=9
).map("".join)  # fmt: skip


@EXAMPLES
@given(text=ODD, safe=st.sampled_from(["", "/", "/ :é"]), keep=st.booleans(), strict=st.booleans())
def test_quoting(session: Session, text: str, safe: str, keep: bool, strict: bool) -> None:
    for code in (
        f"up.quote({text!r}, {safe!r})",
        f"up.quote_plus({text!r}, {safe!r})",
        f"up.unquote({text!r})",
        f"up.unquote_plus({text!r})",
        f"up.parse_qsl({text!r}, {keep}, {strict})",
        f"up.parse_qs({text!r}, keep_blank_values={keep})",
        f"up.urlencode({{'a': {text!r}, {text!r}: 1, 'l': [1, 'b c']}}, doseq={keep})",
        f"up.urlencode([({text!r}, None), ('x', 2.5)], quote_via=up.quote)",
    ):
        same(session, f"import json, urllib.parse as up\nprint(json.dumps({code}))")


@EXAMPLES
@given(one=URLS, other=URLS)
def test_urls(session: Session, one: str, other: str) -> None:
    parts = "[u.scheme, u.netloc, u.path, u.query, u.fragment, u.hostname, u.username, u.password]"
    for split in ("urlsplit", "urlparse"):
        code = f"import urllib.parse as p, json\nu = p.{split}({one!r})\nprint(json.dumps({parts}), repr(u))\na, *b = u\nprint(a, b)\ntry:\n    print(u.port)\nexcept (ValueError, AttributeError):\n    print('no port')"
        same(session, code)
    same(session, f"import urllib.parse as p\nprint(p.urljoin('http://a.b/c/d;e?f#g', {other!r}))")
    same(
        session,
        f"import urllib.parse as p\nu = p.urlsplit('http://a.b' + {one!r})\nprint(u._replace(query='z').geturl(), tuple(p.urldefrag('http://a.b' + {other!r})))",
    )


WRITES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.text("ab\n\r", max_size=6)),
        st.tuples(st.sampled_from(["read", "readline", "truncate"]), st.integers(-1, 8)),
        st.tuples(st.just("seek"), st.integers(-1, 12)),
        st.tuples(st.sampled_from(["readlines", "readline", "tell", "getvalue"]), st.none()),
    ),
    max_size=12,
)  # fmt: skip


@EXAMPLES
@given(start=st.text("ab\n\r"), steps=WRITES, newline=st.sampled_from(["", "\n"]))
def test_string_io(
    session: Session, start: str, steps: list[tuple[str, Any]], newline: str
) -> None:
    lines = [f"import io\ns = io.StringIO({start!r}, newline={newline!r})"]
    for name, value in steps:
        if (name, value) == ("truncate", -1):
            value = 0
        lines.append(f"print(repr(s.{name}({'' if value is None else repr(value)})), s.tell())")
    lines.append("print(list(s))\nprint(repr(s.getvalue()))\ns.close()\nprint(s.closed)\ns.read()")
    same(session, "\n".join(lines))


@EXAMPLES
@given(rows=st.lists(st.lists(st.text('a,"\n é;', max_size=5), min_size=2, max_size=2), min_size=1))
def test_csv_through_string_io(session: Session, rows: list[list[str]]) -> None:
    same(
        session,
        f"import csv, io\nout = io.StringIO()\nw = csv.writer(out)\nw.writerows({rows!r})\ntext = out.getvalue()\nprint(repr(text))\n"
        "print(list(csv.reader(io.StringIO(text))), [dict(r) for r in csv.DictReader(io.StringIO('x,y\\n' + text))])\n"
        f"d = csv.DictWriter(out, ['x', 'y'])\nd.writeheader()\nd.writerow({{'x': {rows[0][0]!r}, 'y': 2}})\nprint(repr(out.getvalue()))",
    )


@EXAMPLES
@given(
    pattern=st.sampled_from(["a", "(a)(b)?", "[ab]+", r"(?i)A|c", r"\b", "(?<=a)b"]),
    text=st.text("abcA ", max_size=12),
    count=st.integers(0, 2),
)
def test_replacements(session: Session, pattern: str, text: str, count: int) -> None:
    function = "lambda m: '<' + m.group(0) + str(m.start()) + '>'"
    same(
        session,
        f"import re\nf = {function}\nprint(re.sub({pattern!r}, f, {text!r}, count={count}), re.subn({pattern!r}, 'x', {text!r}, {count}))\n"
        f"p = re.compile({pattern!r})\nprint(p.sub(f, {text!r}, {count}), p.subn(f, {text!r}))",
    )
