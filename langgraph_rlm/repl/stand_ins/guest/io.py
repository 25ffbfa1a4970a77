"""Stand-in for `io`: `StringIO`, without translation of line ends. It lacks the rest."""

__all__ = ["SEEK_CUR", "SEEK_END", "SEEK_SET", "StringIO", "print_to"]

SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2


class StringIO:
    def __init__(self, initial_value="", newline="\n"):
        if newline not in ("\n", ""):
            raise ValueError("StringIO here knows newline='\\n' and newline='' alone")
        if initial_value is None:
            initial_value = ""
        if not isinstance(initial_value, str):
            kind = type(initial_value).__name__
            raise TypeError("initial_value must be str or None, not " + kind)
        self._parts = [initial_value]
        self._size = len(initial_value)
        self._place = 0
        self._at_end = self._size == 0
        self._ends = "\n" if newline else ""
        self.closed = False

    def _check(self):
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def getvalue(self):
        self._check()
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]

    def write(self, s):
        self._check()
        if not isinstance(s, str):
            raise TypeError("string argument expected, got '" + type(s).__name__ + "'")
        if self._place == self._size:  # joined when it is read: many writes stay quick
            self._parts.append(s)
        elif s:
            text = self.getvalue()
            text = text + "\0" * (self._place - len(text))
            end = self._place + len(s)
            self._parts = [text[: self._place] + s + text[end:]]
        if s:
            self._place += len(s)
            self._size = max(self._size, self._place)
        return len(s)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def read(self, size=-1):
        start = self._place
        text = self.getvalue()
        if size is None or size < 0:
            size = max(0, len(text) - start)
        self._place = max(start, min(len(text), start + size))
        return text[start : self._place]

    def readline(self, size=-1):
        start = self._place
        text = self.getvalue()
        end = _line_end(text, start, self._ends)
        if size is not None and size >= 0:
            end = min(end, start + size)
        self._place = max(start, end)
        return text[start:end]

    def readlines(self, hint=-1):
        lines, size = [], 0
        while line := self.readline():
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self):
        self._check()
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def seek(self, pos, whence=0):
        self._check()
        if whence not in (0, 1, 2):
            raise ValueError("Invalid whence (" + str(whence) + ", should be 0, 1 or 2)")
        if whence == 0 and pos < 0:
            raise ValueError("Negative seek position " + str(pos))
        if whence != 0 and pos != 0:
            raise OSError("Can't do nonzero cur-relative seeks")
        self._place = [pos, self._place, self._size][whence]
        return self._place

    def tell(self):
        self._check()
        return self._place

    def truncate(self, pos=None):
        self._check()
        if pos is None:
            pos = self._place
        if pos < 0:
            raise ValueError("Negative size value " + str(pos))
        self._parts = [self.getvalue()[:pos]]
        self._size = min(self._size, pos)
        return pos

    def readable(self):
        self._check()
        return True

    writable = readable
    seekable = readable

    def isatty(self):
        self._check()
        return False

    def flush(self):
        self._check()

    def close(self):
        self.closed = True

    def __enter__(self):
        self._check()
        return self

    def __exit__(self, *error):
        self.close()


def print_to(*values, sep=" ", end="\n", file=None, flush=False):
    """Print to a `StringIO`, which the interpreter's own `print` does not take."""
    sep, end = " " if sep is None else sep, "\n" if end is None else end
    if not isinstance(file, StringIO):
        print(*values, sep=sep, end=end, file=file)
    else:
        file.write(sep.join([str(value) for value in values]) + end)


def _line_end(text, start, ends):
    found = text.find("\n", start)
    if ends:
        return len(text) if found < 0 else found + 1
    returned = text.find("\r", start)
    if returned >= 0 and (found < 0 or returned < found):
        return returned + (2 if found == returned + 1 else 1)
    return len(text) if found < 0 else found + 1
