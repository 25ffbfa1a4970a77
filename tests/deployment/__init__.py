"""Deployment: several workers of an engine over one PostgreSQL and one Redis, as `deploy/` starts them."""
