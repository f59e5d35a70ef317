"""The tags of the search as a whole, and how TensorBoard lays them out."""

from __future__ import annotations

from collections.abc import Mapping

from tensorboardX.proto.layout_pb2 import Category, Chart, Layout, MultilineChartContent

from revo_ray.ledger import Evaluation

LOSS = "evaluations/loss"
FROZEN = "evaluations/frozen_fraction"
FAILURES = "evaluations/failures_so_far"
SIGMA = "distribution/sigma"
MEAN = "distribution/mean"
"""Of all variables, each by its place on its scale from 0 to 1."""
MEANS = "distribution/means"
MEAN_OF = "distribution/mean_of"
HEAT = "rates/heat_map"
ALL_UNITS = "rates/log10_all_units"
UNIT = "rates_log10_by_unit"

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


LAYOUT = Layout(
    category=[
        _best_by("evaluations", "evaluations"),
        Category(
            title="The search, evaluation by evaluation",
            chart=[
                _chart("Loss of each, and the best", LOSS, "best/loss_by_evaluations"),
                _chart("Fraction of units frozen", FROZEN),
                _chart("Failures so far", FAILURES),
            ],
        ),
        Category(
            title="The search distribution, generation by generation",
            chart=[
                _chart("Sigma", SIGMA),
                _chart("Mean of all genes, on their scale from 0 to 1", MEAN),
                _chart("Mean of each (where they are few)", f"{MEAN_OF}/.*"),
            ],
        ),
        _best_by("epochs", "epochs"),
        _best_by("device_seconds", "device-seconds"),
        Category(
            title="Training, evaluation by evaluation (choose runs on the left)",
            chart=[
                _chart("Training loss", "train/loss"),
                _chart("Validation loss", "validation/loss"),
                _chart("Validation accuracy", "validation/accuracy"),
                _chart("Validation AUC", "validation/auc"),
            ],
            closed=True,
        ),
    ]
)
"""The page of custom scalars; a tag is a regular expression."""
