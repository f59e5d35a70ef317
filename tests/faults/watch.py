"""What disturbed searches are judged by: rows on disk, trainings that workers logged, results."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from revo_ray.rundir.evaluation import Evaluation
from revo_ray.storage import Storage
from tests.end_to_end.cli import MOMENTS

BEGAN, ENDED, FAILED = "began", "ended", "failed"


@dataclass(frozen=True)
class Event:
    """Something that a process logged; `evaluation` is -1 where it is about none.

    Attributes:
        raylet: the process id of its node's; 0 for a driver.
    """

    moment: float
    pid: int
    raylet: int
    run: str
    evaluation: int
    what: str


class Log:
    """The events of all processes, in the order in which they were written.

    Args:
        folder: `FAULTS_FOLDER` of the processes.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log"
        self._events: list[Event] = []
        self._read = 0

    def events(self, run: str) -> list[Event]:
        """All events of a run so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.decode().splitlines():
                moment, pid, raylet, name, evaluation, what = line.split(" ")
                event = Event(float(moment), int(pid), int(raylet), name, int(evaluation), what)
                self._events.append(event)
        return [event for event in self._events if event.run == run]

    def workers(self, run: str) -> dict[int, Event]:
        """The last event of each process that evaluates, dead ones included."""
        return {event.pid: event for event in self.events(run)}


@dataclass(frozen=True)
class Row:
    """A ledger row as it lies there.

    Attributes:
        content: its bytes.
        stamp: what changes when it is written anew: inode and moment; nothing in object stores.
    """

    content: bytes
    stamp: tuple[int, int] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all there, and what its seal says."""
        text, _, seal = self.content.rpartition(b', "sha256": ')
        return seal == f'"{hashlib.sha256(text).hexdigest()}"}}'.encode()

    @property
    def values(self) -> Evaluation:
        """What it says."""
        values = json.loads(self.content)
        del values["sha256"]
        return Evaluation.model_validate(values)


@dataclass
class Mark:
    """The whole rows at a moment."""

    moment: float
    rows: dict[int, Row]


class RunDirectory:
    """A run directory, read without the product's help where it is on a disk.

    Args:
        storage: of the searches.
        name: of the search.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self.name = name
        self._storage = storage.child(name)
        self.path = self._storage.local

    def files(self, folder: str = "") -> list[str]:
        """The names in a folder."""
        return self._storage.list(folder)

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None where there is none."""
        try:
            return self._storage.read(path)
        except FileNotFoundError:
            return None

    def count(self) -> int:
        """How many rows there are, whole or not."""
        return sum(name.endswith(".json") for name in self.files("ledger"))

    def rows(self) -> dict[int, Row]:
        """The whole rows, by evaluation."""
        found = {}
        for name in self.files("ledger"):
            if not name.endswith(".json"):
                continue
            content = self.read(f"ledger/{name}")
            stamp = None
            if self.path is not None:
                status = (self.path / "ledger" / name).stat()
                stamp = (status.st_ino, status.st_mtime_ns)
            row = Row(content or b"", stamp)
            if row.whole:
                found[int(name.removesuffix(".json"))] = row
        return found

    def mark(self) -> Mark:
        """What is finished now."""
        rows = self.rows()
        return Mark(time.monotonic(), rows)

    def outcome(self) -> dict[str, Any]:
        """All that must not depend on what disturbed the search."""
        rows = self.rows()
        result = json.loads(self.read("result.json") or b"{}")
        return {
            "rows": [_facts(rows[number]) for number in sorted(rows)],
            "best": result.get("best"),
            "test": result.get("test"),
            "counted": [result.get(key) for key in ("evaluations", "statuses", "epochs", "images")],
            "model": self.read("best/model.safetensors"),
            "card": self.read("best/config.json"),
            "plan": self.read("best/plan.json"),
            "forms": {name: self._digest(name) for name in self._forms()},
        }

    def _forms(self) -> list[str]:
        """The files of predictions, kept models and forms."""
        folders = ("models", "plain", "ensemble", "soup", "predictions")
        return [f"{folder}/{name}" for folder in folders for name in self.files(folder)]

    def _digest(self, path: str) -> str:
        return hashlib.sha256(self.read(path) or b"").hexdigest()

    def _best_few(self) -> list[Evaluation]:
        """The rows whose weights stay, by the default of `search.keep`."""
        own = [row.values for row in self.rows().values()]
        ranked = [row for row in own if row.status == "ok" and row.val_loss is not None]
        return sorted(ranked, key=lambda row: (row.val_loss, row.evaluation))[:10]

    def leftovers(self) -> list[str]:
        """Files that a finished search has no use for."""
        kept = {f"{row.evaluation:06d}.safetensors" for row in self._best_few()}
        found = [f"models/{name}" for name in self.files("models") if name not in kept]
        for folder in ("", "ledger", "best", "models", "predictions", "ensemble", "soup", "plain"):
            found += [f"{folder}/{n}" for n in self.files(folder) if n.endswith(".tmp")]
        return found


@dataclass
class Verdict:
    """What became of a search.

    Attributes:
        completed: it ended as the undisturbed one did.
        lost: rows that were whole at an injection and are missing or different at the end.
        twice: evaluations that were trained, or rows that were written, although the row was whole.
        equal: rows, result and best model are those of the undisturbed search.
        again: trainings that were begun once more: in flight when the fault came, or destroyed.
        notes: what differs, and files that were left behind.
    """

    completed: bool = False
    lost: int = 0
    twice: int = 0
    equal: bool = False
    again: int = 0
    notes: list[str] = field(default_factory=list)


def judge(
    run: RunDirectory, events: list[Event], marks: list[Mark], undisturbed: dict[str, Any]
) -> Verdict:
    """Compare a finished search with the undisturbed one, and with itself at each injection.

    Args:
        run: the search.
        events: its trainings.
        marks: what was finished at each injection; without rows that the fault itself destroyed.
        undisturbed: the outcome of the search that nobody disturbed.
    """
    verdict = Verdict(completed=True)
    final, outcome = run.rows(), run.outcome()
    began = [event for event in events if event.what == BEGAN]
    stood = [(mark.moment, number, row) for mark in marks for number, row in mark.rows.items()]
    lost = {n for _, n, row in stood if n not in final or final[n].content != row.content}
    twice = {n for _, n, row in stood if n in final and final[n].stamp != row.stamp}
    for moment, number, _ in stood:
        if any(event.evaluation == number and event.moment > moment for event in began):
            twice.add(number)
    verdict.lost, verdict.twice = len(lost), len(twice)
    verdict.again = len(began) - len({event.evaluation for event in began})
    different = [key for key in undisturbed if undisturbed[key] != outcome[key]]
    verdict.equal = not different
    if lost:
        verdict.notes.append(f"lost: {sorted(lost)}")
    if twice:
        verdict.notes.append(f"twice: {sorted(twice)}")
    for key in different:
        verdict.notes.append(_difference(key, undisturbed[key], outcome[key]))
    if left := run.leftovers():
        verdict.notes.append(f"left behind: {', '.join(left)}")
    return verdict


def _facts(row: Row) -> dict[str, Any]:
    """A row without moments, places and durations."""
    facts = row.values.model_dump(exclude=MOMENTS)
    for point in facts["curve"]:
        del point["seconds"]
    return facts


def _difference(key: str, expected: Any, found: Any) -> str:
    if key != "rows":
        return f"{key}: {str(found)[:120]}, not {str(expected)[:120]}"
    if len(expected) != len(found):
        return f"{len(found)} rows, not {len(expected)}"
    return f"rows differ: {'; '.join(_different_rows(expected, found))}"


def _different_rows(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> Iterator[str]:
    for one, other in zip(expected, found, strict=True):
        keys = [key for key in one if one[key] != other[key]]
        if keys:
            yield f"{one['evaluation']} in {', '.join(f'{k} ({other[k]!s:.80})' for k in keys)}"
            return
