"""`run_search`, `run_study` and `dry_run`: join search, monitor, report and trackers."""

from revo_ray.run.searches import dry_run, run_search, run_study

__all__ = ["dry_run", "run_search", "run_study"]
