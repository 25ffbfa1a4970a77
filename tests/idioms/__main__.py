"""Tells how many idioms each sandbox runs, and which it does not. `-q` leaves the list out."""

import sys
import warnings

from langgraph_rlm.errors import RLMError

from . import IDIOMS, SANDBOXES, not_run, opened


def main() -> None:
    warnings.simplefilter("ignore")
    for sandbox in SANDBOXES:
        try:
            backend = opened(sandbox)
        except RLMError as error:
            print(f"{sandbox}: not here: {error}")
            continue
        idioms = [idiom for idiom in IDIOMS if idiom.is_at_hand or sandbox == "monty"]
        lacking = list(not_run(backend, idioms))
        backend.close()
        print(f"{sandbox}: {len(idioms) - len(lacking)} of {len(idioms)} idioms run")
        if "-q" not in sys.argv:
            for idiom, why in lacking:
                print(f"  {idiom.id}: {why.splitlines()[0][:120]}")


main()
