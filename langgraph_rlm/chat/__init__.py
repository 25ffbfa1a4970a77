"""Chat: the parts of `ChatRLM`, one idea a file. They use the graph; it knows nothing of them."""
