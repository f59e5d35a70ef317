"""TensorBoard's table of hyperparameters: one line for every evaluation that has ended."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import get_args

from tensorboardX.proto import api_pb2 as api
from tensorboardX.proto import plugin_hparams_pb2 as plugin
from tensorboardX.proto.summary_pb2 import Summary

from revo_ray.methods import UnitLike
from revo_ray.monitor.row_numbers import Number, rate, row_numbers
from revo_ray.monitor.tensorboard import events, tags
from revo_ray.objective import METRICS
from revo_ray.rundir.evaluation import Evaluation, Status


class Hyperparameters:
    """The table of one search's evaluations.

    Args:
        units: units of the network, input to output.
        variables: names of the search's variables; the table has rates in place of units' genes.
    """

    def __init__(self, units: Sequence[UnitLike], variables: Iterable[str]) -> None:
        names = [unit.name for unit in units]
        others = [name for name in variables if name not in set(names)]
        self._numbers: dict[str, Number] = row_numbers(units)
        if len(others) <= tags.FEW:
            self._numbers |= {name: partial(_variable, name) for name in others}
        if len(names) <= tags.FEW:
            self._numbers |= {f"rate of {name}": partial(rate, i) for i, name in enumerate(names)}

    def experiment(self, at: float) -> Summary.Value:
        """The columns of the table. TensorBoard shows the last value of each metric."""
        status = api.HParamInfo(name="ended", type=api.DATA_TYPE_STRING)
        status.domain_discrete.extend(get_args(Status))
        columns = [api.HParamInfo(name=n, type=api.DATA_TYPE_FLOAT64) for n in self._numbers]
        found = api.Experiment(time_created_secs=at, hparam_infos=[status, *columns])
        for metric in METRICS.values():
            name = api.MetricName(tag=tags.validation(metric))
            found.metric_infos.add(name=name, display_name=f"validation {metric.title}")
        return events.hparams("experiment", plugin.HParamsPluginData(experiment=found))

    def session(self, row: Evaluation) -> list[Summary.Value]:
        """The line of an evaluation."""
        group = f"{row.evaluation:06d}"
        start = plugin.SessionStartInfo(group_name=group, start_time_secs=row.started_at)
        start.hparams["ended"].string_value = row.status
        for name, number in self._numbers.items():
            value = number(row)
            if value is not None and math.isfinite(value):
                start.hparams[name].number_value = value
        failed = row.status in ("error", "diverged")
        status = api.STATUS_FAILURE if failed else api.STATUS_SUCCESS
        end = plugin.SessionEndInfo(status=status, end_time_secs=row.finished_at)
        parts = {"session_start_info": start, "session_end_info": end}
        return [events.hparams(k, plugin.HParamsPluginData(**{k: v})) for k, v in parts.items()]


def _variable(name: str, row: Evaluation) -> float | None:
    value = row.sample.get(name)
    return float(value) if isinstance(value, int | float) else None
