"""Command: `langgraph-rlm` on a terminal or in a pipe, and what it keeps between two calls."""
