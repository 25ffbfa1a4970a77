"""Graphs: a graph of the user's own, loaded by the name of its file or module. Runs none of it."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from langgraph_rlm.errors import ConfigurationError, RLMError

if TYPE_CHECKING:
    pass

HOW = "Write it as FILE.py:NAME or package.module:NAME, such as agent.py:rlm."


@cache
def load_graph(spec: str) -> Any:
    """Import a graph, once in a process: its checkpointer may be in memory.

    Args:
        spec: `FILE.py:NAME` or `package.module:NAME`. NAME is a compiled graph, a `StateGraph`
            (which is compiled here), or a function without arguments that gives one of these.

    Raises:
        ConfigurationError: there is no such file, module, name or graph; or its code fails.
    """
    source, colon, name = spec.rpartition(":")
    if not colon or not source or not name:
        raise ConfigurationError(f"--graph {spec!r} names no graph. {HOW}")
    module = _module(source, spec)
    if not hasattr(module, name):
        raise ConfigurationError(f"--graph {spec!r}: {source} has no {name!r}. {HOW}")
    return _compiled(getattr(module, name), spec)


def absolute(spec: str) -> str:
    """Give a spec that means the same from every folder."""
    source, colon, name = spec.rpartition(":")
    if not source.endswith(".py"):
        return spec
    return f"{Path(source).expanduser().absolute()}{colon}{name}"


def own_saver(graph: Any) -> Any:
    """Give the checkpointer that a graph was compiled with; None if it has none."""
    from langgraph.checkpoint.base import BaseCheckpointSaver

    saver: Any = getattr(graph, "checkpointer", None)
    if isinstance(saver, BaseCheckpointSaver):
        return cast(Any, saver)
    return None


def with_saver(graph: Any, saver: Any) -> Any:
    """Give the graph with a checkpointer: its own where it has one, else `saver`.

    One without async methods is used in threads; those that have some know their event loop.
    """
    from langgraph_rlm.pregel.savers import for_sync_use

    own = own_saver(graph)
    if own is None:
        return graph.copy({"checkpointer": saver})
    if hasattr(own, "loop"):
        return graph
    return graph.copy({"checkpointer": for_sync_use(own)})


def _module(source: str, spec: str) -> ModuleType:
    try:
        if source.endswith(".py"):
            return _from_file(Path(source).expanduser(), spec)
        return _from_path(source)
    except RLMError:
        raise
    except Exception as error:
        raise _not_loaded(spec, error) from error


def _not_loaded(spec: str, error: Exception) -> ConfigurationError:
    told = f"{type(error).__name__}: {error}"
    return ConfigurationError(f"--graph {spec!r} cannot be loaded: {told}. {HOW}")


def _from_file(path: Path, spec: str) -> ModuleType:
    """Run a file as a module, which finds its neighbours as a script does."""
    if not path.is_file():
        raise ConfigurationError(f"--graph {spec!r}: there is no file {str(path)!r}. {HOW}")
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found = importlib.util.spec_from_file_location(path.stem, path.absolute())
    assert found is not None, "it ends in .py"
    assert found.loader is not None, "it is a file"
    module = importlib.util.module_from_spec(found)
    sys.modules.setdefault(path.stem, module)
    found.loader.exec_module(module)
    return module


def _from_path(source: str) -> ModuleType:
    """Import a module, also one in the working directory, as `python -m` does."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(source)


def _compiled(found: Any, spec: str) -> Any:
    import langgraph.graph
    import langgraph.pregel

    compiled: Any = langgraph.pregel.Pregel
    builder: Any = langgraph.graph.StateGraph
    graph = found
    if callable(found) and not isinstance(found, (compiled, builder)):
        graph = _made(found, spec)
    if isinstance(graph, builder):
        graph = graph.compile()
    if not isinstance(graph, compiled):
        kind = type(graph).__name__
        raise ConfigurationError(f"--graph {spec!r} is a {kind}, not a compiled graph. {HOW}")
    return graph


def _made(function: Callable[[], Any], spec: str) -> Any:
    try:
        return function()
    except RLMError:
        raise
    except Exception as error:
        raise _not_loaded(spec, error) from error
