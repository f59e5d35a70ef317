"""`train`: one fine-tuning under a known plan."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from revo_ray.cli.console import located, progress, say
from revo_ray.cli.next_commands import after_train, show_next
from revo_ray.cli.parameters import Overrides, PluginPath
from revo_ray.credentials import servers
from revo_ray.errors import UserError
from revo_ray.objective import METRICS, Scores
from revo_ray.rundir.recorded_config import RecordedConfig
from revo_ray.rundir.run_directory import RunDirectory
from revo_ray.search.core.refused import leaving_nothing
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import number_text, recipe_texts

if TYPE_CHECKING:
    from revo_ray.finetune.training.loop import Epoch
    from revo_ray.model.refit import Refit
    from revo_ray.model.train import Trained


def train(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN | CONFIG.yaml", help="A run directory, or a file or preset:NAME."
        ),
    ],
    plan: Annotated[
        str | None,
        typer.Option(
            help="Path or URI of a plan.json, for example best/plan.json of a search. Default: the "
            "best plan of the run directory."
        ),
    ] = None,
    overrides: Overrides = None,
    plugin_path: PluginPath = None,
    with_validation: Annotated[
        bool, typer.Option("--with-validation", help="Train on the validation images too.")
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            max=1000,
            metavar="N",
            help="Train with the training seeds train.seed, train.seed + 1, …; the model gives the "
            "mean of their probabilities.",
        ),
    ] = 1,
    save: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Write the model to this new folder, which predict and export take.",
        ),
    ] = None,
) -> None:
    """Fine-tune once under a known plan, without Ray, and test the model."""
    run, recorded = _recorded(source, overrides or [])
    settings = recorded.config
    if run is None and plan is None:
        raise UserError("--plan: name a plan.json, or a run directory in place of CONFIG.yaml")

    from revo_ray.methods.plugins import trusting

    with (
        located(settings),
        trusting(plugin_path),
        leaving_nothing(settings.storage),
        _placing_images(run),
    ):
        from revo_ray.model.export.export import check_out
        from revo_ray.model.refit import FOLDER, best_plan, refit
        from revo_ray.model.train import read_plan
        from revo_ray.monitor.preparation import prepare_and_show

        folder = None if save is None else check_out(save, FOLDER)
        known = best_plan(run) if run is not None and plan is None else read_plan(plan or "")
        if known.recipe:
            say(f"recipe:     {', '.join(recipe_texts(known.recipe))}")
        done = refit(
            recorded,
            known,
            seeds,
            out=folder,
            with_validation=with_validation,
            on_seed=lambda seed: say(f"seed {seed}") if seeds > 1 else None,
            on_epoch=_show_epoch,
            on_trained=_show_trained,
            prepare_table=partial(prepare_and_show, console=progress()),
            say=say,
        )
        if seeds > 1:
            _show_spread(done)
        if folder is not None:
            say(f"model:      {folder}")
            show_next(after_train(str(folder)))


def _recorded(source: str, overrides: list[str]) -> tuple[RunDirectory | None, RecordedConfig]:
    """The run directory that an argument names, if any, and the configuration with overrides."""
    run = _run_directory(source)
    if run is None:
        return None, RecordedConfig(SearchConfig.load(source, overrides), {}, {})
    recorded, above = run.config(), run.storage.parent
    here = [] if above is None else [f"storage={above.uri}"]  # where its image table is
    config = SearchConfig.load(run.storage.child(run.CONFIG).uri, [*here, *overrides])
    root = config.data.root or ""
    if servers(root) and not any(each.startswith("data.root=") for each in overrides):
        raise UserError(
            f"the run directory names {root}, a server that would get your credentials; if it is "
            f"yours, add --set data.root={shlex.quote(root)}",
            key="data.root",
        )
    return run, RecordedConfig(config, recorded.provenance, recorded.deleted)


def _run_directory(source: str) -> RunDirectory | None:
    """The run directory at a path or URI; None if it is no folder that records a search."""
    if source.startswith("preset:"):
        return None
    run = RunDirectory(source)
    if run.storage.size("") is not None or not run.exists:
        return None
    return run if "recorded:" in run.config_text() else None


@contextmanager
def _placing_images(run: RunDirectory | None) -> Iterator[None]:
    """Say how to name the place of a search's images, if they are no longer where they were."""
    try:
        yield
    except UserError as error:
        if run is None or error.key != "data.root":
            raise
        raise UserError(
            f"{error.args[0]}, where the images of {run.uri} were; name their place with "
            "--set data.root=…",
            key=error.key,
        ) from None


def _show_epoch(epoch: Epoch) -> None:
    if epoch.train_loss is not None and progress() is not None:
        say(f"epoch {epoch.epoch}: training loss {epoch.train_loss:.4f} ({epoch.seconds:.1f}s)")


def _text(scores: Scores) -> str:
    return ", ".join(f"{m.title} {number_text(m.value(scores))}" for m in METRICS.values())


def _show_trained(trained: Trained) -> None:
    if trained.validation is not None:
        say(f"validation: {_text(trained.validation)}")
    say(f"test:       {_text(trained.test)}")


def _show_spread(done: Refit) -> None:
    """Print mean and spread of the test scores over the seeds, and the score of all together."""
    from revo_ray.model.refit import spread

    say(f"test scores of {len(done.seeds)} seeds")
    for part, scores in spread(done.test).items():
        say(f"  {part}: {_text(scores)}")
    say(f"  mean of the probabilities: {_text(done.together)}")
