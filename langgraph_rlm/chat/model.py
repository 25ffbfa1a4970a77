"""Chat model: `ChatRLM`, the RLM wherever a LangChain chat model goes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, model_validator

from langgraph_rlm.as_tool.door import AsTool
from langgraph_rlm.budget.ledger import Ledger
from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Price
from langgraph_rlm.chat.about import (
    parameters_of,
    profile_of_rlm,
    tokens_in_messages,
    tokens_in_text,
)
from langgraph_rlm.chat.around import around_call
from langgraph_rlm.chat.calls import Call, Chat
from langgraph_rlm.chat.generate import GeneratingChatModel
from langgraph_rlm.chat.graphs import Graphs
from langgraph_rlm.chat.memory import Memory
from langgraph_rlm.chat.messages_to_input import Rule
from langgraph_rlm.chat.requests import request_of
from langgraph_rlm.chat.runs import NAME, RunHome
from langgraph_rlm.chat.structured_output import Method, parsed, response_format_of, tool_name
from langgraph_rlm.chat.tasks import Task, task_here
from langgraph_rlm.errors import ConfigurationError, problems_in
from langgraph_rlm.graph import create_rlm
from langgraph_rlm.models.caching import CacheLife
from langgraph_rlm.models.cast import cast_of
from langgraph_rlm.models.wrapped import Model, first_of, model_name
from langgraph_rlm.options import check_options, unknown_option
from langgraph_rlm.pregel.keys import RUNTIME
from langgraph_rlm.pregel.savers import for_sync_use
from langgraph_rlm.repl import DEFAULT_SANDBOX
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.run import FRAME
from langgraph_rlm.runtime.variant import check_prices
from langgraph_rlm.tools.approvals import InterruptMode

MODEL_SETTINGS = ("temperature", "timeout", "max_retries", "api_key", "base_url")
"""Fields that go to the models that are given by name."""


class ChatRLM(  # pyright: ignore[reportIncompatibleMethodOverride]
    AsTool, GeneratingChatModel
):
    """A Recursive Language Model as a LangChain chat model: it goes wherever a chat model goes.

    The root model answers by writing code, in a loop; the code reads the long parts of the input,
    and asks sub-models about them.

    **How messages are read.** System and developer messages are instructions. The last human
    message is the question. If it is longer than `context_rule` characters, each long content part
    becomes a context (`context`, `context_1`, ... in code) and the rest is the question; one long
    text becomes `context` whole, and the question shows its head and tail. All other messages are
    a context too, a list of messages, which the question shows as well where they are short.

    **Short inputs**, below `direct_below_tokens`, go to the root model as they are, without the
    loop, with bound tools, response format and stop sequences. A model with `tools` of its own
    always runs the loop, since tools are called from code.

    **Tools** given to `bind_tools` are yours to run: the model calls them from code or by itself,
    the reply has ordinary `tool_calls`, and the run continues when their `ToolMessage`s come back.
    The id of a call is enough to find its run in the checkpointer. The model itself runs those that
    are given as `tools`.

    **In a LangGraph node** a run is named by the node's task and its messages, so that a node that
    runs again finds it and pays nothing twice, and a tool that needs approval is an interrupt of
    the outer graph. Elsewhere it raises `ApprovalNeededError`, and `resume` continues the run.

    **Replies.** Progress comes as reasoning (in `content_blocks` of the chunks), the answer as
    text at the end. `stop` and `max_tokens` cut the answer, not the code. All other sampling
    parameters of a call go to each call of the root model.

    Raises:
        ConfigurationError: on construction; an option is wrong, as in `create_rlm`.
        InputError: messages or options of a call are wrong.
        UnknownToolCallError: a tool message answers a call that is not known here.
        ApprovalNeededError: a human has to decide, and there is no graph that could pause.
        ModelReplyError: a model that was asked directly gave no reply that could be used.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: Any
    """The root model, which writes the code: a chat model, also behind `bind`, `with_config`,
    `with_retry` and `with_fallbacks`, or `"provider:model"`."""
    temperature: float | None = None
    """Sampling temperature of the models that are given by name."""
    max_tokens: int | None = None
    """Most tokens of an answer. A run's answer is cut there, counted as four bytes each, and its
    turns are not; a model that is asked directly gets it as its own limit."""
    timeout: float | None = None
    """Seconds that one request of the models that are given by name may take."""
    max_retries: int | None = None
    """How often the models that are given by name repeat a request that failed."""
    api_key: SecretStr | None = None
    """Key for the models that are given by name; by default their provider's variable."""
    base_url: str | None = None
    """Address of the API for the models that are given by name; by default the provider's own."""
    stop: list[str] | None = None
    """Stop sequences, which cut the answer; for calls that give none of their own."""
    streaming: bool | None = None
    """LangChain's switch: True has `invoke` stream, False has `stream` give the reply at once."""
    sub_model: Any = None
    """Answers what code asks by `llm_query`: a chat model or its name; by default `model`."""
    models: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    """More sub-models, by the name that code gives as `model=`."""
    model_options: Mapping[str, Mapping[str, Any]] = Field(
        default_factory=dict[str, Mapping[str, Any]]
    )
    """Options by part: `"model"`, `"sub_model"` and the names in `models`."""
    fallbacks: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    """Lists of models that are asked where one fails, by the same parts."""
    tools: Sequence[Any] = ()
    """Tools that the model runs itself: LangChain tools and functions, called from code."""
    interrupt_on: Mapping[str, Any] | None = None
    """Tools that wait for a human's approval: True by name, or LangChain's config."""
    interrupt_mode: InterruptMode = "batched"
    """What a pause for approval shows: an `HITLRequest`, or with `"per_call"` LangChain's newer
    `ToolApprovalRequest`, one call after the other."""
    not_idempotent: Collection[str] = ()
    """Names of tools that must not run twice: one that was cut off asks a human."""
    limits: Limits | None = None
    """What one run may use, such as turns, sub-calls, tokens and seconds; or a dict of fields."""
    sandbox: Any = DEFAULT_SANDBOX
    """Where code runs: `"auto"`, which is `"python"` or `"monty"`, both isolated; `"local"`, NOT
    isolated; or a `Backend` of your own."""
    prices: Mapping[str, Price | Mapping[str, float]] | None = None
    """USD per million tokens by model name; of other models the `genai-prices` package's."""
    skills: Sequence[Any] = ()
    """Folders of skills, by the Agent Skills format; see `create_rlm`."""
    prompt: str | None = None
    """Instructions of your own, ahead of those for the REPL."""
    window_tokens: int | None = None
    """Tokens that a root model takes; by default what its profile says, else 128,000."""
    compact_at: float = 0.75
    """The share of the window at which a run's conversation is summed up."""
    prompt_caching: CacheLife | None = "5m"
    """How long Claude keeps root models' conversations in its prompt cache; None: not at all."""
    store: Any = None
    """LangGraph store (long-term memory) for `tools`; by default that of the graph around."""
    blob_store: Any = None
    """Where contexts and long texts are kept: a folder, a URL or a LangGraph store."""
    checkpointer: Any = None
    """Keeps the runs: any LangGraph saver; by default that of the graph around, else memory."""
    configurable: Any = None
    """What a call may set for itself, as `config={"configurable": {"rlm": {...}}}`: a
    `Configurable`, or a dict of some of its fields."""
    direct_below_tokens: int = 8_000
    """Inputs below this many tokens, of four bytes each, go straight to `model`; 0 for none."""
    context_rule: int | Rule = 4_000
    """Most characters of a question shown whole; or a function from messages to an `RLMInput`."""
    file_blocks: bool = False
    """Whether a reply carries what code wrote into `out/` as content blocks behind its text, up to
    20 MB. They are named in `response_metadata["files"]` anyway, and `read_file` reads them."""
    owner: str = ""
    """Whose runs these are: runs of one owner are unknown to another."""

    _graphs: Graphs = PrivateAttr()
    _memory: Memory = PrivateAttr(default_factory=Memory)
    _budget: Ledger | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, given: Any, handler: Any) -> "ChatRLM":
        """Refuse unknown options, which pydantic would ignore, and wrong types."""
        if isinstance(given, dict):
            options: dict[str, Any] = {**given}
            for name in options:
                if name not in cls.model_fields:
                    raise unknown_option("ChatRLM", name, list(cls.model_fields))
            check_options(options)
        try:
            return handler(given)
        except ValidationError as error:
            raise ConfigurationError(f"ChatRLM: {problems_in(error)}.") from None

    def model_post_init(self, context: Any, /) -> None:
        """Resolve the models, check the configuration, and make the graph."""
        settings = {name: getattr(self, name) for name in MODEL_SETTINGS}
        parts = cast_of(
            self.model,
            self.sub_model,
            self.models,
            options=self.model_options,
            fallbacks=self.fallbacks,
            settings=settings,
        )
        base = create_rlm(
            parts.model,
            sub_model=parts.sub_model,
            models=parts.models,
            tools=self.tools,
            interrupt_on=self.interrupt_on,
            interrupt_mode=self.interrupt_mode,
            not_idempotent=self.not_idempotent,
            limits=self.limits,
            sandbox=self.sandbox,
            prices=self.prices,
            skills=self.skills,
            prompt=self.prompt,
            window_tokens=self.window_tokens,
            compact_at=self.compact_at,
            prompt_caching=self.prompt_caching,
            store=self.store,
            blob_store=self.blob_store,
            configurable=self.configurable,
        )
        self._graphs = Graphs(base)
        if self.profile is None:
            profile: Any = profile_of_rlm(self.root_model)
            self.profile = profile

    def for_owner(self, owner: str, budget: Ledger | None = None) -> "ChatRLM":
        """Give the same model for another owner.

        Models, HTTP clients, stores and interpreters are shared; runs are not.

        Args:
            owner: whose runs it has.
            budget: a ledger that all its calls are counted in, and whose limits hold.

        Raises:
            ConfigurationError: the budget limits the cost, and a model has no known price.
        """
        if budget is not None:
            check_prices(self._graphs.rlm, budget.limits)
        own = self.model_copy(update={"owner": owner})
        own._budget = budget
        return own

    @property
    def root_model(self) -> Model:
        """The model that writes the code, and is asked directly for short inputs."""
        return self._graphs.rlm.model

    # What LangChain asks of a chat model

    @property
    def _llm_type(self) -> str:
        return "rlm"

    @property
    def model_name(self) -> str:
        """`rlm:` and the root model's name, so that nobody's list of prices has it."""
        return f"rlm:{model_name(self.root_model)}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        rule = self.context_rule
        return {
            **parameters_of(self._graphs.rlm),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "stop": self.stop,
            "sandbox": self.sandbox,
            "direct_below_tokens": self.direct_below_tokens,
            "context_rule": rule if isinstance(rule, int) else repr(rule),
            "owner": self.owner,
        }

    def get_num_tokens(self, text: str) -> int:
        """Count tokens as the root model does; by an estimate if it cannot."""
        return tokens_in_text(self.root_model, text)

    def get_token_ids(self, text: str) -> list[int]:
        """Give the ids that the root model's own counter gives."""
        return first_of(self.root_model).get_token_ids(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Count the tokens of messages, as `trim_messages(token_counter=model)` does."""
        return tokens_in_messages(self.root_model, messages, tools)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        name = kwargs.get("model") or self.model_name
        return params | LangSmithParams(ls_provider="langgraph_rlm", ls_model_name=name)

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
        resumed, named = options.pop("resume_run", None), options.pop("named_run", None)
        task = task_here()
        home = self._home(task, run_manager, is_sync=is_sync)
        name = f"rlm:{options['model']}" if options.get("model") else self.model_name
        below, rule = self.direct_below_tokens, self.context_rule
        chat = Chat(self._graphs, name, below, rule, self.max_tokens, self.file_blocks)
        request = request_of(stop or self.stop, options)
        return Call(chat, home, request, messages, task, resumed, named, budget=self._budget)

    def _home(self, task: Task | None, run_manager: Any, *, is_sync: bool) -> RunHome:
        """Say where a call's runs are kept: in the user's saver and store, else those around."""
        saver = self.checkpointer
        store = self.store
        if saver is None and task is not None:
            saver = task.saver
        if saver is None:
            saver = self._memory
        if is_sync:
            saver = for_sync_use(saver)
        if store is None and task is not None:
            store = task.store
        around = around_call(run_manager, trace_inside=self.trace_inside)
        given = around.configurable
        if FRAME in given:  # it is set for the RLM in whose tool this is called
            given = dict[str, Any]()
        context = getattr(given.get(RUNTIME), "context", None)
        settings = given.get(NAME)
        return RunHome(saver, self.owner, around.callbacks, store, around.thread, settings, context)

    # Tools and structured output

    @property
    def asked_graph(self) -> RLMGraph:
        return self._graphs.with_tools([])

    def bind_tools(  # type: ignore[override]
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Give the model with tools that the caller runs.

        Args:
            tools: OpenAI functions, JSON schemas, pydantic classes, functions, LangChain tools.
                Their bodies are not run here.
            tool_choice: a name, `"any"` (or `"required"`, True), `"auto"`, `"none"`, or OpenAI's
                form. A call that is forced is the whole answer.
            kwargs: `parallel_tool_calls`, `strict`, and whatever a call takes.

        Raises:
            InputError: one is no tool, or `tool_choice` names none of them.
        """
        functions: list[dict[str, Any]] = []
        if tool_choice not in ("none", False):
            functions = request_of(None, {"tools": list(tools), "tool_choice": tool_choice}).tools
        if tool_choice is not None:
            kwargs = {"tool_choice": tool_choice, **kwargs}
        return self.bind(tools=functions, **kwargs)

    def with_structured_output(  # type: ignore[override]
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Give the model with answers of one form, as values.

        Args:
            schema: a pydantic class, a TypedDict, a JSON schema or an OpenAI function.
            include_raw: give a dict: `raw` is the message, `parsed` the value, `parsing_error` an
                exception or None.
            method: with `"json_schema"` the run checks its answer against the schema and tries
                again; `"function_calling"` gives the answer as a tool call; with `"json_mode"` the
                answer is any JSON object, and your prompt has to say what is in it.
            kwargs: whatever a call takes.

        Raises:
            ValueError: there is no such method.
        """
        about = {"ls_structured_output_format": {"kwargs": {"method": method}, "schema": schema}}
        if method == "function_calling":
            model = self.bind_tools([schema], tool_choice=tool_name(schema), **about, **kwargs)
        else:
            model = self.bind(response_format=response_format_of(schema, method), **about, **kwargs)
        return parsed(model, schema, method, include_raw=include_raw)
