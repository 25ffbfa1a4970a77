"""Chat model: `ChatRLM`, the RLM wherever a LangChain chat model goes."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, model_validator

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Price
from langgraph_rlm.chat.calls import Call, Chat, Resumed
from langgraph_rlm.chat.graphs import Graphs
from langgraph_rlm.chat.isolation import inner_callbacks
from langgraph_rlm.chat.memory import Memory
from langgraph_rlm.chat.messages_to_input import Rule
from langgraph_rlm.chat.requests import request_of
from langgraph_rlm.chat.retries import Bound, Fallbacks, hidden, with_retry
from langgraph_rlm.chat.runs import RunHome
from langgraph_rlm.chat.schemas import parsed, response_format_of, tool_name
from langgraph_rlm.chat.tasks import task_here
from langgraph_rlm.errors import ConfigurationError, problems_in
from langgraph_rlm.graph import create_rlm
from langgraph_rlm.models.resolve import model_name, resolve_model
from langgraph_rlm.options import check_options, unknown_option
from langgraph_rlm.pregel.savers import for_sync_use
from langgraph_rlm.pregel.sync import iterate
from langgraph_rlm.repl import DEFAULT_SANDBOX

MODEL_SETTINGS = ("temperature", "max_tokens", "timeout", "max_retries", "api_key", "base_url")
"""Options that go to models which are given by name."""


class ChatRLM(BaseChatModel):
    """A Recursive Language Model as a chat model.

    Which part of the input is what: system and developer messages are always instructions. The last human message is the question; of
    one longer than `context_rule` characters, each long content part becomes a context (`context`, `context_1`, ...) and the rest is the
    question, or, where it is one long text, all of it becomes `context` and the question shows its head and tail. All other messages are
    a context too, a list of messages, and shown in the question where they are short.

    An input below `direct_below_tokens` goes to the root model as it is, without the loop, bound tools, response format and stop sequences
    included; not where the model has `tools` of its own, since those are called from code.

    Tools bound by `bind_tools` are the caller's: the model calls them from code or by itself, the reply carries ordinary `tool_calls`, and
    the run goes on when their `ToolMessage`s come back. The id of a call is enough to find its run in the checkpointer. `tools` are the
    model's own. Called in a LangGraph node, a run is named by its task and input, so that a node that is run again finds it, and approvals
    are interrupts of the outer graph; elsewhere they raise `ApprovalNeededError`, and `resume` goes on.

    Progress comes as reasoning (`content_blocks` of the chunks), the answer as text at the end. `stop` cuts the answer; all other sampling
    parameters go to each call of the root model.

    Raises:
        ConfigurationError: on construction, as `create_rlm`.
        InputError: messages or options are wrong.
        UnknownToolCallError: a tool message answers a call that is not known here.
        ApprovalNeededError: a human has to decide, and there is no graph that could pause.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: Any
    """Writes the code: a chat model, or `"provider:model"`."""
    temperature: float | None = None
    """This and the six below go to models that are given by name."""
    max_tokens: int | None = None
    timeout: float | None = None
    max_retries: int | None = None
    api_key: SecretStr | None = None
    base_url: str | None = None
    stop: list[str] | None = None
    """Where answers are cut, if a call says nothing else."""
    sub_model: Any = None
    """As in `create_rlm`, like all that follow."""
    models: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    tools: Sequence[Any] = ()
    interrupt_on: Mapping[str, Any] | None = None
    not_idempotent: Collection[str] = ()
    limits: Limits | None = None
    sandbox: Any = DEFAULT_SANDBOX
    prices: Mapping[str, Price | Mapping[str, float]] | None = None
    prompt: str | None = None
    store: Any = None
    """By default that of the LangGraph graph around."""
    blob_store: Any = None
    checkpointer: Any = None
    """Where runs are kept: any LangGraph saver. By default that of the LangGraph graph around, else memory of its own."""
    direct_below_tokens: int = 8_000
    """Inputs below this many tokens go straight to the root model; 0 for none."""
    context_rule: int | Rule = 4_000
    """The most characters of a question that are shown whole; or a function from the messages to the graph's input."""
    owner: str = ""
    """Runs of one owner are unknown to another."""

    _graphs: Graphs = PrivateAttr()
    _is_wrapped: bool = PrivateAttr(default=False)
    _memory: Memory = PrivateAttr(default_factory=Memory)

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, given: Any, handler: Any) -> "ChatRLM":
        """Refuse unknown options, which pydantic would ignore, and wrong types as `create_rlm` does."""
        if isinstance(given, dict):
            options = cast(dict[str, Any], given)
            for name in options:
                if name not in cls.model_fields:
                    raise unknown_option("ChatRLM", name, list(cls.model_fields))
            check_options(options)
        try:
            return handler(given)
        except ValidationError as error:
            raise ConfigurationError(f"ChatRLM: {problems_in(error)}.") from None

    def model_post_init(self, context: Any, /) -> None:
        """Resolve models and check the configuration."""
        settings = {name: getattr(self, name) for name in MODEL_SETTINGS}

        def resolved(model: Any, option: str) -> BaseChatModel:
            return resolve_model(model, option=option, settings=settings)

        sub_model = self.sub_model
        base = create_rlm(
            resolved(self.model, "model"),
            sub_model=None if sub_model is None else resolved(sub_model, "sub_model"),
            models={name: resolved(model, "models") for name, model in self.models.items()},
            tools=self.tools,
            interrupt_on=self.interrupt_on,
            not_idempotent=self.not_idempotent,
            limits=self.limits,
            sandbox=self.sandbox,
            prices=self.prices,
            prompt=self.prompt,
            store=self.store,
            blob_store=self.blob_store,
        )
        self._graphs = Graphs(base)
        if self.profile is None:
            self.profile = self._graphs.rlm.model.profile

    def for_owner(self, owner: str) -> "ChatRLM":
        """The same model for another owner; models, clients, stores and interpreters are shared, runs are not."""
        return self.model_copy(update={"owner": owner})

    # Around it

    def wrapped(self) -> "ChatRLM":
        """The model as retries and fallbacks hold it: its pauses pass through them."""
        copy = self.model_copy()
        copy._is_wrapped = True
        return copy

    def bind(self, **kwargs: Any) -> Bound:  # type: ignore[override]
        """As `Runnable.bind`."""
        return Bound(bound=self, kwargs=kwargs, config={})

    def with_retry(self, **options: Any) -> Runnable[LanguageModelInput, AIMessage]:  # type: ignore[override]
        """As `Runnable.with_retry`; a pause is not retried. In a LangGraph node a retry goes on with the run that failed, elsewhere it
        begins another."""
        return with_retry(self.wrapped(), **options)

    def with_fallbacks(self, fallbacks: Sequence[Runnable[Any, Any]], **options: Any) -> Any:  # type: ignore[override]
        """As `Runnable.with_fallbacks`; a pause is no failure, and passes."""
        return Fallbacks(runnable=self.wrapped(), fallbacks=fallbacks, **options)

    def invoke(self, *args: Any, **kwargs: Any) -> AIMessage:
        """As `BaseChatModel.invoke`."""
        with hidden(self._is_wrapped):
            return super().invoke(*args, **kwargs)

    async def ainvoke(self, *args: Any, **kwargs: Any) -> AIMessage:
        """As `BaseChatModel.ainvoke`."""
        with hidden(self._is_wrapped):
            return await super().ainvoke(*args, **kwargs)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[AIMessageChunk]:
        """As `BaseChatModel.stream`."""
        with hidden(self._is_wrapped):
            yield from super().stream(*args, **kwargs)

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[AIMessageChunk]:
        """As `BaseChatModel.astream`."""
        with hidden(self._is_wrapped):
            async with aclosing(cast(Any, super().astream(*args, **kwargs))) as chunks:
                async for chunk in chunks:
                    yield chunk

    # What LangChain asks of a chat model

    @property
    def _llm_type(self) -> str:
        return "rlm"

    @property
    def model_name(self) -> str:
        """`rlm:` and the root model's name: not a model that anybody has a price for."""
        return f"rlm:{model_name(self._graphs.rlm.model)}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        rlm = self._graphs.rlm
        return {
            "model_name": self.model_name,
            "sub_model": model_name(rlm.sub_model),
            "models": {name: model_name(model) for name, model in rlm.models.items()},
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "stop": self.stop,
            "tools": sorted(rlm.toolset.root),
            "limits": rlm.limits.model_dump(),
            "sandbox": self.sandbox,
            "prompt": self.prompt,
            "direct_below_tokens": self.direct_below_tokens,
            "context_rule": self.context_rule
            if isinstance(self.context_rule, int)
            else repr(self.context_rule),
            "owner": self.owner,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        return params | LangSmithParams(
            ls_provider="langgraph_rlm", ls_model_name=kwargs.get("model") or self.model_name
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs, is_sync=True)
        return _result([*iterate(call.chunks)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs, is_sync=False)
        async with aclosing(cast(Any, call.chunks())) as chunks:
            return _result([chunk async for chunk in chunks])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs, is_sync=True)
        for chunk in iterate(call.chunks):
            yield self._generation(chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs, is_sync=False)
        async with aclosing(cast(Any, call.chunks())) as chunks:
            async for chunk in chunks:
                yield self._generation(chunk)

    def _generation(self, chunk: AIMessageChunk) -> ChatGenerationChunk:
        """For LangChain, which in version 1 of its output merges blocks by index alone, and gives reasoning 0 and text 1."""
        if self.output_version == "v1" and chunk.tool_call_chunks:
            moved = [{**call, "index": (call["index"] or 0) + 2} for call in chunk.tool_call_chunks]
            chunk = chunk.model_copy(update={"tool_call_chunks": moved})
        return ChatGenerationChunk(message=chunk)

    def _call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: Any,
        options: dict[str, Any],
        *,
        is_sync: bool,
    ) -> Call:
        options = dict(options)
        resumed, task = options.pop("resume_run", None), task_here()
        saver, store = self.checkpointer, self.store
        if saver is None:
            saver = self._memory if task is None else task.saver
        if store is None and task is not None:
            store = task.store
        home = RunHome(
            saver=for_sync_use(saver) if is_sync else saver,
            owner=self.owner,
            callbacks=inner_callbacks(run_manager),
            store=store,
        )
        name = f"rlm:{options['model']}" if options.get("model") else self.model_name
        chat = Chat(self._graphs, name, self.direct_below_tokens, self.context_rule)
        return Call(chat, home, request_of(stop or self.stop, options), messages, task, resumed)

    # Tools and structured output

    def bind_tools(  # type: ignore[override]
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that the caller runs.

        Args:
            tools: OpenAI functions, JSON schemas, pydantic classes, functions, LangChain tools. Their bodies are not run here.
            tool_choice: a name, `"any"` (or `"required"`, True), `"auto"`, `"none"`, or OpenAI's form. A forced call is the whole answer.
            kwargs: `parallel_tool_calls`, `strict`, and whatever a call takes.
        """
        functions = (
            request_of(None, {"tools": list(tools), "tool_choice": tool_choice}).tools
            if tool_choice not in ("none", False)
            else []
        )
        given = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=functions, **given, **kwargs)

    def with_structured_output(  # type: ignore[override]
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """The model with answers of one form, as values.

        Args:
            schema: a pydantic class, a TypedDict, a JSON schema or an OpenAI function.
            include_raw: give `{"raw": message, "parsed": value, "parsing_error": None or exception}`.
            method: `"json_schema"` has the run check its answer against the schema and try again; `"function_calling"` gives the answer as
                a tool call; with `"json_mode"` the answer is any JSON object, and it is for you to say in the prompt what it has.
            kwargs: whatever a call takes.
        """
        about = {"ls_structured_output_format": {"kwargs": {"method": method}, "schema": schema}}
        if method == "function_calling":
            model = self.bind_tools([schema], tool_choice=tool_name(schema), **about, **kwargs)
        else:
            model = self.bind(response_format=response_format_of(schema, method), **about, **kwargs)
        return parsed(model, schema, method, include_raw=include_raw)

    # Approvals outside a graph

    def resume(
        self, run: str, answer: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """Go on with a run that waits for a human: `ApprovalNeededError` has its id.

        Args:
            run: of the error.
            answer: `{"decisions": [...]}` with a decision for each action, or for one action the decision alone.
            config: of the call.
            kwargs: whatever a call takes.

        Raises:
            ResumeError: the answer has the wrong form; the run still waits.
            UnknownToolCallError: there is no such run here.
            ApprovalNeededError: it needs another decision.
        """
        return self.invoke([], config, resume_run=Resumed(run, answer), **kwargs)

    async def aresume(
        self, run: str, answer: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """As `resume`."""
        return await self.ainvoke([], config, resume_run=Resumed(run, answer), **kwargs)


def _result(chunks: list[AIMessageChunk]) -> ChatResult:
    first, *rest = chunks
    whole = first
    for chunk in rest:
        whole = whole + chunk
    return ChatResult(
        generations=[ChatGeneration(message=cast(AIMessage, message_chunk_to_message(whole)))]
    )
