"""Writes docs/configuration.md from the code: `python docs/configuration_page.py`.

Its sources are the classes of the configuration, and of the methods' options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.pycode import ModuleAnalyzer

from revo_ray.methods import load_methods, make_method
from revo_ray.settings.limits import LARGEST
from revo_ray.settings.options import ByOptimizer
from revo_ray.settings.places import literals, places
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig, StudyOptions
from revo_ray.settings.wanted import as_written, wanted

PAGE = Path(__file__).parent / "configuration.md"

INTRODUCTION = """\
# Configuration

You write a YAML file that names only the keys that differ from their defaults, and give it to
`search`, `study`, `train` or `submit`. This page has every key. `python docs/configuration_page.py`
writes it from the code; do not edit it.

- `--set SECTION.KEY=VALUE` overrides a key for one command, as in `--set search.evaluations=20`.
- An unknown key is an error that names the nearest known one. A value that does not fit is an error
  that says which values do, and on which line of the file it stands. A key that stands twice in a
  file is an error.
- `revo-ray search config.yaml --dry-run` checks all of it and starts nothing.
- `config.yaml` in a run directory records the values of every key, also of those that you left out.
- `null` means: none, or as the text of the key says. Paths may be URIs that `pyarrow.fs` opens,
  such as `s3://…`.
"""

EXAMPLES: dict[str, dict[str, Any]] = {
    "": {"name": "birds", "storage": "s3://bucket/searches", "trackers": ["mlflow"]},
    "model": {"name": "torchvision/resnet18", "weights": "pretrained", "granularity": "block"},
    "data": {
        **{"source": "folder", "root": "./photos", "image_size": 224, "fit": "pad"},
        **{"train_fraction": "rest", "group_by": 2, "near_duplicates": "group"},
    },
    "method": {"name": "revo-binary", "global_lr": 0.001},
    "train": {
        **{"epochs": 20, "schedule": "cosine", "warmup_epochs": 1, "augment": "crop-flip"},
        **{"class_weights": "balanced", "precision": "bf16"},
    },
    "search": {"evaluations": 200, "stop_after": "8h", "objective": "balanced_accuracy"},
    "resources": {"cpus_per_trial": 2, "gpus_per_trial": 0.5, "max_concurrent": 8},
    "study": {
        **{"methods": ["revo-continuous", {"name": "full", "halving": "none"}]},
        **{"fractions": [0.05, 0.2], "seeds": [0, 1, 2]},
    },
}
"""An example of each section."""


def page() -> str:
    """The page.

    Raises:
        UserError: an example is no configuration.
        KeyError: a key has no docstring.
    """
    parts = [INTRODUCTION, *_section("", SearchConfig)]
    for name, field in SearchConfig.model_fields.items():
        if isinstance(field.default, BaseModel):
            parts += _section(name, type(field.default))
            parts += _options() if name == "method" else []
    parts += _section("study", StudyOptions)
    return "\n".join(parts)


def _section(name: str, section: type[BaseModel]) -> Iterator[str]:
    title = f"The section `{name}`" if name else "Keys outside of sections"
    summary = "" if not name else f"{_one_line(section.__doc__ or '')}\n"
    example = EXAMPLES[name]
    whole = {name: example} if name else example
    (StudyConfig if name == "study" else SearchConfig).model_validate(whole)
    if name == "method":
        make_method(SearchConfig.model_validate(whole).method)
    text = yaml.safe_dump(whole, sort_keys=False, default_flow_style=None, width=90)
    yield f"## {title}\n\n{summary}\n```yaml\n{text}```\n".replace("\n\n\n", "\n\n")
    for key, field in section.model_fields.items():
        if not isinstance(field.default, BaseModel):
            yield f"### {f'{name}.' if name else ''}{key}\n"
            yield f"{_facts(field)}\n\n{meaning(section, key)}\n"


def _options() -> Iterator[str]:
    """The keys of all methods; those that several share are told once."""
    told: dict[str, dict[tuple[str, str], list[str]]] = {}
    for name, method in sorted(load_methods().items()):
        for key, field in method.Options.model_fields.items():
            text = (_facts(field), meaning(method.Options, key))
            told.setdefault(key, {}).setdefault(text, []).append(f"`{name}`")
    for key, texts in sorted(told.items()):
        yield f"### method.{key}\n"
        for (facts, text), names in texts.items():
            yield f"{', '.join(names)}: {facts[0].lower()}{facts[1:]}\n\n{text}\n"


def _facts(field: FieldInfo) -> str:
    """The values that a key takes, and its default."""
    values = re.sub(r"'([^']+)'", r"`\1`", wanted([*places(field.annotation, field.metadata)]))
    values = re.sub(rf"from (\S+) to {LARGEST:,}", r"of at least \1", values)
    values = values[:1].upper() + values[1:]
    if field.is_required():
        return f"{values}. Required."
    by = next((mark for mark in field.metadata if isinstance(mark, ByOptimizer)), None)
    default = field.get_default(call_default_factory=True)
    default = list(default) if isinstance(default, tuple) else default
    written = str(by) if by else f"`{as_written(default)}`".replace("'", "")
    return f"{values}. Default: {written}."


def meaning(section: type[BaseModel], key: str) -> str:
    """The docstring below a key, in the class that defines it, as one line."""
    owner = next(each for each in section.__mro__ if key in vars(each).get("__annotations__", {}))
    text = _one_line(" ".join(_docstrings(owner.__module__)[owner.__qualname__, key]))
    field = section.model_fields[key]
    for value in (*literals([*places(field.annotation, field.metadata)]), "true", "false"):
        text = re.sub(rf"(?<![\w`]){value}: ", f"`{value}`: ", text)
    return re.sub(r"\bNone\b", "`null`", text)


@cache
def _docstrings(module: str) -> dict[tuple[str, str], list[str]]:
    return ModuleAnalyzer.for_module(module).find_attr_docs()


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page())
