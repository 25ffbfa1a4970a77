"""Nodes: one file a node of the graph, and what they share. They know the log and the runtime, not
the edges."""
