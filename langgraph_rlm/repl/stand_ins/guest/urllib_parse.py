"""Stand-in for `urllib.parse`, for text alone: it refuses bytes where a URL is meant.

Parts of a URL are known at once: where a port is no number or too large, there is no `port`.
"""

__all__ = [
    *("parse_qs", "parse_qsl", "quote", "quote_plus", "unquote", "unquote_plus", "urldefrag"),
    *("urlencode", "urljoin", "urlparse", "urlsplit", "urlunparse", "urlunsplit"),
]

_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
_SCHEME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."
_HEX = "0123456789abcdefABCDEF"
_RELATIVE = [
    *("", "ftp", "http", "gopher", "nntp", "imap", "wais", "file", "https", "shttp", "mms"),
    *("prospero", "rtsp", "rtsps", "rtspu", "sftp", "svn", "svn+ssh", "ws", "wss"),
]
_NETLOC = [*_RELATIVE, "telnet", "snews", "rsync", "nfs", "git", "git+ssh", "itms-services"]
_PARAMS = [
    *("", "ftp", "hdl", "prospero", "http", "imap", "https", "shttp", "rtsp", "rtsps", "rtspu"),
    *("sip", "sips", "mms", "sftp", "tel"),
]
_CONTROLS = "".join([chr(number) for number in range(33)])


def quote(string, safe="/", encoding=None, errors=None):
    if isinstance(string, str):
        string = string.encode(encoding or "utf-8", errors or "strict")
    if not isinstance(safe, str):
        safe = safe.decode("ascii", "ignore")
    kept = {ord(char) for char in _SAFE + safe if ord(char) < 128}
    return "".join([chr(byte) if byte in kept else "%" + f"{byte:02X}" for byte in string])


def quote_plus(string, safe="", encoding=None, errors=None):
    if isinstance(string, str) and " " not in string:
        return quote(string, safe, encoding, errors)
    if isinstance(safe, str):
        return quote(string, safe + " ", encoding, errors).replace(" ", "+")
    return quote(string, safe + b" ", encoding, errors).replace(" ", "+")


def unquote(string, encoding="utf-8", errors="replace"):
    encoding, errors = encoding or "utf-8", errors or "replace"
    if isinstance(string, bytes):
        string = string.decode("latin-1")
    made, octets = [], []
    parts = string.split("%")
    made.append(parts[0])
    for part in parts[1:]:
        if len(part) >= 2 and part[0] in _HEX and part[1] in _HEX:
            octets.append(part[:2])
            part = part[2:]
        else:
            part = "%" + part
        if part and octets:
            made.append(bytes.fromhex("".join(octets)).decode(encoding, errors))
            octets = []
        made.append(part)
    if octets:
        made.append(bytes.fromhex("".join(octets)).decode(encoding, errors))
    return "".join(made)


def unquote_plus(string, encoding="utf-8", errors="replace"):
    return unquote(string.replace("+", " "), encoding, errors)


def urlencode(query, doseq=False, safe="", encoding=None, errors=None, quote_via=quote_plus):
    pairs = list(query.items()) if isinstance(query, dict) else list(query)
    made = []
    for key, value in pairs:
        name = _part(key, quote_via, safe, encoding, errors)
        values = [value]
        if doseq and isinstance(value, (list, tuple, set, frozenset, range, dict)):
            values = list(value)
        made += [name + "=" + _part(each, quote_via, safe, encoding, errors) for each in values]
    return "&".join(made)


def _part(value, quote_via, safe, encoding, errors):
    if isinstance(value, bytes):
        return quote_via(value, safe)
    return quote_via(str(value), safe, encoding, errors)


def parse_qs(
    qs, keep_blank_values=False, strict_parsing=False, encoding="utf-8", errors="replace",
    max_num_fields=None, separator="&",
):  # fmt: skip
    found = {}
    for name, value in parse_qsl(
        qs, keep_blank_values, strict_parsing, encoding, errors, max_num_fields, separator
    ):
        found.setdefault(name, []).append(value)
    return found


def parse_qsl(
    qs, keep_blank_values=False, strict_parsing=False, encoding="utf-8", errors="replace",
    max_num_fields=None, separator="&",
):  # fmt: skip
    if not separator or not isinstance(separator, str):
        raise ValueError("Separator must be of type string or bytes.")
    if max_num_fields is not None and max_num_fields < 1 + qs.count(separator):
        raise ValueError("Max number of fields exceeded")
    found = []
    for field in qs.split(separator) if qs else []:
        if not field and not strict_parsing:
            continue
        name, has_value, value = field.partition("=")
        if not has_value and strict_parsing:
            raise ValueError(f"bad query field: {field!r}")
        if value or keep_blank_values:
            found.append(
                (unquote_plus(name, encoding, errors), unquote_plus(value, encoding, errors))
            )
    return found


class _Result:
    """The parts of a URL: unpacks, and has fields by name and by number."""

    def __init__(self, kind, names, values):
        self._kind, self._names, self._values = kind, names, tuple(values)
        for name, value in zip(names, values):
            setattr(self, name, value)
        if "netloc" in names:
            _set_place(self, self.netloc)

    def __iter__(self):
        return iter(self._values)

    def __getitem__(self, number):
        return self._values[number]

    def __eq__(self, other):
        return self._values == (other._values if isinstance(other, _Result) else other)

    def __hash__(self):
        return hash(self._values)

    def __repr__(self):
        pairs = [f"{name}={value!r}" for name, value in zip(self._names, self._values)]
        return self._kind + "(" + ", ".join(pairs) + ")"

    def _asdict(self):
        return dict(zip(self._names, self._values))

    def _replace(self, **changes):
        for name in changes:
            if name not in self._names:
                raise ValueError(f"Got unexpected field names: {[name]!r}")
        values = {**self._asdict(), **changes}
        return _Result(self._kind, self._names, [values[name] for name in self._names])

    def geturl(self):
        if self._kind == "DefragResult":
            return self.url + ("#" + self.fragment if self.fragment else "")
        if self._kind == "ParseResult":
            return urlunparse(self)
        return urlunsplit(self)


def _set_place(made, netloc):
    who, has_who, where = netloc.rpartition("@")
    made.username = made.password = None
    if has_who:
        name, has_password, password = who.partition(":")
        made.username, made.password = name, password if has_password else None
    before, is_bracketed, rest = where.partition("[")
    if is_bracketed:
        host, _, port = rest.partition("]")
        port = port.partition(":")[2]
    else:
        host, _, port = before.partition(":")
    host, percent, zone = host.partition("%")
    made.hostname = (host.lower() + percent + zone) or None
    if not port:
        made.port = None
    elif port.isdigit() and port.isascii() and len(port) < 10 and int(port) <= 65535:
        made.port = int(port)


def _text(*values):
    for value in values:
        if not isinstance(value, str):
            raise TypeError("only text is parsed here, not " + type(value).__name__)


def urlsplit(url, scheme="", allow_fragments=True):
    _text(url, scheme)
    url, scheme = url.lstrip(_CONTROLS), scheme.strip(_CONTROLS)
    for char in "\t\r\n":
        url, scheme = url.replace(char, ""), scheme.replace(char, "")
    netloc = query = fragment = ""
    at = url.find(":")
    if at > 0 and url[0].isascii() and url[0].isalpha():
        if all([char in _SCHEME for char in url[:at]]):
            scheme, url = url[:at].lower(), url[at + 1 :]
    if url[:2] == "//":
        end = min([place for place in [url.find(c, 2) for c in "/?#"] if place >= 0] or [len(url)])
        netloc, url = url[2:end], url[end:]
        if ("[" in netloc) != ("]" in netloc):
            raise ValueError("Invalid IPv6 URL")
    if allow_fragments and "#" in url:
        url, _, fragment = url.partition("#")
    if "?" in url:
        url, _, query = url.partition("?")
    names = ("scheme", "netloc", "path", "query", "fragment")
    return _Result("SplitResult", names, (scheme, netloc, url, query, fragment))


def urlparse(url, scheme="", allow_fragments=True):
    scheme, netloc, path, query, fragment = urlsplit(url, scheme, allow_fragments)
    params = ""
    if scheme in _PARAMS and ";" in path:
        at = path.find(";", path.rfind("/") + 1) if "/" in path else path.find(";")
        if at >= 0:
            path, params = path[:at], path[at + 1 :]
    names = ("scheme", "netloc", "path", "params", "query", "fragment")
    return _Result("ParseResult", names, (scheme, netloc, path, params, query, fragment))


def urlunparse(components):
    scheme, netloc, url, params, query, fragment = components
    if params:
        url = url + ";" + params
    return urlunsplit((scheme, netloc, url, query, fragment))


def urlunsplit(components):
    scheme, netloc, url, query, fragment = components
    if netloc:
        if url and url[:1] != "/":
            url = "/" + url
        url = "//" + netloc + url
    elif url[:2] == "//" or (scheme and scheme in _NETLOC and (not url or url[:1] == "/")):
        url = "//" + url
    if scheme:
        url = scheme + ":" + url
    if query:
        url = url + "?" + query
    return url + "#" + fragment if fragment else url


def urljoin(base, url, allow_fragments=True):
    if not base or not url:
        return url or base
    b = urlparse(base, "", allow_fragments)
    u = urlparse(url, b.scheme, allow_fragments)
    if u.scheme != b.scheme or u.scheme not in _RELATIVE:
        return url
    if u.netloc and u.scheme in _NETLOC:
        return urlunparse(u)
    if not u.path and not u.params:
        query = u.query or b.query
        return urlunparse((u.scheme, b.netloc, b.path, b.params, query, u.fragment))
    path = _joined(b.path, u.path)
    return urlunparse((u.scheme, b.netloc, path, u.params, u.query, u.fragment))


def _joined(base, path):
    parts = base.split("/")
    if parts[-1] != "":
        parts = parts[:-1]
    if path[:1] == "/":
        segments = path.split("/")
    else:
        segments = parts + path.split("/")
        segments[1:-1] = [each for each in segments[1:-1] if each]
    resolved = []
    for segment in segments:
        if segment == "..":
            resolved = resolved[:-1]
        elif segment != ".":
            resolved.append(segment)
    if segments[-1] in (".", ".."):
        resolved.append("")
    return "/".join(resolved) or "/"


def urldefrag(url):
    _text(url)
    fragment = ""
    if "#" in url:
        scheme, netloc, path, params, query, fragment = urlparse(url)
        url = urlunparse((scheme, netloc, path, params, query, ""))
    return _Result("DefragResult", ("url", "fragment"), (url, fragment))
