"""The end of a search: its forms are chosen, lost weights trained again, and each form tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from revo_ray.errors import SearchError, UserError
from revo_ray.rundir.forms import Form, Members
from revo_ray.rundir.ledger import Ledger
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.best_few import BestFew
from revo_ray.search.core.retries import MAX_DEATHS
from revo_ray.search.core.stored_validation import StoredValidation
from revo_ray.settings.schema import ResultForm

Work = dict[str, Any]
"""Work for a worker, in plain values: `name`, `make`, which is train, soup or test, and more."""


class FinalForms:
    """Says what workers have to do when a search ends.

    First they train the weights of kept rows and ensemble members again that are not stored. Then
    one makes the soup, and each form is tested once. Files that an interrupted end
    stored are not made again.

    Args:
        run: the run directory.
        ledger: its rows.
        few: the rows whose weights are kept.
        card: what is needed to load a model of this search.
        result: the form that the search hands over. A soup that is another one gets no cross-fitted
            score, since that takes some five times as many forward passes as the soup itself.
    """

    def __init__(
        self,
        run: RunDirectory,
        ledger: Ledger,
        few: BestFew,
        card: Mapping[str, Any],
        result: ResultForm,
    ) -> None:
        self._run, self._ledger, self._few, self._card = run, ledger, few, dict(card)
        self._result = result
        self._works: dict[str, Work] | None = None
        self._running: set[str] = set()
        self._deaths: Counter[str] = Counter()
        self.members: dict[Form, Members] = {}
        """The forms that can be loaded, each with its members."""
        self.validation = StoredValidation()
        """All stored validation predictions, once the forms were chosen."""
        self.notes: list[str] = []
        """Reasons why a form was not made."""

    @property
    def done(self) -> bool:
        """Whether every form is made and tested."""
        return self._works is not None and not self._works

    def next_work(self) -> Work | None:
        """The next work; None while others must end first, and when all is done.

        Raises:
            OSError: the storage is full or unreachable.
        """
        if self._works is None:
            self._choose()
        assert self._works is not None
        for name, work in self._works.items():
            if name not in self._running:
                self._running.add(name)
                return work
        return None

    def answered(self, work: Work, answer: Mapping[str, Any]) -> None:
        """Take a worker's answer.

        Raises:
            SearchError: the worker could not do it.
            OSError: the storage is full or unreachable.
        """
        assert self._works is not None
        if answer["error"] is not None:
            raise untested(answer["error"])
        if work["make"] == "soup":
            described = {key: answer[key] for key in ("members", "validation", "cross_fitted")}
            candidates = _candidates(work)
            self._run.soup.describe(self._card | described | {"candidates": candidates})
            if not self._test_soup(candidates):
                raise untested(f"{self._run.soup.uri} is not as it was written")
        self._running.discard(work["name"])
        del self._works[work["name"]]
        if work["make"] == "train" and not self._works:
            self._trained()

    def lost(self, work: Work, cause: str | None) -> None:
        """The worker died, or the trial ended before it ran (without a cause): do it again.

        Raises:
            SearchError: too many workers died.
        """
        self._running.discard(work["name"])
        self._deaths[work["name"]] += cause is not None
        if self._deaths[work["name"]] >= MAX_DEATHS:
            raise untested(cause)

    def _choose(self) -> None:
        run, few = self._run, self._few
        self._works = {}
        self.members["best"] = {few.rows[0].evaluation: 1.0}
        if few.plain is not None:
            self.members["plain"] = {few.plain.evaluation: 1.0}
        self.validation = StoredValidation.read(run, self._ledger)
        if (reason := self.validation.missing) is not None:
            self.notes.append(f"no ensemble was made: {reason}")
        missing = [(row.evaluation, folder) for row, folder in few.missing()]
        if members := self.validation.ensemble():
            self.members["ensemble"] = members
            kept = {row.evaluation for row in few.rows}
            outside = [number for number in members if number not in kept]
            run.members.delete_others(outside)
            missing += [(e, run.members.folder) for e in outside if not run.members.holds(e)]
        for number, folder in missing:
            plan = self._ledger[number].whole_plan
            self._add("train", f"{folder}/{number}", evaluation=number, folder=folder, plan=plan)
        if not missing:
            self._trained()

    def _trained(self) -> None:
        """All weights are stored: describe the forms, and request the soup and the tests."""
        self._few.tidy()
        if members := self.members.get("ensemble"):
            self._run.ensemble.describe(self._card | {"members": members})
        for form in self.members:
            self._test(form)
        if len(self._few.rows) > 1:
            rows = [{"evaluation": r.evaluation, "unit_lrs": r.unit_lrs} for r in self._few.rows]
            work = {
                "candidates": rows,
                "objective": self._few.objective.name,
                "cross_fit": self._result == "soup",
            }
            if not self._test_soup(_candidates(work)):
                self._add("soup", "greedy", **work)

    def _test_soup(self, candidates: list[int]) -> bool:
        """Request the test of the soup, if that of these candidates is stored whole."""
        try:
            stored = self._run.form("soup")
        except UserError:  # it is made again
            return False
        if stored is None or not stored.complete or stored.card.get("candidates") != candidates:
            return False
        self.members["soup"] = stored.members
        self._test("soup")
        return True

    def _test(self, form: Form) -> None:
        """Request the test of a form, unless this very form was tested."""
        predictions = self._run.predictions
        try:
            before, images = predictions.test(form), predictions.images("test")
        except UserError:  # it is made again
            before = images = None
        of_these = before and images and len(before.logits) == len(images.labels)
        if before is None or not of_these or before.members != self.members[form]:
            looks = 1 + max(before.looks if before else 0, self._run.looks(form))
            self._add("test", form, form=form, looks=looks)

    def _add(self, make: str, what: str, **more: Any) -> None:
        assert self._works is not None
        name = f"{make} {what}"
        self._works[name] = {"name": name, "make": make, **more}


def _candidates(work: Mapping[str, Any]) -> list[int]:
    return [row["evaluation"] for row in work["candidates"]]


def untested(cause: str | None) -> SearchError:
    """The error to raise where a form of the result cannot be made or tested."""
    return SearchError(
        f"cannot make or test the result: {cause}; every evaluation is kept, go on with --resume"
    )
