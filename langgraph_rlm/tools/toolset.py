"""Toolset: the tools of a root and of its children, and which of them need approval.

It knows of approvals, and is fixed once a graph is made.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.tools import ExternalTool, RLMTool, as_external_tools, as_tools, by_function
from langgraph_rlm.tools.approvals import InterruptMode, InterruptOn, When, checked_interrupt_on

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


@dataclass(frozen=True)
class Toolset:
    """Every tool of one `create_rlm`."""

    root: Mapping[str, RLMTool]
    """The root's tools by their names in code."""
    children: Mapping[str, RLMTool]
    """The children's, in the same way."""
    interrupt_on: Mapping[str, InterruptOn]
    """The tools that need approval, by their own names."""
    not_idempotent: frozenset[str]
    """Names of tools that must not run twice without a human's word."""
    interrupt_mode: InterruptMode
    """What a pause for approval shows."""

    def at(self, depth: int) -> Mapping[str, RLMTool]:
        """Give the tools of an RLM at `depth`."""
        return self.children if depth else self.root

    def tool(self, function: str, depth: int) -> RLMTool:
        """Give the tool that a log calls.

        Raises:
            ConfigurationError: it is not there any more.
        """
        tools = self.at(depth)
        if function in tools:
            return tools[function]
        for tool in tools.values():
            if tool.plain_function == function:  # the name that older logs have
                return tool
        raise ConfigurationError(
            f"The log at depth {depth} calls the tool {function!r}, "
            f"but the tools are {', '.join(tools) or 'none'}. "
            "Create the graph with the tools that the thread began with."
        )

    def pauses(self, tool: RLMTool) -> bool:
        """Tell whether a call of a tool waits for somebody, as far as its name tells."""
        return tool.is_external or tool.name in self.interrupt_on

    def when(self, tool: RLMTool) -> When | None:
        """Give the function that tells which calls of a tool wait; None where all or none do."""
        return self.interrupt_on[tool.name].get("when") if tool.name in self.interrupt_on else None

    @property
    def names(self) -> list[str]:
        """Give the own names of all tools, of the root and of children, sorted."""
        return sorted({tool.name for tool in [*self.root.values(), *self.children.values()]})

    def only(self, names: Collection[str]) -> "Toolset":
        """Give the same toolset with some of its tools alone; each keeps its name in code."""
        return replace(self, root=_only(self.root, names), children=_only(self.children, names))

    def with_external(self, given: Sequence[Any], reserved: Collection[str]) -> "Toolset":
        """Give the same tools and some more, which the caller runs.

        In code, a new one whose name is taken there gets another (`names.by_function`).

        Args:
            given: schemas of the new tools.
            reserved: names in code that no tool may have.

        Raises:
            ConfigurationError: one is not a schema, or has the name of a tool that is there.
        """
        own = list(self.root.values())
        more = as_external_tools(given)
        if twice := sorted({tool.name for tool in own} & {tool.name for tool in more}):
            raise ConfigurationError(
                f"Tools {', '.join(twice)} are bound, and the graph runs tools of these names: "
                "rename one of them."
            )
        root: dict[str, RLMTool] = by_function([*own, *more], reserved)
        children = root if self.children is self.root else self.children
        return replace(self, root=root, children=children)

    @property
    def native(self) -> list[dict[str, Any]]:
        """What the root model may call without code, as `bind_tools` takes it: external tools."""
        return [tool.as_openai() for tool in self.root.values() if isinstance(tool, ExternalTool)]


def _only(tools: Mapping[str, RLMTool], names: Collection[str]) -> Mapping[str, RLMTool]:
    return {function: tool for function, tool in tools.items() if tool.name in names}


def open_toolset(
    tools: "Sequence[BaseTool | Callable[..., Any]]",
    child_tools: "Sequence[BaseTool | Callable[..., Any] | str] | None",
    external_tools: Sequence[Any],
    interrupt_on: Mapping[str, Any],
    not_idempotent: Collection[str],
    reserved: Collection[str],
    interrupt_mode: InterruptMode = "batched",
) -> Toolset:
    """Check everything about tools that can be checked before a run.

    Args:
        tools: the root's.
        child_tools: the children's: tools, and names of the root's; None for the same tools.
        external_tools: the root's, run by the caller.
        interrupt_on: as in `create_rlm`.
        not_idempotent: as in `create_rlm`.
        reserved: names in code that no tool may have.
        interrupt_mode: as in `create_rlm`.

    Raises:
        ConfigurationError: a tool, a schema, a name or a key of `interrupt_on` is wrong.
    """
    own = [*as_tools(tools), *as_external_tools(external_tools)]
    root: dict[str, RLMTool] = by_function(own, reserved)
    children = root
    if child_tools is not None:
        children = by_function(_of_children(child_tools, root), reserved)
    every = [*root.values(), *children.values()]
    return Toolset(
        root=root,
        children=children,
        interrupt_on=checked_interrupt_on(interrupt_on, every),
        not_idempotent=_checked_not_idempotent(not_idempotent, every),
        interrupt_mode=interrupt_mode,
    )


def _of_children(
    given: "Sequence[BaseTool | Callable[..., Any] | str]", root: Mapping[str, RLMTool]
) -> list[RLMTool]:
    named = {tool.name: tool for tool in root.values()}
    found: list[RLMTool] = []
    for each in given:
        if not isinstance(each, str):
            found += as_tools([each])
        elif each in named:
            found.append(named[each])
        else:
            raise ConfigurationError(
                f"child_tools names {each!r}, which is not among the root's tools: "
                f"{', '.join(named) or 'none'}."
            )
    return found


def _checked_not_idempotent(given: Collection[str], tools: Collection[RLMTool]) -> frozenset[str]:
    own = sorted(tool.name for tool in tools if not tool.is_external)
    if isinstance(given, str) or not set(given) <= set(own):
        raise ConfigurationError(
            f"not_idempotent={given!r} must be names of tools that the graph runs: "
            f"{', '.join(own) or 'there are none'}."
        )
    return frozenset(given)
