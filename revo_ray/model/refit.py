"""`revo-ray train`: train a plan with one or more seeds, and write the model as a folder."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from revo_ray.combine.explanation import score_intervals
from revo_ray.data.shared_files import tables_folder
from revo_ray.data.table.image_table import Table, prepare_table, split_table
from revo_ray.errors import UserError
from revo_ray.finetune.plan import Plan
from revo_ray.finetune.training.loop import Epoch
from revo_ray.finetune.training.metrics import classification_scores
from revo_ray.model.description import Description
from revo_ray.model.export import facts
from revo_ray.model.export.card import model_card
from revo_ray.model.export.export import beside
from revo_ray.model.export.facts import FACTS, Facts
from revo_ray.model.export.hub_folder import README, write_members, write_network
from revo_ray.model.loaded_model import check_is_run, find_form, load_network
from revo_ray.model.train import Trained, read_plan, train_plan
from revo_ray.objective import METRICS, MetricName, Scores
from revo_ray.rundir.recorded_config import RecordedConfig
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.settings.schema import DataConfig, SearchConfig

LARGEST_SEED = 2**32 - 1
FOLDER = "safetensors"
"""Format of the folder that a model is written to; see `export.check_out`."""


@dataclass(frozen=True)
class Refit:
    """Trainings of one plan with several seeds.

    Attributes:
        seeds: of the trainings.
        validation: their scores on the validation images; None if they were trained on them.
        test: their scores on the test images.
        together: scores on the test images of the mean of their probabilities.
    """

    seeds: tuple[int, ...]
    validation: tuple[Scores | None, ...]
    test: tuple[Scores, ...]
    together: Scores


def best_plan(run: RunDirectory) -> Plan:
    """The best plan that a search has so far.

    Raises:
        UserError: it has none, or its units were made under other rules.
        OSError: the storage is unreachable.
    """
    check_is_run(run)
    find_form(run, run.config().config, "best")
    return read_plan(run.best.plan_uri)


def refit(
    recorded: RecordedConfig,
    plan: Plan,
    count: int = 1,
    *,
    out: Path | None = None,
    with_validation: bool = False,
    on_seed: Callable[[int], None] = lambda seed: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_trained: Callable[[Trained], None] = lambda trained: None,
    prepare_table: Callable[[DataConfig, Path], Table] = prepare_table,
    say: Callable[[str], None] = lambda line: None,
) -> Refit:
    """Train a plan with the training seeds `train.seed`, `train.seed` + 1, …

    Args:
        recorded: model, data and training, and where they come from.
        plan: learning rates for the units of that model.
        count: number of seeds.
        out: folder to write the model to, whose probabilities are the mean of all trainings'; it
            is there whole or not at all.
        with_validation: train on the validation images too; they are then not scored.
        on_seed, on_epoch, on_trained: called before, during and after each training.
        prepare_table, say: see `train_plan`.

    Raises:
        UserError, SearchError: see `train_plan`.
        OSError: the disk is full.
    """
    first = recorded.config.train.seed
    if first + count - 1 > LARGEST_SEED:
        raise UserError(f"--seeds: {count} seeds from train.seed {first} on go beyond 2^32")
    seeds = tuple(range(first, first + count))
    table = prepare_table(recorded.config.data, tables_folder(recorded.config.storage))
    validation: list[Scores | None] = []
    test: list[Scores] = []
    total: NDArray[np.float64] | float = 0.0
    with _folder(out) as folder:
        for seed in seeds:
            on_seed(seed)
            config = _with_seed(recorded.config, seed)
            trained = train_plan(
                config,
                plan,
                with_validation=with_validation,
                on_epoch=on_epoch,
                prepare_table=lambda data, place: table,
                say=say if seed == first else lambda line: None,
            )
            on_trained(trained)
            validation.append(trained.validation)
            test.append(trained.test)
            total = total + trained.tuner.predict("test").double().softmax(1).cpu().numpy()
            labels = trained.tuner.feeds["test"].labels.cpu()
            description = _description(config, table, trained)
            if folder is not None:
                place = folder if count == 1 else folder / f"seed-{seed}"
                place.mkdir(exist_ok=True)
                state = trained.tuner.state_dict()
                write_network(*load_network(config.model, state, description), description, place)
        logits = np.log(total / count).astype(np.float32)
        together = classification_scores(torch.from_numpy(logits), labels).finite
        done = Refit(seeds, tuple(validation), tuple(test), together)
        if folder is not None and out is not None:
            if count > 1:
                shares = {f"seed-{seed}": 1 / count for seed in seeds}
                write_members(shares, description, folder)
            tested = split_table(table, recorded.config.data).test
            groups = [table.groups[row] for row in tested] if table.groups else ()
            intervals = score_intervals(logits, labels.numpy(), together, groups)
            units = [unit.name for unit in trained.tuner.units]
            sizes = {str(name): len(feed) for name, feed in trained.tuner.feeds.items()}
            known = _facts(
                recorded, description, plan, units, done, intervals, sizes, with_validation
            )
            card = model_card(known, description, FOLDER, out.name, count)
            (folder / README).write_text(card, encoding="utf-8")
            (folder / FACTS).write_text(known.to_json(), encoding="utf-8")
            folder.replace(out)
    return done


def spread(scores: Sequence[Scores]) -> dict[str, Scores]:
    """Mean, standard deviation, least and largest of several scores, metric by metric."""
    parts: dict[str, Callable[[Sequence[float]], float]] = {
        "mean": statistics.fmean,
        "standard deviation": statistics.stdev,
        "least": min,
        "largest": max,
    }
    return {
        title: Scores(**{name: _combined(scores, name, function) for name in METRICS})
        for title, function in parts.items()
    }


def _combined(
    scores: Sequence[Scores], name: MetricName, function: Callable[[Sequence[float]], float]
) -> float | None:
    values = [METRICS[name].value(each) for each in scores]
    known = [value for value in values if value is not None]
    return function(known) if len(known) == len(values) > 1 else None


@contextmanager
def _folder(out: Path | None) -> Iterator[Path | None]:
    """A folder beside `out` to write to; None if nothing is to be written."""
    if out is None:
        yield None
        return
    with beside(out) as folder:
        folder.mkdir()
        yield folder


def _with_seed(config: SearchConfig, seed: int) -> SearchConfig:
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})


def _description(config: SearchConfig, table: Table, trained: Trained) -> Description:
    return Description(
        model=config.model.name,
        labels=tuple(table.classes),
        image_size=config.data.image_size,
        mean=trained.mean,
        std=trained.std,
        fit=config.data.fit,
        intensity=table.intensity,
        max_pixels=config.data.max_pixels,
    )


def _facts(
    recorded: RecordedConfig,
    description: Description,
    plan: Plan,
    units: Sequence[str],
    done: Refit,
    intervals: dict[str, tuple[float, float]],
    sizes: dict[str, int],
    with_validation: bool,
) -> Facts:
    config, count = recorded.config, len(done.seeds)
    rows: list[facts.Row]
    if count == 1:
        rows = [("validation", done.validation[0] or Scores(), {})] if done.validation[0] else []
        rows.append(("test", done.test[0], intervals))
        subject = f"one training, seed {done.seeds[0]}"
    else:
        rows = [(f"test, {part}", each, {}) for part, each in spread(done.test).items()]
        rows.append(("test, mean of the probabilities", done.together, intervals))
        subject = f"mean of {count} trainings, seeds {done.seeds[0]} to {done.seeds[-1]}"
    note = "Numbers in parentheses are 95 % intervals for so many test images." + (
        f" Mean, deviation and range are over {count} training seeds; each was tested once."
        if count > 1
        else ""
    )
    about = (
        f"{facts.code(config.model.name)}, fine-tuned on {facts.data_name(config)} to classify "
        f"images into {len(description.labels)} classes, under a plan with a learning rate for "
        f"each of its {len(units)} units. The model is the {subject}"
        + ("; it was trained on the validation images too." if with_validation else ".")
        + facts.bf16_note(config)
    )
    return Facts(
        title=facts.heading(config.name),
        subject=subject,
        about=about,
        sections={
            "Scores": facts.score_table(rows) + "\n\n" + note,
            "Data": facts.bullets(facts.data_entries(recorded, sizes)),
            "Budget": facts.bullets(
                [
                    ("trainings", count),
                    ("epochs", f"{config.train.epochs} each"),
                    ("training", facts.training_text(config)),
                ]
            ),
            "Plan": facts.plan_section(plan, units),
            "Versions": facts.bullets(facts.version_entries(recorded)),
            "Licence": facts.licence_text(config),
        },
    )
