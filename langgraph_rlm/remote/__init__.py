"""Remote: child RLMs that run elsewhere, each as a run of its own on an engine. A graph without
`children=` uses nothing of it but the reading of tasks."""
