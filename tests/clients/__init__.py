"""Other people's clients of the server, with their defaults: a base URL, a key, and nothing else."""
