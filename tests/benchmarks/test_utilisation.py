"""The virtual clock, against arithmetic; and what lookahead is for."""

from __future__ import annotations

import pytest

from benchmarks.utilisation import TIMES, make_proposals, simulate


def test_equal_times_have_known_figures() -> None:
    """Ten at a time on four workers take three rounds, the last with half of them idle."""
    run = simulate(make_proposals(10, 0, 40, seed=0), 4, lambda rng: 1.0)
    # The last trials start after three whole generations and two rounds: 3 * 10 + 8 of 11 * 4.
    assert run.busy == pytest.approx(38 / 44)
    ahead = simulate(make_proposals(10, 2, 40, seed=0), 4, lambda rng: 1.0)
    assert ahead.busy == 1.0


@pytest.mark.parametrize("kind", TIMES)
def test_lookahead_keeps_half_as_many_workers_as_the_population_busy(kind: str) -> None:
    def mean(lookahead: int) -> float:
        runs = [
            simulate(make_proposals(10, lookahead, 60, seed), 5, TIMES[kind], seed)
            for seed in range(8)
        ]
        return sum(run.busy for run in runs) / len(runs)

    assert mean(0) < 0.85
    assert mean(10) >= 0.95


@pytest.mark.parametrize("lookahead", [0, 5, 30])
def test_neither_workers_nor_times_change_what_is_proposed(lookahead: int) -> None:
    proposed = {
        simulate(make_proposals(10, lookahead, 80, seed=1), workers, TIMES[kind]).proposed
        for workers in (1, 3, 10)
        for kind in TIMES
    }
    assert len(proposed) == 1
