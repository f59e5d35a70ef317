"""One look at a search or a study, as `search`, `study` and `watch` show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from revo_ray.monitor.live import LiveLines
from revo_ray.monitor.status import SearchStatus
from revo_ray.monitor.terminal import say
from revo_ray.objective import LOSS, METRICS, Metric
from revo_ray.rundir.outcome import SearchResult
from revo_ray.settings.schema import SearchConfig

LINES = 20
"""Number of lines in a log for a whole budget, besides those of better results."""


@dataclass(frozen=True)
class View:
    """The lines of one look.

    Attributes:
        done, total: the spent budget and the whole one.
        first: the line beside the bar.
        more: the lines below the bar.
        plain: the same in one line of a log.
        news: a log gets a line when it changes, such as the number of the best evaluation.
    """

    done: float
    total: float
    first: str
    more: Sequence[str]
    plain: str
    news: Any = None


def headline(config: SearchConfig) -> str:
    """The name of a search, its method, network, images and budget."""
    search = config.search
    budget = f"{search.evaluations} evaluations"
    if search.budget == "epochs":
        budget = f"epochs of {budget}"
    subject = f"{config.method.name}, {config.model.name} on {config.data.source}"
    return f"{config.name}: {subject}, {budget}"


def search_view(
    status: SearchStatus,
    now: float | None = None,
    *,
    workers: str = "",
    memory: str = "",
    instead: str = "",
) -> View:
    """The view of a search.

    Args:
        status: its status.
        now: seconds since 1970; None for the time of the last row.
        workers: the busy workers, in words.
        memory: the memory of GPUs, in words.
        instead: stands for the time left.
    """
    amount = f"{status.amount_text} {status.time_text}".strip()
    left, counts = instead or status.left_text(now), status.counts_text
    return View(
        status.done,
        status.total,
        joined(status.amount_text, status.generation_text),
        (joined(status.so_far_text, left, workers), status.best_text, joined(counts, memory)),
        ", ".join(filter(None, (amount, status.best_text, counts, left))),
        None if status.best is None else status.best.evaluation,
    )


def outcome_text(result: SearchResult, objective: Metric) -> str:
    """The outcome of a search in one line, by its objective; by accuracy beside a loss."""
    best, test = result.validation_scores, result.test_scores
    found = "no evaluation succeeded" if best is None else f"validation {objective.text(best)}"
    metric = METRICS["accuracy"] if objective is LOSS else objective
    tested = ""
    if test is not None and metric.value(test) is not None:
        tested = f", test {metric.text(test)}"
    return f"{found}{tested} ({result.evaluations} evaluations)"


def joined(*parts: str) -> str:
    """Join the parts that are not empty to one line of a terminal."""
    return " · ".join(part for part in parts if part)


class Screen:
    """Shows views: lines that are drawn again in place on a terminal, plain lines in a log.

    A log gets a line when there are news, and for each twentieth of the budget.

    Args:
        console: the console; None shows nothing.
        view: the first view.
        says_first: whether a log begins with it.
    """

    def __init__(self, console: Console | None, view: View, *, says_first: bool = False) -> None:
        self._console = console
        self._live = LiveLines(console, view.total)
        self._said = view if not says_first else replace(view, done=float("-inf"), plain="")
        if not says_first:
            self.show(view)

    @property
    def live(self) -> bool:
        """Whether the lines are on a terminal, where they can change all the time."""
        return self._live.shown

    def show(self, view: View) -> None:
        """Show a view."""
        self._live.update(view.done, view.first, view.more)
        spent = abs(view.done - self._said.done) + 1e-9 >= view.total / LINES
        if not self.live and (spent or view.news != self._said.news):
            self._said = view
            say(self._console, view.plain)

    def leave(self, view: View) -> None:
        """Show the last view, which stays on the terminal."""
        if not self.live:
            if view.plain != self._said.plain:
                say(self._console, view.plain)
            return
        self.close()
        for line in (view.first, *view.more):
            if line:
                say(self._console, line)

    def close(self) -> None:
        """Take the live lines off the terminal."""
        self._live.close()
