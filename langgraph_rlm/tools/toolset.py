"""Toolset: the tools of a root and of its children, which of them need approval, and which must not run twice.

A room of its own above `tools`, because it knows of approvals, and below the runtime, because it is fixed once a graph is made.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.tools import ExternalTool, RLMTool, as_external_tools, as_tools, by_function
from langgraph_rlm.tools.approvals import InterruptOn, checked_interrupt_on

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


@dataclass(frozen=True)
class Toolset:
    """Every tool of one `create_rlm`."""

    root: Mapping[str, RLMTool]
    """By their names in code."""
    children: Mapping[str, RLMTool]
    interrupt_on: Mapping[str, InterruptOn]
    """By tool name; those that need approval alone."""
    not_idempotent: frozenset[str]
    """Tools that must not run twice without a human's word."""
    begun: set[str] = field(default_factory=set[str])
    """Marks of runs of such tools that were begun in this process and have not started."""

    def at(self, depth: int) -> Mapping[str, RLMTool]:
        """The tools of an RLM at `depth`."""
        return self.children if depth else self.root

    def tool(self, function: str, depth: int) -> RLMTool:
        """The tool that a log calls. Raises `ConfigurationError` if it is gone."""
        if function not in self.at(depth):
            raise ConfigurationError(
                f"The log at depth {depth} calls the tool {function!r}, but the tools are {', '.join(self.at(depth)) or 'none'}. "
                "Create the graph with the tools that the thread began with."
            )
        return self.at(depth)[function]

    def pauses(self, tool: RLMTool) -> bool:
        """Whether a call of it waits for somebody."""
        return tool.is_external or tool.name in self.interrupt_on

    def with_external(self, given: Sequence[Any], reserved: Collection[str]) -> "Toolset":
        """The same tools and some more that the caller runs. One whose name is taken in code is `NAME_tool` there.

        Raises:
            ConfigurationError: one is no schema, or has the name of a tool that is there.
        """
        own, more = list(self.root.values()), as_external_tools(given)
        taken = {*reserved, *(tool.function for tool in own)}
        if twice := sorted({tool.name for tool in own} & {tool.name for tool in more}):
            raise ConfigurationError(
                f"Tools {', '.join(twice)} are bound, and the graph runs tools of these names: rename one of them."
            )
        for tool in more:
            tool.alias = f"{tool.function}_tool" if tool.function in taken else None
        root: dict[str, RLMTool] = by_function([*own, *more], reserved)
        children = root if self.children is self.root else self.children
        return replace(self, root=root, children=children)

    @property
    def native(self) -> list[dict[str, Any]]:
        """What the root model may call without code, as `bind_tools` takes it: the external tools."""
        return [tool.as_openai() for tool in self.root.values() if isinstance(tool, ExternalTool)]


def open_toolset(
    tools: "Sequence[BaseTool | Callable[..., Any]]",
    child_tools: "Sequence[BaseTool | Callable[..., Any] | str] | None",
    external_tools: Sequence[Any],
    interrupt_on: Mapping[str, Any],
    not_idempotent: Collection[str],
    reserved: Collection[str],
) -> Toolset:
    """Check everything about tools that can be checked before a run.

    Args:
        tools: of the root.
        child_tools: of the children: tools, and names of the root's; None for the same as the root's.
        external_tools: of the root, run by the caller.
        interrupt_on: as in `create_rlm`.
        not_idempotent: as in `create_rlm`.
        reserved: names in code that no tool may have.

    Raises:
        ConfigurationError: a tool, a schema, a name or a key of `interrupt_on` is wrong.
    """
    root: dict[str, RLMTool] = by_function(
        [*as_tools(tools), *as_external_tools(external_tools)], reserved
    )
    children = (
        root if child_tools is None else by_function(_of_children(child_tools, root), reserved)
    )
    every = [*root.values(), *children.values()]
    return Toolset(
        root, children, checked_interrupt_on(interrupt_on, every), _known(not_idempotent, every)
    )


def _of_children(
    given: "Sequence[BaseTool | Callable[..., Any] | str]", root: Mapping[str, RLMTool]
) -> list[RLMTool]:
    named = {tool.name: tool for tool in root.values()}
    found: list[RLMTool] = []
    for each in given:
        if isinstance(each, str) and each not in named:
            raise ConfigurationError(
                f"child_tools names {each!r}, which is not among the root's tools: {', '.join(named) or 'none'}."
            )
        found.append(named[each] if isinstance(each, str) else as_tools([each])[0])
    return found


def _known(not_idempotent: Collection[str], tools: Collection[RLMTool]) -> frozenset[str]:
    own = sorted(tool.name for tool in tools if not tool.is_external)
    if isinstance(not_idempotent, str) or not set(not_idempotent) <= set(own):
        raise ConfigurationError(
            f"not_idempotent={not_idempotent!r} must be names of tools that the graph runs: {', '.join(own) or 'there are none'}."
        )
    return frozenset(not_idempotent)
