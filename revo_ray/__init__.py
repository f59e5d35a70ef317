"""revo-ray: how fast should each layer of a pretrained vision model learn?

`evolve`, `data` and `finetune` never import Ray, so the names below load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revo_ray.config import SearchConfig
    from revo_ray.search.result import SearchResult
    from revo_ray.search.run import run_search, run_study
    from revo_ray.search.searcher import CMAMVSearch
    from revo_ray.search.study import StudyConfig

__all__ = [
    "CMAMVSearch",
    "SearchConfig",
    "SearchResult",
    "StudyConfig",
    "run_search",
    "run_study",
]

__version__ = "0.1.0"

_HOMES = {
    "CMAMVSearch": "revo_ray.search.searcher",
    "SearchConfig": "revo_ray.config",
    "SearchResult": "revo_ray.search.result",
    "StudyConfig": "revo_ray.search.study",
    "run_search": "revo_ray.search.run",
    "run_study": "revo_ray.search.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
