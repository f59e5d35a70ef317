"""TensorBoard: the search as a whole, and one run below it for every evaluation."""

from base64 import b64encode

from revo_ray.monitor.tensorboard.evaluations import EvaluationCurves
from revo_ray.monitor.tensorboard.hyperparameters import Hyperparameters
from revo_ray.monitor.tensorboard.pages import FOLDER
from revo_ray.monitor.tensorboard.search_curves import SearchCurves

_CHOSEN = b64encode(b'{".": true }').decode()

# Without smoothing, which would bend a best-so-far; and with the search's own run chosen, since
# TensorBoard chooses none where there are more than 40.
PAGE = "#custom_scalars&_smoothingWeight=0&runSelectionState=" + _CHOSEN
"""What to open first: the layout."""

__all__ = ["FOLDER", "PAGE", "EvaluationCurves", "Hyperparameters", "SearchCurves"]
