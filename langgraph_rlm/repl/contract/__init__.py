"""The REPL contract: every promise of a backend as a check that runs on anybody's `Backend`.

`repl/base.py` says what a backend is; here is what it must do. Nothing here needs a test runner.
"""

from collections.abc import Collection, Mapping
from textwrap import indent

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.repl.base import Backend
from langgraph_rlm.repl.contract import calls, cells, files, limits, output, sameness, values
from langgraph_rlm.repl.contract.check import Check

CHECKS: tuple[Check, ...] = (
    *cells.promise.checks,
    *calls.promise.checks,
    *values.promise.checks,
    *output.promise.checks,
    *files.promise.checks,
    *limits.promise.checks,
    *sameness.promise.checks,
)


class ContractBroken(AssertionError):
    """A backend does not keep its promises. The message lists each one, with the reason."""

    def __init__(self, backend: str, broken: Mapping[str, Exception]) -> None:
        """Describe what is broken.

        Args:
            backend: its name.
            broken: what each failed check raised, by the name of the check.
        """
        self.broken = dict(broken)
        lines = [f"The backend {backend!r} breaks {len(broken)} of {len(CHECKS)} promises:"]
        for check in CHECKS:
            if check.name in broken:
                lines.append(f"- {check.name}: {check.promise}")
                lines.append(indent(_reason(broken[check.name]), "  "))
        super().__init__("\n".join(lines))


def repl_contract(backend: Backend, *, skip: Collection[str] = ()) -> tuple[str, ...]:
    """Run the REPL contract on a backend, from the first check to the last.

    It takes some seconds, and measures memory, processes and open files of this process, which
    should do nothing else meanwhile. A backend whose `kill` does not work makes it wait for ever.

    Args:
        backend: what to check; it is not closed.
        skip: names of checks to leave out.

    Returns:
        The names of the checks that passed.

    Raises:
        ContractBroken: the backend breaks promises. Its cause has the traceback of each.
        ConfigurationError: `skip` has a name that no check has.

    Example:
        >>> def test_my_sandbox_keeps_the_contract() -> None:
        ...     repl_contract(MySandbox())
    """
    names = [check.name for check in CHECKS]
    if unknown := sorted(set(skip) - set(names)):
        raise ConfigurationError(
            f"skip={skip!r} has {', '.join(unknown)}, which is not a check: {', '.join(names)}."
        )
    passed: list[str] = []
    broken: dict[str, Exception] = {}
    for check in CHECKS:
        if check.name in skip:
            continue
        try:
            check.on(backend)
        except Exception as error:  # noqa: BLE001 - anybody's backend may raise anything
            broken[check.name] = error
        else:
            passed.append(check.name)
    if broken:
        failures = ExceptionGroup("failed checks", list(broken.values()))
        raise ContractBroken(backend.name, broken) from failures
    return tuple(passed)


def _reason(error: Exception) -> str:
    if isinstance(error, AssertionError):
        return str(error)
    return f"{type(error).__name__}: {error}"
