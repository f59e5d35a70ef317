"""Run directories: the names and the formats of their files."""

from revo_ray.rundir.evaluation import Evaluation as Evaluation
from revo_ray.rundir.ledger import Ledger as Ledger
from revo_ray.rundir.outcome import SearchResult as SearchResult
from revo_ray.rundir.recorded_config import RecordedConfig as RecordedConfig
from revo_ray.rundir.run_directory import RunDirectory as RunDirectory
from revo_ray.rundir.study_directory import Directory as Directory
from revo_ray.rundir.study_directory import StudyDirectory as StudyDirectory
from revo_ray.rundir.study_directory import open_directory as open_directory
