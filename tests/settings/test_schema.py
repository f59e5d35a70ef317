"""The schema: the documented keys, and options that methods check themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from revo_ray.errors import UserError
from revo_ray.methods import load_methods, make_method
from revo_ray.search.core.prepare import resolve
from revo_ray.settings.schema import SearchConfig

# Every documented key: any method must accept a file with all of them.
EVERY_KEY = """
name: digits-effnet
storage: ./revo_results
model: {name: timm/tf_efficientnet_lite0, weights: pretrained, granularity: layer}
data:
  source: digits
  root: null
  image_size: 64
  max_images: null
  train_fraction: 0.05
  validation_fraction: 0.2
  test_fraction: 0.2
  seed: 0
method:
  name: revo-continuous
  algorithm: catcmawm
  scale: log
  encoding: continuous
  global_lr: searched
train: {epochs: 10, batch_size: 32, optimizer: sgd, augment: none, precision: fp32, seed: 0}
search: {evaluations: 100, budget: evaluations, population: 10, lookahead: 0, seed: 0}
resources: {cpus_per_trial: 1, gpus_per_trial: auto, device: auto, max_concurrent: null}
plugins: [baselines]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(EVERY_KEY)
    return path


def test_the_documented_file_loads_and_holds_the_defaults(file: Path) -> None:
    config = SearchConfig.load(file)
    written = yaml.safe_load(EVERY_KEY)
    dumped = config.model_dump(mode="json")
    for section, values in written.items():
        if isinstance(values, dict):
            assert {key: dumped[section][key] for key in values} == values
        else:
            assert dumped[section] == values


@pytest.mark.parametrize("weights", ["pretrained", "pretrained:A", "none", "package:a", "./a.pt#b"])
def test_only_a_file_of_weights_is_a_path(weights: str) -> None:
    model = SearchConfig.load(None, [f"model.weights={weights}"]).model
    assert model.weights_file == (weights if weights.startswith("./") else None)


@pytest.mark.parametrize("name", sorted(load_methods()))
def test_every_method_accepts_the_documented_keys(file: Path, name: str) -> None:
    config = SearchConfig.load(file, [f"method.name={name}"])
    assert make_method(config.method).name == name


def test_options_of_other_methods_are_passed_over() -> None:
    """So that `--set method.name=...` works on a file that was written for another method."""
    config = SearchConfig.load(None, ["method.name=revo-binary", "method.scale=linear"])
    assert "scale" not in make_method(config.method).options.model_dump()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["method.name=revo-continous"], "did you mean revo-continuous?"),
        (["method.algoritm=cma"], "did you mean method.algorithm?"),
        (["method.algorithm=genetic"], "'cma' is wanted, not 'genetic'"),
        (["method.low=1", "method.high=0"], "method.low: is 1; it must be below method.high, 0"),
        (["plugins=[no_such_module]"], "plugins: cannot load methods from 'no_such_module'"),
    ],
)
def test_method_options_are_checked_by_the_method(overrides: list[str], says: str) -> None:
    config = SearchConfig.load(None, overrides)
    with pytest.raises(UserError) as caught:
        make_method(config.method, config.plugins)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["revo-continuous", "revo-binary", "revo-mixed", "random"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_method_and_optimizer_has_one_range_of_rates(name: str, optimizer: str) -> None:
    settings = [f"method.name={name}", f"train.optimizer={optimizer}"]
    for given, found in (
        ([], (-6, 0)),
        (["method.high=-2"], (-6, -2)),
        (["method.low=-5"], (-5, 0)),
    ):
        config, method = resolve(SearchConfig.load(None, [*settings, *given]))
        assert (config.method.options["low"], config.method.options["high"]) == found
        assert (method.options.low, method.options.high) == found
