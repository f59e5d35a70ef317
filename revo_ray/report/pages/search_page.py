"""The page of one search."""

from __future__ import annotations

from revo_ray.errors import UserError
from revo_ray.report.figures.chart import Chart
from revo_ray.report.figures.curves import search_curve
from revo_ray.report.figures.genes import LEAST_ROWS, importance_chart, measure, read_genes
from revo_ray.report.figures.optimism import chosen_chart
from revo_ray.report.figures.parallel import parallel_chart
from revo_ray.report.figures.plans import plan_chart
from revo_ray.report.figures.rates import rates_by_depth
from revo_ray.report.loaded_run import Run, load_run
from revo_ray.report.outcomes import CONFIG, Scores, read_config
from revo_ray.report.pages.page import Page, Section, Tile
from revo_ray.report.text_sections import STUDY, budget_section, failures_section, repeat_section
from revo_ray.words import number_text

NOTHING = Scores(None, None, None)


def search_page(run: Run) -> Page:
    """What a search found, what it cost, and how to make it again."""
    outcome, config = run.outcome, run.config
    identity = outcome.identity
    lead = (
        f"A search of revo-ray: {identity.method} on {identity.model}, {identity.data}, "
        f"{100 * identity.fraction:g} % of the images for training."
    )
    return Page(
        title=config.name,
        lead=lead,
        warnings=_warnings(run),
        sections=[
            _result(run),
            _figures("curve", "Best so far", search_curve(run, _random_beside(run))),
            _figures("plan", "The best plan", plan_chart(run), rates_by_depth(run)),
            _genes(run),
            Section(
                "optimism", "Validation against test", _scores(run), charts=_some(chosen_chart(run))
            ),
            budget_section(run),
            failures_section([run]),
            repeat_section(run.folder, [run], alone=True),
        ],
    )


def _warnings(run: Run) -> list[str]:
    outcome = run.outcome
    found = []
    if not outcome.done:
        found.append(
            f"This search is not finished: {outcome.progress}. What follows is of the evaluations "
            "so far; the test images have not been seen. Go on with --resume."
        )
    if run.best is None and run.rows:
        found.append(
            f"No evaluation succeeded, of {len(run.rows)}: there is no best model. The causes are "
            "under “Failures”; where they diverged, try lower rates under another name."
        )
    return found


def _result(run: Run) -> Section:
    best, test = run.best, run.outcome.test or NOTHING
    if best is None:
        return Section("result", "Result", "There is none.")
    tiles = [
        Tile("validation loss", number_text(best.val_loss), f"evaluation {best.evaluation}"),
        Tile("validation accuracy", _percent(best.val_accuracy)),
        Tile("validation AUC", _percent(best.val_auc)),
    ]
    if run.outcome.test:
        tiles += [
            Tile("test loss", number_text(test.loss), "measured once"),
            Tile("test accuracy", _percent(test.accuracy), "measured once"),
            Tile("test AUC", _percent(test.auc), "measured once"),
        ]
    frozen = sum(rate == 0 for rate in best.unit_lrs)
    text = (
        f"Evaluation {best.evaluation} has the least validation loss of {len(run.rows)}. It trains "
        f"{len(best.unit_lrs) - frozen} of {len(best.unit_lrs)} units and freezes {frozen}. "
        + (
            "Its model was then tested, once, on images that the search never saw."
            if run.outcome.test
            else "Its model is tested when the search ends."
        )
    )
    return Section("result", "Result", text, tiles=tiles)


def _genes(run: Run) -> Section:
    genes = read_genes([run])
    if genes is None:
        return Section("genes", "Which genes mattered", "No gene took more than one value.")
    importance = measure(genes)
    parallel = parallel_chart(genes, importance, run.units, "parallel", "Evaluations over genes")
    if importance is None:
        text = (
            f"With {len(genes.ranks)} evaluations that say something of {len(genes.names)} genes "
            f"the ledger cannot tell; it takes {LEAST_ROWS} at the least."
        )
        return Section("genes", "Which genes mattered", text, charts=_some(parallel))
    chart = importance_chart(importance, "importance", "Which genes mattered")
    return Section("genes", "Which genes mattered", charts=_some(chart, parallel))


def _scores(run: Run) -> str:
    best, test = run.best, run.outcome.test
    if best is None or test is None:
        return ""
    rows = ["| | validation | test | validation − test |", "|:---|---:|---:|---:|"]
    for name, mine, its in (
        ("loss", best.val_loss, test.loss),
        ("accuracy", best.val_accuracy, test.accuracy),
        ("AUC", best.val_auc, test.auc),
    ):
        gap = None if mine is None or its is None else mine - its
        signed = "–" if gap is None else f"{gap:+.4f}".replace("-", "−")
        rows.append(f"| {name} | {number_text(mine)} | {number_text(its)} | {signed} |")
    return (
        "\n".join(rows) + "\n\nThe search saw validation images only, and picked the best by them."
    )


def _random_beside(run: Run) -> Run | None:
    try:
        return _find_random(run)
    except (OSError, UserError):  # what stands beside a search is not what was asked about
        return None


def _find_random(run: Run) -> Run | None:
    """Random search over the same genome and images, where the search stands in a study."""
    parent = run.folder.parent
    keys = {"revo-continuous": ("scale", "low", "high"), "revo-binary": ("global_lr", "head")}
    wanted = keys.get(run.config.method.name)
    if parent is None or wanted is None or not parent.exists(STUDY):
        return None
    encoding = run.config.method.name.removeprefix("revo-")
    own = run.config.method.options
    for name in parent.list():
        folder = parent.child(name)
        if not folder.exists(CONFIG):
            continue
        config = read_config(folder)
        options = config.method.options
        if (
            config.method.name == "random"
            and options.get("encoding", "continuous") == encoding
            and all(options.get(key) == own.get(key) for key in wanted)
            and (config.data, config.model, config.train)
            == (run.config.data, run.config.model, run.config.train)
        ):
            found = load_run(folder)
            return found if len(found.rows) > 1 else None
    return None


def _figures(name: str, title: str, *charts: Chart | None) -> Section:
    return Section(name, title, charts=_some(*charts))


def _some(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart is not None]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
