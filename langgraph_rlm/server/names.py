"""Names: from a model id, as clients and settings write it, to LangChain's `provider:model`.

An id may be several things: `mistralai/Small` is a model of the provider, and of a vLLM; `qwen3:8b`
a model of Ollama, or a root and a sub-model. What the upstream lists settles it.
"""

from collections.abc import Sequence

from langgraph_rlm.server.errors import unknown_model
from langgraph_rlm.server.upstream import Upstream

PROVIDERS = frozenset(
    """
    anthropic anthropic_bedrock azure_ai azure_openai baseten bedrock bedrock_converse cohere
    deepseek fireworks google_anthropic_vertex google_genai google_vertexai groq huggingface ibm
    litellm mistralai nvidia ollama openai openrouter perplexity together upstage xai
    """.split()  # noqa: SIM905 - a list of names reads best as one
)
"""What may stand before the slash of `provider/model`, as LangChain names them."""


async def models_of(
    model_id: str, sub_model: str | None, upstream: Upstream
) -> tuple[str, str | None]:
    """Give the root model and the sub-model of an id.

    Args:
        model_id: one name, or `root:sub`.
        sub_model: the server's own sub-model, for an id of one name.
        upstream: where models without a provider are.

    Raises:
        Refused: one of the two names is empty.
    """
    root, sub = await _split(model_id, upstream)
    sub = sub or sub_model
    if sub is None:
        return await named_model(root, upstream), None
    return await named_model(root, upstream), await named_model(sub, upstream)


async def named_model(name: str, upstream: Upstream) -> str:
    """Give `provider:model`, LangChain's form, for one name.

    A known provider before a colon is that provider. One before a slash is that provider too,
    unless the upstream lists the whole name, or gives no list. Anything else is a model of the
    upstream.
    """
    if _has_provider(name, ":"):
        return name
    if not _has_provider(name, "/"):
        return f"openai:{name}"
    if upstream.has_own_names:
        listed = await upstream.models()
        if listed is None or name in listed:
            return f"openai:{name}"
    return name.replace("/", ":", 1)


def _has_provider(name: str, separator: str) -> bool:
    provider, _, model = name.partition(separator)
    return bool(model) and provider in PROVIDERS


async def _split(model_id: str, upstream: Upstream) -> tuple[str, str | None]:
    """Take an id apart into root and sub-model, if it is not one name as a whole.

    Raises:
        Refused: one of the two is empty.
    """
    if ":" not in model_id or _has_provider(model_id, ":"):
        return model_id, None
    listed = await upstream.models() or ()
    if model_id in listed:
        return model_id, None
    root, sub = _halves(model_id, listed)
    if not root or not sub:
        message = f"The model {model_id!r} names no model: write root:sub, or one name."
        raise unknown_model(message)
    return root, sub


def _halves(model_id: str, listed: Sequence[str]) -> tuple[str, str]:
    """Split at the colon that leaves two names of the upstream; else at the first one."""
    parts = model_id.split(":")
    halves = [(":".join(parts[:index]), ":".join(parts[index:])) for index in range(1, len(parts))]
    known = [(root, sub) for root, sub in halves if root in listed and sub in listed]
    return known[0] if known else halves[0]
