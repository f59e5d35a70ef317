"""Learning curve of the best evaluation: its losses and its validation score by epoch."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from revo_ray.report.figures.chart import Chart
from revo_ray.report.loaded_run import Run
from revo_ray.report.scores import drawn_score
from revo_ray.report.style import BLUE, MUTED, styled


@styled()
def learning_chart(run: Run) -> Chart | None:
    """Draw the best evaluation's losses and score by epoch; None with fewer than two epochs."""
    best, metric = run.best, drawn_score(run.objective)
    if best is None or len(best.curve) < 2:
        return None
    trained = [(p.epoch, p.train_loss) for p in best.curve if p.train_loss is not None]
    losses = [(p.epoch, p.scores.loss) for p in best.curve if p.scores.loss is not None]
    scores = [(p.epoch, 100 * v) for p in best.curve if (v := metric.value(p.scores)) is not None]
    if not losses:
        return None
    wide = len(scores) > 1
    figure = Figure(figsize=(7.4 if wide else 4.6, 2.9), layout="constrained")
    left = figure.add_subplot(1, 1 + wide, 1)
    if trained:
        left.plot(*zip(*trained, strict=True), "--s", color=MUTED, ms=4, label="training")
    left.plot(*zip(*losses, strict=True), "-o", color=BLUE, ms=5, label="validation")
    left.set(xlabel="epoch", ylabel="loss")
    left.legend()
    if wide:
        right = figure.add_subplot(1, 2, 2)
        right.plot(*zip(*scores, strict=True), "-o", color=BLUE, ms=5)
        right.set(xlabel="epoch", ylabel=f"validation {metric.title}, %")
    for axes in figure.axes:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    after = "after each epoch" if len(losses) > 1 else "after the last epoch"
    caption = (
        f"Evaluation {best.evaluation}, the best model. Training: mean loss during the epoch, with "
        f"augmentation. Validation: {after}."
    )
    rows = [{"epoch": p.epoch, "train_loss": p.train_loss} | p.scores.columns for p in best.curve]
    return Chart("learning-curve", "Learning curve", caption, figure, rows)
