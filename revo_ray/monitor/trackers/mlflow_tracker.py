"""MLflow: a run for the search, and a nested run for each evaluation.

It uses `MlflowClient`, not Ray's `MLflowLoggerCallback`, which makes a run of each trial: here one
trial of a warm worker makes many evaluations. The client has no active run, so the searches of a
study share one process.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revo_ray.monitor.trackers.tracked import (
    Held,
    TrackedEvaluation,
    TrackedOutcome,
    TrackedSearch,
    Value,
)
from revo_ray.monitor.trackers.tracker import Tracker
from revo_ray.settings.telemetry import no_telemetry

if TYPE_CHECKING:
    from mlflow.entities import Run

EXPERIMENT = "revo-ray"
"""Experiment of searches that stand alone, if `MLFLOW_EXPERIMENT_NAME` names none."""

DEFAULTS = {
    # MLflow waits and retries for minutes by default; the courier tries again by itself.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Environment variables of MLflow, where the user has not set them."""

MOST_PARAMS = 100
MOST_METRICS = 1000
LONGEST_KEY = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 5000
"""Limits of MLflow's batches and values."""

ID, EVALUATION, DIGEST, OUTCOME = (
    f"revo_ray.{name}" for name in ("id", "evaluation", "digest", "outcome")
)
PARENT = "mlflow.parentRunId"


class MlflowTracker(Tracker):
    """Sends a search to the MLflow that `MLFLOW_TRACKING_URI` names."""

    package = "mlflow"

    _run_id = ""
    _running = False

    def begin(self) -> Held:
        """Find the search's run by its id, or make it, and list its evaluations."""
        no_telemetry("MLFLOW")
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):  # they would write across the progress
            logging.getLogger(name).setLevel(logging.ERROR)
        self._client = MlflowClient()
        self._experiment = self._find_experiment()
        found = self._search(f"tags.`{ID}` = '{self.search.id}'")
        self._begun: dict[int, Run] = {}
        self._stale: dict[int, Run] = {}
        if not found:
            run = self._client.create_run(
                self._experiment, tags=_tags(self.search), run_name=self.search.name
            )
        else:
            run = found[-1]  # the oldest
        self._run_id = run.info.run_id
        self._running = run.info.status == "RUNNING"
        if OUTCOME not in run.data.tags:
            self._mark_running()
        # A param is final: those of a search are the ones that it began with.
        units = json.dumps([unit.name for unit in self.search.units])
        config = _keys({**self.search.config, "units": units}).items()
        self._log(self._run_id, {k: v for k, v in config if k not in run.data.params}, [])
        held = self._held() if found else {}
        return Held(held, run.data.tags.get(OUTCOME))

    def _mark_running(self) -> None:
        if not self._running:
            self._client.update_run(self._run_id, status="RUNNING")
            self._running = True

    def _find_experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or self.search.study or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        if found is None:
            kind = {"mlflow.experimentKind": "custom_model_development"}  # not GenAI
            return str(self._client.create_experiment(name, tags=kind))
        if found.lifecycle_stage == "deleted":
            raise RuntimeError(
                f"experiment {name!r} is deleted: restore it, or set MLFLOW_EXPERIMENT_NAME"
            )
        return str(found.experiment_id)

    def _search(self, filter_string: str) -> list[Run]:
        """Runs of the experiment, the newest first."""
        found: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], filter_string, max_results=1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def _held(self) -> dict[int, str]:
        """Digests of the evaluations that are whole; deletes runs of which there are two."""
        held: dict[int, str] = {}
        for run in self._search(f"tags.`{PARENT}` = '{self._run_id}'"):
            tags = run.data.tags
            if EVALUATION not in tags:
                continue
            number = int(tags[EVALUATION])
            if number in held or number in self._begun:
                self._client.delete_run(run.info.run_id)
            elif run.info.status in ("FINISHED", "FAILED"):
                held[number] = tags.get(DIGEST, "")
                self._stale[number] = run
            else:
                self._begun[number] = run
        return held

    def add(self, evaluation: TrackedEvaluation) -> None:
        """Make the evaluation's run whole, and add a point to the search's curves."""
        from mlflow.entities import Metric

        self._mark_running()
        number = evaluation.number
        begun = self._begun.pop(number, None)
        if begun is not None and begun.data.tags.get(DIGEST) != evaluation.digest:
            self._stale[number] = begun
            begun = None
        if (stale := self._stale.pop(number, None)) is not None:  # it was made again
            self._client.delete_run(stale.info.run_id)
        began, ended = _ms(evaluation.started_at), _ms(evaluation.finished_at)
        if begun is None:
            tags = _evaluation_tags(evaluation) | {PARENT: self._run_id}
            name = f"{self.search.name} {evaluation.name}"
            begun = self._client.create_run(
                self._experiment, start_time=began, tags=tags, run_name=name
            )
        run_id = begun.info.run_id
        params = _keys(evaluation.params)
        plan = json.dumps(evaluation.plan)
        if len(plan) <= LONGEST_PARAM:
            params["plan"] = plan
        else:
            self._client.log_dict(run_id, dict(evaluation.plan), "plan.json")
        metrics = [
            Metric(name, value, _ms(point.at), point.epoch)
            for point in evaluation.curve
            for name, value in point.scores.items()
        ]
        self._log(run_id, params, metrics)
        best = [Metric(name, v, ended, evaluation.rows) for name, v in evaluation.best.items()]
        self._log(self._run_id, {}, best)
        status = "FAILED" if evaluation.failed else "FINISHED"
        self._client.set_terminated(run_id, status, ended)  # last: all of an ended run was sent

    def end(self, outcome: TrackedOutcome) -> None:
        """Send the test scores, the report and the model, and end the search's run."""
        from mlflow.entities import Metric, RunTag

        run_id, client = self._run_id, self._client
        if outcome.report is not None:
            client.log_artifacts(run_id, str(outcome.report), "report")
        if outcome.model is not None:
            client.log_artifacts(run_id, str(outcome.model), "model")
        with tempfile.TemporaryDirectory() as folder:  # `log_dict` sorts keys, which are not text
            file = Path(folder) / "outcome.json"
            file.write_text(json.dumps(outcome.result, indent=2))
            client.log_artifact(run_id, str(file))
        now = client.get_run(run_id).info.start_time
        self._log(run_id, {}, [Metric(name, v, now, 0) for name, v in outcome.scores.items()])
        tags = {"revo_ray.form": outcome.form, OUTCOME: outcome.digest}
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        client.set_terminated(run_id, "FAILED" if outcome.model is None else "FINISHED")
        self._running = False

    def close(self) -> None:
        """Mark the run of a search that was stopped."""
        if self._running:
            self._client.set_terminated(self._run_id, "KILLED")

    def _log(self, run_id: str, params: Mapping[str, str], metrics: list[Any]) -> None:
        from mlflow.entities import Param

        left = [Param(key, value) for key, value in params.items()]
        while left or metrics:
            self._client.log_batch(
                run_id,
                metrics=metrics[: MOST_METRICS - MOST_PARAMS],
                params=left[:MOST_PARAMS],
                synchronous=True,
            )
            metrics, left = metrics[MOST_METRICS - MOST_PARAMS :], left[MOST_PARAMS:]


def _tags(search: TrackedSearch) -> dict[str, str]:
    tags = {
        "mlflow.user": _user(),
        "mlflow.source.name": "revo-ray",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": f"{search.title}, optimising {search.objective.title}",
        ID: search.id,
        "revo_ray.run_directory": search.uri,
    }
    if search.study is not None:
        tags["revo_ray.study"] = search.study
    if search.revision is not None:
        tags["mlflow.source.git.commit"] = search.revision
    tags |= {f"version.{package}": version for package, version in search.versions.items()}
    return {key: value[:LONGEST_TAG] for key, value in tags.items()}


def _evaluation_tags(evaluation: TrackedEvaluation) -> dict[str, str]:
    facts = {f"revo_ray.{key}": str(value) for key, value in evaluation.facts.items()}
    tags = facts | {
        "mlflow.user": _user(),
        "mlflow.source.name": "revo-ray",
        "mlflow.source.type": "LOCAL",
        EVALUATION: str(evaluation.number),
        DIGEST: evaluation.digest,
        "revo_ray.status": evaluation.status,
    }
    if evaluation.error is not None:
        tags["revo_ray.error"] = evaluation.error[:LONGEST_TAG]
    return tags


def _keys(values: Mapping[str, Value]) -> dict[str, str]:
    """Params with names and lengths that MLflow takes."""
    return {
        re.sub(r"[^\w\-. :/]", "_", key)[:LONGEST_KEY]: str(value)[:LONGEST_PARAM]
        for key, value in values.items()
        if value is not None
    }


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without a name for its user
        return "unknown"
