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
        (
            "search.evaluations=many",
            "search.evaluations: a whole number from 1 to 1,000,000 is wanted, not 'many'",
        ),
        (
            "search.evaluations=0",
            "a whole number from 1 to 1,000,000 is wanted, not 0 (from --set)",
        ),
        ("search.lookahead=31", "lookahead is 31; it may be at most 3 times the population, 10"),
        ("data.train_fraction=.nan", "data.train_fraction: "),
        ("data.train_fraction=0.7", "together they may be at most 1"),
        ("model.granularity=neuron", "'layer', 'block' or 'stage' is wanted, not 'neuron'"),
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


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("name=7", "7"),
        ("name=null", "null"),
        ("name=1e5", "1e5"),
        ("storage=photos #1", "photos #1"),
        ("data.root=photos #1", "photos #1"),
        ("data.root=a: b", "a: b"),
        ("data.root='quoted'", "'quoted'"),
        ("data.root=[2024] & more", "[2024] & more"),
        ("data.root=key=value", "key=value"),
        ("data.root= spaced ", " spaced "),
        ("data.root=007", "007"),
        ("data.root=~", "~"),
        ("data.root=null", None),
        ("data.root=", None),
        ("data.image_pattern=*{}.png", "*{}.png"),
        ("data.columns.image=id: code", "id: code"),
        ("data.columns.label=0", "0"),
        ("data.columns={image: id_code, label: 1}", {"image": "id_code", "label": "1"}),
        ("data.splits.train=0", "0"),
        ("data.splits={test: '1', train: a}", {"test": "1", "train": "a"}),
        ("data.splits=drawn", "drawn"),
        ("data.group_by=1", 1),
        ("data.group_by=-1", -1),
        ("data.group_by=[a-z]+", "[a-z]+"),
        (r"data.group_by=^(p\d+)_", r"^(p\d+)_"),
        ("data.group_by=null", None),
        ("data.intensity=[0, 4095]", (0.0, 4095.0)),
        ("data.intensity=auto", "auto"),
        ("data.exclude=['*_mask*', 'a b/#1']", ["*_mask*", "a b/#1"]),
        ("plugins=[]", []),
        ("resources.gpus_per_trial=0.5", 0.5),
        ("resources.gpus_per_trial=1", 1.0),
        ("resources.gpus_per_trial=auto", "auto"),
        ("search.warm_start=[a, b]", ["a", "b"]),
        ("train.clip_norm=null", None),
        ("train.decay_all=yes", True),
    ],
)
def test_an_override_is_text_to_the_letter_where_its_key_takes_text(
    override: str, value: object
) -> None:
    config: object = SearchConfig.load(None, [override])
    for name in override.partition("=")[0].split("."):
        if isinstance(config, dict) and name in config:
            config = config[name]
        elif not isinstance(config, dict):
            config = getattr(config, name)
    assert config == value
    assert type(config) is type(value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\nname: b\n", 2),
        ("data:\n  image_size: 32\n  source: digits\n  image_size: 64\n", 4),
        ("data: {columns: {label: a, label: a}}\n", 1),
        ("name: a\ndata: {}\ntrain: {}\n\n\n'data': {}\n", 6),
    ],
)
def test_a_key_that_stands_twice_is_an_error_with_its_line(
    file: Path, text: str, line: int
) -> None:
    file.write_text(text)
    assert f"{file} line {line}: the key " in error(file)
    assert "stands twice" in error(file)


def test_no_error_blames_a_file_that_the_user_did_not_write(file: Path) -> None:
    """An error names where the value came from, or nothing for a preset and a default."""
    for source in (None, "preset:quickstart"):
        line = error(source, ["train.warmup_epochs=10"])
        assert line.endswith("(from --set)")
        assert "preset" not in line
    file.write_text("data:\n  source: digits\n  test_fraction: 0.5\n  image_size: 64\n")
    sets = ["data.train_fraction=0.7"]
    assert error(file, sets).endswith(f"(from {file} line 3 and --set)")
    assert error(file, [*sets, "data.test_fraction=0.5"]).endswith("be at most 1 (from --set)")
    file.write_text("data:\n  source: digits\n")
    assert error(file, sets).endswith("be at most 1 (from --set)")
    config = SearchConfig.load(file, ["data={source: folder}"])
    assert config.locate(UserError("is null", key="data.source")) == "data.source: is null"
    config = SearchConfig.load("preset:quickstart")
    assert config.locate(UserError("wrong", key="data.source")) == "data.source: wrong"


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("lr=1", None),
        ("train.lr=1", None),
        ("epochs=1", "train.epochs"),
        ("trian.epochs=1", "train"),
        ("search.epochs=1", "train.epochs"),
        ("train.epoch=1", "train.epochs"),
        ("train.batch=1", "train.batch_size or train.batch_norm"),
        ("gpus=1", "resources.gpus_per_trial"),
        ("seed=1", "data.seed, train.seed or search.seed"),
        ("train.seeds=1", "train.seed"),
        ("evals=1", "search.evaluations"),
        ("model=resnet18", "model.name"),
        ("method=full", "method.name"),
        ("data=photos", "data.source"),
        ("models=x", "model"),
        ("train=x", None),
    ],
)
def test_the_nearest_key_is_sensible(override: str, hint: str | None) -> None:
    said = error(None, [override])
    assert ("did you mean" in said) == (hint is not None)
    assert hint is None or f"; did you mean {hint}? (from --set)" in said


def test_a_key_that_stands_twice_in_a_file(file: Path) -> None:
    file.write_text(FILE + "train:\n  epochs: 1\n  epochs: 2\n")
    first = FILE.count("\n") + 2
    lines = f"on lines {first} and {first + 1}"
    assert f"line {first + 1}: the key 'epochs' stands twice, {lines}" in error(file)


def test_a_dotted_key_in_a_file(file: Path) -> None:
    file.write_text("train.epochs: 3")
    assert "in a file, write epochs: below train: (from" in error(file)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.epochs=ten", "a whole number from 1 to 2,147,483,647 is wanted, not 'ten'"),
        ("train.momentum=1", "a number from 0 to below 1 is wanted, not 1"),
        ("train.ema=1", "a number above 0 and below 1 or null is wanted, not 1"),
        ("train.mixup=-1", "a number of at least 0 is wanted, not -1"),
        ("train.decay_all=maybe", "true or false is wanted, not 'maybe'"),
        (
            "data.train_fraction=2",
            "above 0 and below 1, 'rest' or 'auto' is wanted, not 2",
        ),
        ("data.intensity=[1]", "'auto' or a list of two numbers is wanted, not [1]"),
        ("data.intensity=5", "'auto' or a list of two numbers is wanted, not 5"),
        ("data.exclude=x", "data.exclude: a list of texts is wanted, not 'x'"),
        ("data.exclude=[null]", "data.exclude.0: a text is wanted, not null"),
        ("data.splits={train: null}", "data.splits.train: a text is wanted, not null"),
        ("data.splits={val: x}", "val: no such key; give 'train', 'validation' or 'test'"),
        ("data.columns={x: y}", "x: no such key; give 'image', 'label', 'split' or 'group'"),
        ("train=5", "train: a mapping of keys to values is wanted, not 5"),
    ],
)
def test_a_wrong_value_is_said_in_one_sentence(override: str, says: str) -> None:
    line = error(None, [override])
    assert says in line
    assert line.count("(from --set)") == 1
