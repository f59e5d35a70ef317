"""Run directories: the names and the formats of their files."""

from revo_ray.rundir.evaluation import EpochMetrics, Evaluation
from revo_ray.rundir.ledger import Ledger, LedgerTail
from revo_ray.rundir.lock import RunLock
from revo_ray.rundir.outcome import SearchResult
from revo_ray.rundir.recorded_config import RecordedConfig
from revo_ray.rundir.run_directory import RunDirectory, run_directories
from revo_ray.rundir.study_directory import Directory, StudyDirectory, open_directory

__all__ = [
    "Directory",
    "EpochMetrics",
    "Evaluation",
    "Ledger",
    "LedgerTail",
    "RecordedConfig",
    "RunDirectory",
    "RunLock",
    "SearchResult",
    "StudyDirectory",
    "open_directory",
    "run_directories",
]
