"""The rule that several errors in a row stop a search, and are made again on resume."""

from __future__ import annotations

from typing import Any

from revo_ray.errors import SearchError
from revo_ray.evolve.proposals import Proposals
from revo_ray.rundir.ledger import MAX_ERRORS, Ledger


def stop_after_errors(ledger: Ledger, evaluation: int) -> None:
    """Stop the search if a new row completes too many errors in a row.

    Raises:
        SearchError: it does; the search can be resumed.
    """
    run = ledger.errors_around(evaluation)
    if len(run) >= MAX_ERRORS:
        raise SearchError(
            f"evaluations {run[0]} to {run[-1]} all failed, the last one with: "
            f"{ledger[run[-1]].error}. Mend that and go on with --resume, which makes "
            "them again (with other settings: under another name)"
        )


def remove_errors(ledger: Ledger, proposals: Proposals[Any]) -> None:
    """Remove the errors that stopped a search, with all rows that were proposed from them."""
    for row in ledger:
        run = ledger.errors_around(row.evaluation)
        if len(run) >= MAX_ERRORS:
            doomed = set(run)
            dependent = proposals.first_dependent(run[0])
            if dependent is not None:
                doomed |= {later.evaluation for later in ledger if later.evaluation >= dependent}
            ledger.remove(doomed)
            return
