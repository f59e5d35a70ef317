"""revo-ray: how fast should each layer of a pretrained vision model learn?

The names below load on first use: `evolve`, `data` and `finetune` must not import Ray.
"""

from importlib import import_module

TYPE_CHECKING = False  # `python -m revo_ray` may import `typing` only after `current_folder`
if TYPE_CHECKING:
    from typing import Any

    from revo_ray.model.load import load
    from revo_ray.run import run_search, run_study
    from revo_ray.rundir.outcome import SearchResult
    from revo_ray.settings.schema import SearchConfig
    from revo_ray.settings.study import StudyConfig
    from revo_ray.tune import CMAMVSearch

__all__ = [
    "CMAMVSearch",
    "SearchConfig",
    "SearchResult",
    "StudyConfig",
    "load",
    "run_search",
    "run_study",
]

__version__ = "0.1.0"

_HOMES = {
    "CMAMVSearch": "revo_ray.tune",
    "SearchConfig": "revo_ray.settings.schema",
    "SearchResult": "revo_ray.rundir.outcome",
    "StudyConfig": "revo_ray.settings.study",
    "load": "revo_ray.model.load",
    "run_search": "revo_ray.run",
    "run_study": "revo_ray.run",
}


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
