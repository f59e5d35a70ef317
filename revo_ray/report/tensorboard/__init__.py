"""TensorBoard: the search as a whole, and one run below it for every evaluation."""

from revo_ray.report.tensorboard.evaluations import EvaluationCurves
from revo_ray.report.tensorboard.hyperparameters import Hyperparameters
from revo_ray.report.tensorboard.pages import FOLDER
from revo_ray.report.tensorboard.search import SearchCurves

PAGE = "#custom_scalars&_smoothingWeight=0"
"""What to open first: the layout, without smoothing, which would bend a best-so-far."""

__all__ = ["FOLDER", "PAGE", "EvaluationCurves", "Hyperparameters", "SearchCurves"]
