"""Checks that a searcher is known to fail, and why.

A `fault` is an error that users of the searcher meet. A `limit` is a setting that it does not have,
or refuses by an error. `nature` is a difference that comes with its algorithm.
"""

from __future__ import annotations

Why = dict[str, str]

TPE = "nature: TPE learns from each trial as it ends, so its proposals depend on that order"
PICKLED = "fault: the state is a pickle, and unpickling runs what a file holds"
UNNAMED = "fault: the error does not say which key is meant"
ANONYMOUS = "nature: Ray lets it take the value that a function returns, as `_metric`"
UNRESOLVED = (
    "fault: trials get the domain itself, and after some of them the search ends in an error"
)
JOINED = "limit: keys are joined with slashes, and may hold none"
RAISES_TYPE = "fault: TypeError from `on_trial_complete`"
RAISES_RUNTIME = "fault: RuntimeError from `on_trial_complete`"

KNOWN_WITH = "2.60."
"""The Ray whose searchers fail so."""

KNOWN: dict[str, Why] = {
    "CMAMVSearch": {},
    "OptunaSearch": {
        "qloguniform": "fault: the step is dropped, with a warning",
        "qrandint of step 1": "fault: the upper bound is included, unlike in Tune",
        "qrandint with another step": "fault: it steps from the lower bound; Tune's values are "
        "multiples of the step",
        "qlograndint": "limit: Optuna has no steps on a log scale",
        "lists": "fault: it joins keys as texts, and places in lists are numbers",
        "tuples": "fault: it joins keys as texts, and places in tuples are numbers",
        "flat spelling": JOINED,
        "keys whose joined paths are equal": JOINED,
        "nested and flat spellings are one search": JOINED,
        "qrandint that holds no multiple": "fault: it proposes the lower bound",
        "randint that holds nothing": UNNAMED,
        "uniform whose bounds are swapped": UNNAMED,
        "choice of nothing": UNNAMED,
        "randn": UNNAMED,
        "domain in a choice": UNRESOLVED,
        "domain in a dictionary in a choice": UNRESOLVED,
        "domain in a list in a choice": UNRESOLVED,
        "domain in a tuple in a choice": UNRESOLVED,
        "sample_from in a choice": UNRESOLVED,
        "grid_search in a choice": "fault: the trial gets the dictionary of the grid search",
        "bare lambda": "fault: the trial gets the function",
        "refusals name the key": UNNAMED,
        "an error is not the best": "nature: it forgets trials that failed, so it does not learn "
        "where they do",
        "an unknown trial may end": "fault: KeyError",
        "an unknown trial may report": "fault: KeyError",
        "results on the way need no metric": "fault: KeyError",
        "4 trials at once": TPE,
        "16 trials at once": TPE,
        "the order in which trials end does not matter": TPE,
        "points of a nested space": "limit: its points have joined keys",
        "a point with an unknown key is refused": "fault: a wrong key is ignored, and the variable "
        "drawn at random",
        "a state file runs no code": PICKLED,
        "a search without a metric is refused": ANONYMOUS,
        "an unknown mode is refused": "fault: from the Tuner, any other word is `max`",
    },
    "HyperOptSearch": {
        "qrandint with another step": "fault: it rounds to a multiple below the lower bound",
        "choice of lists and dictionaries": "fault: lists become tuples",
        "lists": "fault: lists become tuples",
        "constants beside": "fault: lists become tuples",
        "keys whose joined paths are equal": JOINED,
        "one value": "fault: a range of one integer is an error",
        "one value everywhere": UNNAMED,
        "uniform with equal bounds": UNNAMED,
        "loguniform with equal bounds": UNNAMED,
        "qrandint that holds no multiple": "fault: it proposes 0",
        "randint that holds nothing": UNNAMED,
        "uniform whose bounds are swapped": UNNAMED,
        "choice of nothing": UNNAMED,
        "domain in a list in a choice": "fault: it looks at the first item of a list alone",
        "domain in a tuple in a choice": "fault: it does not look into tuples",
        "grid_search in a choice": "fault: the trial gets the dictionary of the grid search",
        "bare lambda": "fault: the trial gets the function",
        "refusals name the key": UNNAMED,
        "a number beyond floats": "fault: OverflowError from `on_trial_complete`",
        "None as the value": RAISES_TYPE,
        "a text as the value": RAISES_TYPE,
        "a list as the value": RAISES_TYPE,
        "an object as the value": RAISES_TYPE,
        "a result without the metric": RAISES_RUNTIME,
        "a result without the metric is not the best": RAISES_RUNTIME,
        "NaN is not the best": "fault: NaN attracts the search, and a bad value does not",
        "an error is not the best": "nature: it forgets trials that failed, so it does not learn "
        "where they do",
        "asking twice for one trial gives one configuration": "limit: Tune asks once for a trial",
        "4 trials at once": TPE,
        "16 trials at once": TPE,
        "the order in which trials end does not matter": TPE,
        "a point twice is two trials": "fault: it changes a choice to its index in each of the "
        "list's places, and the dictionary is one",
        "points in the flat spelling": "limit: its points are nested as the configurations are",
        "a point outside the space is not altered": "fault: a fraction for an integer is rounded",
        "a point with an unknown key is refused": "fault: a wrong key is ignored",
        "known rewards are not evaluated again": "limit: it has no `evaluated_rewards`",
        "known rewards count": "limit: it has no `evaluated_rewards`",
        "rewards must fit the points": "limit: it has no `evaluated_rewards`",
        "evaluated points may be added": "limit: it has no `add_evaluated_point`",
        "failed points may be added": "limit: it has no `add_evaluated_point`",
        "a point may be added in the midst": "limit: it has no `add_evaluated_point`",
        "a state file runs no code": PICKLED,
        "a search without a metric is refused": ANONYMOUS,
        "an unknown mode is refused": "fault: from the Tuner, any other word is `min`",
        "several metrics work or are refused": RAISES_TYPE,
        "one metric in a list works or is refused": RAISES_TYPE,
    },
}
"""For each searcher of the table, the checks that it fails: an unexpected pass is an error, too."""
