"""The tags of the search as a whole, and how TensorBoard lays them out."""

from __future__ import annotations

from collections.abc import Mapping

from tensorboardX.proto.layout_pb2 import Category, Chart, Layout, MultilineChartContent

from revo_ray.rundir.ledger import Evaluation

LOSS = "evaluations/loss"
FROZEN = "evaluations/frozen_fraction"
FAILURES = "evaluations/failures_so_far"
SIGMA = "distribution/sigma"
MEAN = "distribution/mean"
"""Of all variables, each by its place on its scale from 0 to 1."""
MEANS = "distribution/means"
MEAN_OF = "distribution/mean_of"
ALL_UNITS = "rates/log10_all_units"
UNIT = "rates_log10_by_unit"

FEW = 16
"""So many variables have a curve each for their means."""

_SCORES = {"loss": "val_loss", "accuracy": "val_accuracy", "auc": "val_auc"}


def best(row: Evaluation, cost: str) -> Mapping[str, float | None]:
    """The scores of the best evaluation so far, by what was spent until then.

    The best has the least loss; accuracy and AUC are that one's too, not others' records.
    """
    return {f"best/{score}_by_{cost}": getattr(row, field) for score, field in _SCORES.items()}


def _chart(title: str, *tags: str) -> Chart:
    return Chart(title=title, multiline=MultilineChartContent(tag=[f"^{tag}$" for tag in tags]))


def _best_by(cost: str, shown: str) -> Category:
    titles = {"loss": "Validation loss", "accuracy": "Validation accuracy", "auc": "Validation AUC"}
    charts = [_chart(f"{title} by {shown}", f"best/{s}_by_{cost}") for s, title in titles.items()]
    return Category(title=f"Best so far, by {shown}", chart=charts)


def layout(variables: int) -> Layout:
    """The page of custom scalars; a tag is a regular expression.

    Args:
        variables: of the search distribution; 0 where the method has none.
    """
    distribution = [
        _chart("Sigma", SIGMA),
        _chart("Mean of all genes, each on its scale from 0 to 1", MEAN),
    ]
    if variables <= FEW:
        distribution.append(_chart("Mean of each", f"{MEAN_OF}/.*"))
    training = [
        _chart("Training loss", "train/loss"),
        _chart("Validation loss", "validation/loss"),
        _chart("Validation accuracy", "validation/accuracy"),
        _chart("Validation AUC", "validation/auc"),
    ]
    each = [
        _chart("Loss of each, and the best", LOSS, "best/loss_by_evaluations"),
        _chart("Fraction of units frozen", FROZEN),
        _chart("Failures so far", FAILURES),
    ]
    drawn_from = Category(title="The search distribution, by generation", chart=distribution)
    categories = [
        _best_by("evaluations", "evaluations"),
        Category(title="The search, evaluation by evaluation", chart=each),
        *([drawn_from] if variables else []),
        _best_by("epochs", "epochs"),
        _best_by("device_seconds", "device-seconds"),
        Category(title="Training, by epoch, of the chosen runs", chart=training, closed=True),
    ]
    return Layout(category=categories)
