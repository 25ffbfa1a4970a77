"""Sums: the figures of several processes as those of one, in Prometheus' text format."""

from collections.abc import Sequence


def summed(texts: Sequence[bytes]) -> bytes:
    """Add up what each process says, sample by sample.

    The time at which a counter was made is that of the newest process: so it is said to have begun
    anew where one of them did.
    """
    if len(texts) == 1:
        return texts[0]  # as it is: numbers may be written otherwise
    about: dict[str, list[str]] = {}
    samples: dict[str, dict[str, float]] = {}
    for text in texts:
        family = ""
        for line in text.decode().splitlines():
            if line.startswith("#"):
                family = line.split(" ")[2]
                known = about.setdefault(family, [])
                if line not in known:
                    known.append(line)
                continue
            name, _, value = line.rpartition(" ")
            _add(samples.setdefault(family, {}), name, float(value))
    lines: list[str] = []
    for family, told in about.items():
        lines += told
        lines += [f"{name} {value!r}" for name, value in samples.get(family, {}).items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _add(found: dict[str, float], name: str, value: float) -> None:
    if name.partition("{")[0].endswith("_created"):
        found[name] = max(found.get(name, 0.0), value)
    else:
        found[name] = found.get(name, 0.0) + value
