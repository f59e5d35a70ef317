"""TensorBoard's files: one run for the search as a whole, and one below it for each evaluation."""

from base64 import b64encode

from revo_ray.monitor.tensorboard.writer import write_tensorboard

_CHOSEN = b64encode(b'{".": true }').decode()

# Smoothing would bend the curves of the best so far. The search's own run has to be selected here,
# since TensorBoard selects none of more than 40 runs.
PAGE = "#custom_scalars&_smoothingWeight=0&runSelectionState=" + _CHOSEN
"""End of the address to open first: the page with the layout."""

__all__ = ["PAGE", "write_tensorboard"]
