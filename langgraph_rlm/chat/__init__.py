"""Chat: the parts of `ChatRLM`, one idea a file. The graph knows nothing of them."""
