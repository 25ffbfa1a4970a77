"""Budget: what a run may spend, what its calls cost, and what it has spent."""
