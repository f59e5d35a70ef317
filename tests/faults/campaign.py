"""Faults at random, seeded moments of real searches, and what they cost: see `--help`.

    python -m tests.faults.campaign --injections 100 --seed 0

Every search is real: drivers and workers as processes of their own, the small network of the tests,
a Ray cluster of three nodes on this machine. Each gets several faults of different kinds, one after
the other, goes on after each (with `--resume` where the driver died), and is compared with the same
search undisturbed. A table in Markdown comes out, and one line of JSON; `--out` writes the
record for `docs/results.md`.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.record import Record

if TYPE_CHECKING:
    from tests.faults.lab import Lab, Search
    from tests.faults.watch import Verdict

MEASURES = ("revo_ray", "tests/faults")
FAULTS_A_SEARCH = 6
ENDINGS = 4
"""Most drivers of one search that are made to end; each start takes ten seconds."""
NAN = "nan-weights"
"""Where nothing is left to disturb."""


@dataclass
class Tally:
    """What became of the searches that had a kind of fault."""

    injected: int = 0
    fired: int = 0
    searches: int = 0
    completed: int = 0
    lost: int = 0
    twice: int = 0
    equal: int = 0


@dataclass
class Report:
    """All searches of a campaign."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    total: Tally = field(default_factory=Tally)
    again: int = 0
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, search: Search, verdict: Verdict) -> None:
        """Count a search for each kind of fault that it had."""
        counts = Counter(injection.kind for injection in search.injections)
        fired = Counter(injection.kind for injection in search.injections if injection.fired)
        for kind in counts:
            tally = self.tallies.setdefault(kind, Tally())
            _count(tally, counts[kind], fired[kind], verdict)
        _count(self.total, counts.total(), fired.total(), verdict)
        self.again += verdict.again
        self.notes += [f"{search.name} ({', '.join(counts)}): {note}" for note in verdict.notes]

    @property
    def good(self) -> bool:
        """Whether no fault cost anything."""
        total = self.total
        return total.equal == total.searches and total.lost == total.twice == 0

    def markdown(self) -> str:
        """The table, and what is to be said of single searches."""
        head = (
            "fault", "injected", "fired", "searches", "completed", "evaluations lost",
            "paid twice", "equal",
        )  # fmt: skip
        rows = [(kind, self.tallies[kind]) for kind in sorted(self.tallies)]
        lines = [_line(head), _line("---" for _ in head)]
        for name, tally in [*rows, ("**all**", self.total)]:
            lines.append(_line((name, *vars(tally).values())))
        lines += ["", f"Trainings begun once more, in flight or destroyed: {self.again}."]
        lines += [f"Not run: {kind}: {why}." for kind, why in sorted(self.skipped.items())]
        return "\n".join([*lines, *(f"- {note}" for note in self.notes)])

    def figures(self) -> dict[str, Any]:
        """The same for a record."""
        kinds = {kind: vars(tally) for kind, tally in sorted(self.tallies.items())}
        more = {"again": self.again, "kinds": kinds, "notes": self.notes, "skipped": self.skipped}
        return vars(self.total) | more


def _count(tally: Tally, injected: int, fired: int, verdict: Verdict) -> None:
    tally.injected += injected
    tally.fired += fired
    tally.searches += 1
    tally.completed += verdict.completed
    tally.lost += verdict.lost
    tally.twice += verdict.twice
    tally.equal += verdict.equal


def _line(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def plans(kinds: list[str], rng: random.Random) -> Iterator[list[str]]:
    """Kinds for one search after the other; all come up before one comes up again."""
    from tests.faults.faults import ENDS_DRIVER, NEEDS_DISK, NEEDS_STORE, WITH_NAN

    while True:
        left = rng.sample(kinds, len(kinds))
        while left:
            plan: list[str] = []
            in_store, with_nan = left[0] in NEEDS_STORE, left[0] == NAN
            for kind in list(left):
                fits = kind not in (NEEDS_DISK if in_store else NEEDS_STORE)
                fits &= kind in WITH_NAN if with_nan else kind != NAN
                if kind in ENDS_DRIVER:
                    fits &= sum(other in ENDS_DRIVER for other in plan) < ENDINGS
                if fits and len(plan) < FAULTS_A_SEARCH:
                    plan.append(kind)
                    left.remove(kind)
            yield in_order(plan)


def in_order(plan: list[str]) -> list[str]:
    """Those that are best caused while no driver runs come first, or after one that ended it.

    Those that wait for another record, or for the end, come last.
    """
    from tests.faults.faults import AT_END, AT_REST, ENDS_DRIVER, LATE

    ends = [f"driver-kill-at-{point}" for point in AT_END]
    late = sorted(
        (kind for kind in plan if kind in LATE),
        key=lambda kind: ends.index(kind) if kind in ends else -1,
    )
    at_rest = [kind for kind in plan if kind in AT_REST - LATE]
    others = [kind for kind in plan if kind not in AT_REST]
    ordered: list[str] = []
    rests = len(at_rest) > 1
    while at_rest or others:
        source = at_rest if (rests or not others) and at_rest else others
        ordered.append(source.pop(0))
        rests = ordered[-1] in ENDS_DRIVER or ordered[-1] == "torn-row"
    return ordered + late


def disturb(
    lab: Lab, plan: list[str], rng: random.Random, lookahead: str | None = None
) -> tuple[Search, Verdict]:
    """Run a search under faults, one after the other, to its end; None draws the lookahead."""
    from tests.faults.faults import AT_REST, FAULTS, NEEDS_STORE
    from tests.faults.lab import TIME_LIMIT, Search
    from tests.faults.watch import Verdict

    barriers = "worker-kill-idle" in plan
    drawn = rng.choice("03")
    settings = {"search.lookahead": "0" if barriers else lookahead or drawn}
    if NAN in plan:
        settings["model.weights"] = str(lab.nan_weights())
    lab.undisturbed(settings)
    search = Search(lab, settings, in_store=any(kind in NEEDS_STORE for kind in plan))
    if "worker-hang" in plan:
        search.changing["train.time_limit"] = str(TIME_LIMIT)
    began = time.monotonic()
    kind = ""
    try:
        for kind, rows in zip(plan, sorted(rng.sample(range(1, 20), len(plan))), strict=True):
            if search.running or kind not in AT_REST:
                search.changing["resources.max_concurrent"] = "2" if barriers else rng.choice("12")
                search.ensure_running()
                if not search.wait_for_rows(rows):
                    break
            FAULTS[kind](search, rng)
        verdict = search.finish()
    except Exception as error:  # the other searches go on
        verdict = Verdict(notes=[f"{kind}: {type(error).__name__}: {error}"])
    finally:
        lab.clock(0)
        search.close()
    tell(search, verdict, time.monotonic() - began)
    return search, verdict


def tell(search: Search, verdict: Verdict, seconds: float) -> None:
    """A line for a search, and what is to be said of it."""
    kinds = (f"{i.kind}{'' if i.fired else ' (not fired)'}" for i in search.injections)
    state = "equal" if verdict.equal else "NOT EQUAL" if verdict.completed else "NOT COMPLETED"
    print(f"{search.name} {seconds:.0f} s: {state}: {', '.join(kinds)}", flush=True)
    for note in verdict.notes:
        print(f"    {note}", flush=True)


def run_campaign(lab: Lab, kinds: list[str], injections: int, seed: int) -> Report:
    """Searches under faults until so many faults took place, and each kind at least once."""
    from tests.faults.faults import NEEDS_MOUNT

    rng = random.Random(seed)
    report = Report()
    if not lab.mounted:
        report.skipped = dict.fromkeys(NEEDS_MOUNT & set(kinds), "this user may not mount")
    kinds = [kind for kind in kinds if kind not in report.skipped]
    planned: set[str] = set()
    for plan in plans(kinds, rng):
        report.add(*disturb(lab, plan, rng))
        planned |= set(plan)
        if report.total.fired >= injections and planned == set(kinds):
            return report
    raise AssertionError("plans never end")


def kill_and_resume(
    lab: Lab, kills: int, evaluations: int, rng: random.Random
) -> tuple[Search, Verdict]:
    """One search whose driver is killed again and again, in trainings and while it starts."""
    from tests.faults.faults import kill_driver
    from tests.faults.lab import Search, StuckError
    from tests.faults.watch import Verdict

    search = Search(lab, {"search.lookahead": "0", "search.evaluations": str(evaluations)})
    lab.undisturbed(search.settings)
    began = time.monotonic()
    early = set(rng.sample(range(kills), kills // 3))
    moments = sorted(rng.choices(range(evaluations - 2), k=kills))
    try:
        for number, rows in enumerate(moments):
            search.changing["resources.max_concurrent"] = rng.choice("12")
            search.ensure_running()
            if number in early:
                time.sleep(rng.uniform(0, 10))
            elif not search.wait_for_rows(rows):
                break
            kill_driver(search, rng)
        verdict = search.finish()
    except (StuckError, TimeoutError) as error:
        verdict = Verdict(notes=[str(error)])
    finally:
        search.close()
    tell(search, verdict, time.monotonic() - began)
    return search, verdict


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    injections: Annotated[int, typer.Option(help="Faults that take place, at least.")] = 100,
    seed: Annotated[int, typer.Option(help="Of kinds, moments and victims.")] = 0,
    kinds: Annotated[str, typer.Option(help="With commas; default: all.")] = "",
    kills: Annotated[int, typer.Option(help="Instead: kill one search's driver so often.")] = 0,
    evaluations: Annotated[int, typer.Option(help="Of the search with --kills.")] = 100,
    out: Annotated[Path | None, typer.Option(help="A file for the record: NAME.json.")] = None,
) -> None:
    from tests.faults.faults import FAULTS
    from tests.faults.lab import Lab

    wanted = kinds.split(",") if kinds else list(FAULTS)
    if unknown := set(wanted) - set(FAULTS):
        raise typer.BadParameter(
            f"no kind {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}"
        )
    record = Record("faults", MEASURES, module="tests.faults.campaign", out=out)
    began = time.monotonic()
    lab = Lab()
    try:
        if kills:
            report = Report()
            report.add(*kill_and_resume(lab, kills, evaluations, random.Random(seed)))
        else:
            report = run_campaign(lab, wanted, injections, seed)
    finally:
        lab.close()
    print(f"\n{report.markdown()}\n")
    record.finish({"seconds": round(time.monotonic() - began), **report.figures()}, [seed])
    sys.exit(not report.good)


if __name__ == "__main__":
    app()
