"""Runtime: what is live and never checkpointed: what the runs of one graph share, and each run by
itself."""
