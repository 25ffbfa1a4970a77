"""Hostile programs: what models could write to get out of a sandbox, as data."""
