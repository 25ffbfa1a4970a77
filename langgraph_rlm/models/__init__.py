"""Models: the names that users give to chat models, and an HTTP client for each event loop."""
