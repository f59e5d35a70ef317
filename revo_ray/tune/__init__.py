"""CMA-MV as a searcher for any Ray Tune experiment."""

from revo_ray.tune.cmamv_search import CMAMVSearch
from revo_ray.tune.reconciler import Reconciler

__all__ = ["CMAMVSearch", "Reconciler"]
