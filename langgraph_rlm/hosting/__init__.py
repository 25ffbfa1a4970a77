"""Hosting: the runs of a process that serves others: its threads, its tasks, what waits there."""
