"""Words of `docs/results.md`: its introduction, its headings, and names of figures."""

INTRODUCTION = """\
# Results

Look up any figure of these pages here, with its command, machine, date, seeds and revision. Each
benchmark has a section, with the figures as its program wrote them.

To measure again, repeat a command with `--out benchmarks/results/NAME.json`, then `make results`.
`make stale` lists the results whose code has changed since. If a result has no revision, nobody
can say which code made it.

`make results` writes this page from the files in `benchmarks/results`; do not edit it.
"""
BENCHMARKS = {
    "versions": (
        "Releases of Python, torch and Ray",
        "The tests of each promise, run in an environment of these releases.",
    ),
    "ablations": (
        "One choice at a time",
        "On cell A of the six: the mean best validation loss, and test accuracy in percent by "
        "seed. Differences are to the defaults, in points, paired by seed, with their 95 % t "
        "intervals.",
    ),
    "baselines": (
        "Every baseline at a small budget",
        "Test scores in percent, by seed, and their change since another revision: the mean "
        "difference in points, paired by seed, with its 95 % t interval.",
    ),
    "scale": (
        "One range of rates for all",
        "Best validation losses after a number of evaluations, and test accuracy in percent, by "
        "seed and on average. `differences` are of `wide`, the defaults, to each other way, in "
        "points of test accuracy, with their 95 % t intervals.",
    ),
    "cells": (
        "Six cells at the defaults",
        "Test accuracy in percent by seed: of the best model, the ensemble, and the best plan "
        "trained again on training and validation images (`refit`). Differences are of `revo`, the "
        "defaults, to each other way, in points, paired by seed, with their 95 % t intervals. "
        "`visible` is half of an interval's width. p is of the t test; `p_holm` is corrected for "
        "the number of rivals. `together` gives each cell the same weight, and `images` the same "
        "over the cells on some images. These intervals are for these cells under other seeds; for "
        "`draws` the cells count as draws from many. `one_rate` has the differences of `full` to "
        "each other way, `cost` the test accuracy of the best of the first evaluations, and "
        "`ahead` the differences of these.",
    ),
    "variants": (
        "Ways to propose, one change at a time",
        "The best validation loss after the epochs of 20, 50 and 100 evaluations, and the test "
        "accuracy of the best in percent, as means over seeds. Differences are to the default, "
        "paired by seed, with their 95 % t intervals.",
    ),
    "warm_start": (
        "A search that begins at the rates of an earlier one",
        "On other images than those of the earlier search, against a search that begins with a "
        "sweep.",
    ),
    "recipe": (
        "Training settings as genes",
        "`revo-mixed` with momentum and label smoothing as genes, and with weight decay alone, "
        "against rates and freeze bits alone. Differences have their 95 % t intervals.",
    ),
    "batch_norm": (
        "BatchNorm statistics after few steps",
        "Validation with running averages and with precise statistics of the same weights; "
        "accuracy in percent.",
    ),
    "last_batch": (
        "A last batch of few images",
        "Test accuracy in percent if the images left over are a batch (`cut`), and if they share "
        "with the batch before (`shared`). Gains are in points, paired by seed, with their 95 % t "
        "intervals.",
    ),
    "takeaway": (
        "The model to take away",
        "Each search's best model, ensemble and soup, and the best with one rate for all layers. "
        "Accuracy and AUC are in percent. Differences are in points, paired by search and seed, "
        "with their 95 % t intervals. A form is chosen on validation images; cross-fitted, each "
        "fifth of them is scored by the choice of the others. A refit trains the same plan on "
        "training and validation images. Megabytes are of all files that a form needs, seconds "
        "for 1,000 test images.",
    ),
    "noise": (
        "Winners under other seeds",
        "The best validation loss that a search saw, and the mean of the same plan under other "
        "seeds. Luck is the second less the first. Differences are of `revo` to each other method.",
    ),
    "pretrain": (
        "The small pretrained network",
        "timm's `test_byobnet` on Fashion-MNIST.",
    ),
    "overhead": (
        "Search time against plain torch and against the usual trainable",
        "`floor` compares with the same fine-tunings in plain torch; the other parts compare "
        "with a function trainable that loads everything in each trial.",
    ),
    "study": (
        "Busy workers in a study",
        "Shares of the workers' time in which they trained and validated.",
    ),
    "utilisation": (
        "Busy workers on a virtual clock",
        "`half` has half as many workers as the population, with the least lookahead that keeps "
        "95 % of them busy; `ten` has a population of 10.",
    ),
    "throughput": (
        "Evaluations a second of one driver",
        "A trivial objective through a whole search, and through Tune's own random search.",
    ),
    "cluster_scale": (
        "One driver for up to 1,000 workers",
        "The driver without Ray, on a virtual clock that its own work moves. `busy` is the share "
        "of the workers' time in trials. [Scale](scale.md) says what to make of it.",
    ),
    "soak": (
        "A search of thousands of evaluations",
        "Tiny trainings in real Ray: wall time, computing, memory and open files by tenths of the "
        "evaluations.",
    ),
    "searcher": (
        "Time to propose",
        "Milliseconds of `suggest` plus `on_trial_complete`.",
    ),
    "conformance": (
        "Properties of searchers of Ray Tune",
        "The checks of `tests/tune/conformance`, over `CMAMVSearch`, Ray's `OptunaSearch` and "
        "Ray's `HyperOptSearch`. A fault is an error that users meet, a limit a setting that a "
        "searcher does not have or refuses; a difference by nature comes with the algorithm.",
    ),
    "ledger": (
        "A long ledger",
        "The cost of a row, and of resuming.",
    ),
    "optimisers": (
        "Quality of the searchers",
        "The best value after a number of evaluations; 0 is perfect. `catcmawm 5` is CatCMAwM "
        "with a lookahead of 5. p is Wilcoxon's.",
    ),
    "set_encoding": (
        "Quality of set encoding",
        "The best value after a number of evaluations. 0 is perfect.",
    ),
    "head": (
        "Head on frozen layers",
        "Kept features against a `DataLoader` loop.",
    ),
    "step": (
        "A training step",
        "Ratios to a plain step on the same CPU.",
    ),
    "models": (
        "Every family of networks",
        "[Networks](models.md) has a row for each family. `held` counts the families that have "
        "every property named there.",
    ),
    "memory": (
        "Memory of a worker",
        "Resident memory after many evaluations.",
    ),
    "preparation": (
        "Preparing images",
        "An image table against a plain loop of Pillow.",
    ),
    "gpu": (
        "On a GPU",
        "Repeatability, precision, the parts of an evaluation, processes beside one another, where "
        "the images are, and failures.",
    ),
    "faults": (
        "Faults injected into real searches",
        "Each search had several faults, and counts for each kind that it had. `again` counts "
        "trainings that were begun once more, since a fault interrupted or destroyed them.",
    ),
}
"""Title and explanation of each benchmark, in the order of the page."""
WORDS = {
    "an_hour": "evaluations an hour",
    "at_once": "as many plain processes as workers",
    "by_nature": "fails by nature",
    "cpu": "CPU seconds",
    "driver_files": "open files of the driver",
    "driver_mb": "driver, MB",
    "driver_ms": "driver's computing, ms an evaluation",
    "driver_share": "driver's share of the time",
    "cpu_over_floor": "computing, over plain torch's",
    "cpu_over_usual": "computing, over the usual trainable's",
    "equal": "ended equal",
    "faults": "fails by a fault",
    "evaluation_ms": "wall time an evaluation, ms",
    "fine_tuning": "seconds a fine-tuning",
    "fired": "took place",
    "handover_ms": "handover, ms",
    "held": "with loading",
    "kb": "driver's memory an evaluation, KB",
    "limits": "fails by a limit",
    "lost": "evaluations lost",
    "longest_ms": "longest call, ms",
    "loss_apart": "largest difference of losses",
    "mean_evaluation_s": "mean evaluation, s",
    "median_ms": "median, ms",
    "one": "one plain process",
    "over_best": "seconds, over those of best",
    "over_usual": "evaluations an hour, over the usual trainable's",
    "own_ms": "driver's own work an evaluation, ms",
    "own_share": "the same without Ray",
    "program_over_program": "program over program",
    "ray_mb": "Ray's own processes, MB",
    "rows_per_second": "rows a second",
    "start_s": "start, s",
    "steady_over_floor": "steady part × workers, over plain torch",
    "stdev": "standard deviation",
    "torch": "one plain process, torch's own convolutions",
    "twice": "trained twice",
    "usual_an_hour": "usual trainable, evaluations an hour",
    "usual_warm_an_hour": "usual trainable, once warm",
    "warm_an_hour": "evaluations an hour once warm",
    "warm_over_usual": "once warm, over the usual trainable's",
    "whole_over_floor": "whole command over plain torch, as many at once",
    "whole_over_one": "whole command × workers, over plain torch one by one",
    "whole_over_torch": "the same, over torch's own convolutions",
    "steady_over_one": "steady part × workers, over plain torch one by one",
    "worker_files": "open files of a worker",
    "worker_mb": "largest worker, MB",
    "worker_ms": "an evaluation in its worker, ms",
    "with_updates_ms": "with updates, ms",
}
"""Names of figures, where the key alone says too little."""
