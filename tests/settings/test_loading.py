"""Loading: values are typed, and every error names the key, the value and the place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from revo_ray.errors import UserError
from revo_ray.settings.schema import SearchConfig

FILE = """
name: a-search
data:
  source: digits
  root: null
  image_size: 64
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(FILE)
    return path


def error(*arguments: object, **keywords: object) -> str:
    with pytest.raises(UserError) as caught:
        SearchConfig.load(*arguments, **keywords)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_overrides_are_typed_like_the_file(file: Path) -> None:
    config = SearchConfig.load(
        file, ["search.evaluations=20", "data.train_fraction=1e-1", "name=7", "data.root=null"]
    )
    assert config.search.evaluations == 20
    assert config.data.train_fraction == 0.1
    assert config.name == "7"
    assert config.data.root is None


def test_a_written_config_is_read_back_without_its_provenance(tmp_path: Path) -> None:
    config = SearchConfig.load()
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json") | {"recorded": {"a": 1}}))
    assert SearchConfig.load(path).model_dump() == config.model_dump()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("search.evaluatons=5", "search.evaluatons: no such key; did you mean search.evaluations?"),
        ("evaluations=5", "evaluations: no such key; did you mean search.evaluations?"),
        ("search.evaluations=many", "search.evaluations: input should be a valid integer"),
        ("search.evaluations=0", "search.evaluations: input should be greater than or equal to 1"),
        ("search.lookahead=31", "lookahead is 31; it may be at most 3 times the population, 10"),
        ("data.train_fraction=.nan", "data.train_fraction: "),
        ("data.train_fraction=0.7", "together they may be at most 1"),
        ("model.granularity=neuron", "'layer', 'block' or 'stage', not 'neuron'"),
        ("resources.gpus_per_trial=1.5", "use 0, a fraction or 1"),
        ("resources.gpus_per_trial=2", "gpus_per_trial is 2; use 0, a fraction or 1: "),
        ("resources.gpus_per_trial=-1", "use 0, a fraction or 1"),
        ("train.warmup_epochs=10", "warmup_epochs is 10; it must be below epochs, 5"),
        ("name=../elsewhere", "name: "),
        ("search=5", "search: "),
        ("nonsense", "write KEY=VALUE"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_it(override: str, says: str) -> None:
    assert says in error(None, [override])


def test_an_error_says_on_which_line_of_which_file(file: Path) -> None:
    file.write_text(FILE.replace("image_size: 64", "image_size: big"))
    line = FILE.splitlines().index("  image_size: 64") + 1
    assert f"(from {file} line {line})" in error(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "line 1"),
        ("- 1", "a configuration is a mapping"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("\x00", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    assert says in error(file)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in error(tmp_path / "none.yaml")
