"""The REPL contract on the backends of this package and on toys, and what each backend does beyond it."""
