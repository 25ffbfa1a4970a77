"""Log: what a run is. Its entries and their places, and what a model's reply says."""
