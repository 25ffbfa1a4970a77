"""History: what one does with a run that was: edit it, save it as a file, replay it. Reads checkpoints, never a node."""
