"""Documents of every kind: what makes them, and what breaks them."""
