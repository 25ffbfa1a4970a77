"""Processes: child processes that are locked in. Knows neither cells nor documents."""
