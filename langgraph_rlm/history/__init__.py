"""History: what can be done with a run of the past: edit it, save it as a file, replay
it, list it, forget it.

It reads checkpoints, never a node.
"""
