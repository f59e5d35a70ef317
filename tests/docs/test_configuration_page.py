"""`docs/configuration.md` is made from the classes of the configuration, with all their keys."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel

from docs.configuration_page import PAGE, page
from revo_ray.data.sources import READERS
from revo_ray.methods import load_methods
from revo_ray.settings.schema import SearchConfig
from revo_ray.settings.study import StudyOptions


def test_the_page_is_the_one_that_the_program_makes() -> None:
    assert PAGE.read_text() == page(), "run python docs/configuration_page.py"


def keys() -> set[str]:
    found = {f"study.{key}" for key in StudyOptions.model_fields}
    for name, field in SearchConfig.model_fields.items():
        section = field.default
        own = type(section).model_fields if isinstance(section, BaseModel) else None
        found |= {name} if own is None else {f"{name}.{key}" for key in own}
    for method in load_methods().values():
        found |= {f"method.{key}" for key in method.Options.model_fields}
    return found


def test_each_key_has_a_heading_a_default_and_a_meaning() -> None:
    parts = re.split(r"^### (.*)$", PAGE.read_text().partition("\n## ")[2], flags=re.M)[1:]
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    assert told.keys() == keys()
    for key, text in told.items():
        facts, meaning, *_ = text.partition("\n## ")[0].strip().split("\n\n")
        assert "Default: " in facts or facts.endswith("Required."), key
        assert len(meaning.split()) >= 3, key


@pytest.mark.parametrize("source", READERS)
def test_the_sources_are_named(source: str) -> None:
    _, _, text = PAGE.read_text().partition("### data.source\n")
    assert f"`{source}`" in text.partition("\n### ")[0]
