"""Weights & Biases: a run for the search, and one for each evaluation, in one group.

It uses `wandb.init`, not Ray's `WandbLoggerCallback`, which starts a process for each trial and
takes one trial for one run: here one trial of a warm worker makes many evaluations. Runs are opened
with `reinit="create_new"`, so that several are open in one process.

W&B writes each run to a file before it sends it. So this tracker keeps beside those files what it
has handed to W&B, and a run that could not be sent waits for `wandb sync`.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revo_ray.errors import first_line
from revo_ray.monitor.trackers.tracked import Held, TrackedEvaluation, TrackedOutcome
from revo_ray.monitor.trackers.tracker import Tracker
from revo_ray.settings.telemetry import no_telemetry
from revo_ray.storage import Storage

if TYPE_CHECKING:
    import wandb

PROJECT = "revo-ray"
"""Project, if `WANDB_PROJECT` names none."""

LOGIN_SECONDS = 10
"""Longest wait for the server's answer to a login."""
CONNECT_SECONDS = 15.0
"""Longest wait for the server when a run is opened. W&B retries for 90 by default."""
SEND_SECONDS = 30.0
"""Longest wait for what is left of a run when it ends."""
UPLOAD_SECONDS = 1200.0
"""Longest wait for the model and the report."""


class WandbTracker(Tracker):
    """Sends a search to Weights & Biases, or writes it to files for `wandb sync`."""

    package = "wandb"

    _offline: bool
    _run: wandb.Run | None = None

    def begin(self) -> Held:
        """Log in, and read which parts W&B has got."""
        no_telemetry("WANDB")
        os.environ.setdefault("WANDB_HTTP_TIMEOUT", f"{LOGIN_SECONDS}")
        import wandb

        self._dir = _folder(self.search.folder)
        record = Storage(str(self._dir)).own_path(f"wandb/revo-ray-{self.search.id}.jsonl")
        assert record is not None
        record.parent.mkdir(parents=True, exist_ok=True)
        self._record = record
        mode = os.environ.get("WANDB_MODE", "online")
        wandb.setup(settings=wandb.Settings(silent=True))
        self._offline = mode in ("offline", "dryrun")
        if mode in ("online", "run", "shared"):
            self._log_in()
        held = self._read_record()
        if held.outcome is None:
            self._whole()
        return held

    def _log_in(self) -> None:
        import wandb

        try:
            if not wandb.login(prompt=False):
                self._go_offline("is not logged in (`wandb login`, or WANDB_API_KEY)")
        except Exception as error:
            self._go_offline(f"cannot be reached ({first_line(error)})")

    def _whole(self) -> wandb.Run:
        """The run of the search as a whole. A finished one is opened when there is more to send."""
        if self._run is None:
            self._run = self._open(self.search.id, self.search.name, "search", self._config())
            self._run.define_metric("best_*", step_metric="evaluations")
        return self._run

    def _config(self) -> dict[str, Any]:
        search = self.search
        return {
            **search.config,
            "run_directory": search.uri,
            "study": search.study,
            "versions": dict(search.versions),
            "revision": search.revision,
            "units": [unit.name for unit in search.units],
        }

    def add(self, evaluation: TrackedEvaluation) -> None:
        """Make a run of the evaluation, and add a point to the search's curves."""
        config = {
            "search": self.search.name,
            "evaluation": evaluation.number,
            **evaluation.params,
            "plan": dict(evaluation.plan),
        }
        name = f"{self.search.name} {evaluation.name}"
        run = self._open(f"{self.search.id}-{evaluation.name}", name, "evaluation", config)
        for point in evaluation.curve:
            run.log(dict(point.scores), step=point.epoch)
        final = evaluation.curve[-1].scores if evaluation.curve else {}
        facts = {"status": evaluation.status, **evaluation.facts}
        if evaluation.error is not None:
            facts["error"] = evaluation.error
        run.summary.update({**final, **facts})
        self._finish(run, failed=evaluation.failed)
        self._whole().log({"evaluations": evaluation.rows, **evaluation.best}, step=evaluation.rows)
        self._write_record({"evaluation": evaluation.number, "digest": evaluation.digest})

    def end(self, outcome: TrackedOutcome) -> None:
        """Send the test scores, the figures and the model, and end the search's run."""
        import wandb

        run = self._whole()
        run.summary.update({**outcome.scores, "form": outcome.form})
        figures = {f"figures/{path.stem}": wandb.Image(str(path)) for path in outcome.figures}
        if figures:
            run.log(figures)
        for kind, folder in (("report", outcome.report), ("model", outcome.model)):
            if folder is not None:
                artifact = wandb.Artifact(f"{self.search.name}-{kind}", type=kind)
                artifact.add_dir(str(folder))
                logged = run.log_artifact(artifact)
                if not self._offline:
                    logged.wait(timeout=int(UPLOAD_SECONDS))
        self._run = None
        self._finish(run, failed=outcome.model is None)
        self._write_record({"outcome": outcome.digest})

    def close(self) -> None:
        """End the run of a search that was stopped."""
        if self._run is not None:
            run, self._run = self._run, None
            run.finish(exit_code=255)

    def _open(self, id: str, name: str, kind: str, config: dict[str, Any]) -> wandb.Run:
        """Open a run; offline if the server cannot be reached, as are then all after it."""
        import wandb

        options: dict[str, Any] = {
            "project": os.environ.get("WANDB_PROJECT") or PROJECT,
            "id": id,
            "name": name,
            "group": self.search.study or self.search.name,
            "job_type": kind,
            "config": config,
            "dir": str(self._dir),
            "reinit": "create_new",
            "resume": "allow",
            "allow_val_change": True,
            "save_code": False,
        }
        if not self._offline:
            try:
                return wandb.init(**options, settings=_settings())
            except Exception as error:
                self._go_offline(f"cannot be reached ({first_line(error)})")
        return wandb.init(**options, mode="offline", settings=_settings())

    def _finish(self, run: wandb.Run, *, failed: bool) -> None:
        try:
            run.finish(exit_code=int(failed))
        except TimeoutError:
            self._go_offline(f"takes no data for {SEND_SECONDS:g} s")

    def _go_offline(self, why: str) -> None:
        self._offline = True
        files = shlex.quote(f"{self._dir}/wandb")
        self.warn(f"{why}; the search goes on, send its files later: wandb sync {files}")

    def _read_record(self) -> Held:
        evaluations: dict[int, str] = {}
        outcome = None
        text = self._record.read_text() if self._record.exists() else ""
        if text and not text.endswith("\n"):
            with self._record.open("a") as file:
                file.write("\n")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut short when the search was killed
                continue
            if "outcome" in entry:
                outcome = entry["outcome"]
            else:
                evaluations[entry["evaluation"]] = entry["digest"]
        return Held(evaluations, outcome)

    def _write_record(self, entry: dict[str, Any]) -> None:
        with self._record.open("a") as file:
            file.write(f"{json.dumps(entry)}\n")


def _folder(run: Path | None) -> Path:
    """The folder in which W&B makes its own: `WANDB_DIR`, or a local run directory."""
    given = os.environ.get("WANDB_DIR")
    return Path(given).absolute() if given else run or Path.cwd()


def _settings() -> Any:
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        init_timeout=CONNECT_SECONDS,
        finish_timeout=SEND_SECONDS,
        finish_timeout_raises=True,
        disable_git=True,
        disable_code=True,
        stop_fn=lambda: None,  # a button on its page must not stop the search
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
