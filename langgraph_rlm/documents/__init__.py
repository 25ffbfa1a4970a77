"""Documents: bytes of one file, of any kind, as text. Knows no store and no context."""
