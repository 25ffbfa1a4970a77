"""`python -m langgraph_rlm` is the command `langgraph-rlm`."""

from langgraph_rlm.cli.main import main

main(prog_name="langgraph-rlm")
