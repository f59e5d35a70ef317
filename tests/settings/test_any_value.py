"""A value of any type at any key: it is taken, or one line names the key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from revo_ray.search.core.prepare import resolve
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyConfig
from tests.faults.fuzz.test_fuzz_config import KEYS, METHODS, in_time, outcome

PYDANTIC = re.compile(
    r"[Ii]nput should|valid (integer|number|string|list|dict|boolean|tuple)|type=|[Uu]nable to"
    r"|\b(int|str|dict|bool|None|True|False)\b|[Ff]ield req|greater than|less than|pydantic"
)
"""Phrases of pydantic's own messages, and names of Python's types."""
ODD: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        1,
        0.5,
        10**99,
        float("nan"),
        -float("inf"),
        "",
        "x",
        "\x1b[31m",
        "9" * 300,
    ),
    *([], [None], [[1]], {}, {"a": 1}, {"name": None}, {"name": {"name": 1}}),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_value_of_any_type_at_every_key(key: str, tmp_path: Path) -> None:
    """It is taken, or one line names the key, or the section that it stands in."""
    path = tmp_path / "config.yaml"
    study, option = key.startswith("study"), key.removeprefix("method.")
    owners = [
        name
        for name, method in METHODS.items()
        if f"method.{option}" == key and option in method.Options.model_fields
    ]
    for value in ODD:
        nested: Any = value
        for name in reversed(key.split(".")):
            nested = {name: nested}
        if study and key != "study":
            nested["study"].setdefault("methods", ["random"])
        if owners:
            nested["method"].setdefault("name", owners[0])
        path.write_text(yaml.safe_dump(nested, allow_unicode=True))
        said: list[str] = []
        with in_time():
            config = outcome(lambda: (StudyConfig if study else SearchConfig).load(path), said)
            if isinstance(config, StudyConfig):
                outcome(config.searches, said)
            elif config is not None:
                outcome(lambda config=config: resolve(config), said)
        names = [part for part in key.rpartition(".")[::2] if part]
        assert all(any(name in line for name in names) for line in said), (value, said)
        assert not PYDANTIC.search(" ".join(said)), said
        assert all(line.count(" wanted") <= 1 for line in said), said
