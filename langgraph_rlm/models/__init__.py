"""Models: from the names that users give to chat models, and an HTTP client of its own for each event loop."""
