"""`python -m langgraph_rlm` is the command `langgraph-rlm`."""

from langgraph_rlm.cli.main import main
from langgraph_rlm.processes.collector import tune_collector


def run() -> None:
    """Run the command, in a process that is its own."""
    tune_collector()
    main(prog_name="langgraph-rlm")


if __name__ == "__main__":
    run()
