"""Trackers: services that keep runs, such as MLflow and Weights & Biases.

A tracker is a class of `Tracker` in an entry point of the group `revo_ray.trackers`. Import all
that one needs from here.
"""

from revo_ray.monitor.trackers.tracked import Held as Held
from revo_ray.monitor.trackers.tracked import Point as Point
from revo_ray.monitor.trackers.tracked import RecordedUnit as RecordedUnit
from revo_ray.monitor.trackers.tracked import TrackedEvaluation as TrackedEvaluation
from revo_ray.monitor.trackers.tracked import TrackedOutcome as TrackedOutcome
from revo_ray.monitor.trackers.tracked import TrackedSearch as TrackedSearch
from revo_ray.monitor.trackers.tracker import Tracker as Tracker
from revo_ray.monitor.trackers.tracker_registry import check_trackers as check_trackers
from revo_ray.monitor.trackers.trackers import Trackers as Trackers
