"""Schemas: JSON schemas that values are checked against, and the forms that answers have."""
