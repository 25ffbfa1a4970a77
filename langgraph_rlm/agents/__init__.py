"""Agents: `RLMMiddleware`, which keeps what is too long for an agent's model as contexts, and has
an RLM asked about them."""
