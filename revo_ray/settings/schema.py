"""Every option, with its default and its check, in one file; and where each value was set."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from revo_ray.errors import UserError
from revo_ray.evolve.proposals import MOST_AHEAD
from revo_ray.storage import refuse_credentials


class _PlainLoader(yaml.SafeLoader):
    """Only what JSON has too. Without dates: `name: 2024-01-01` is a name."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Stop early: the time that reading takes grows with the square of the depth."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_DEPTH} deep", problem_mark=self.peek_event().start_mark
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_TAG = "tag:yaml.org,2002:"
_PlainLoader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != f"{_TAG}timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag not in {_TAG + name for name in ("binary", "timestamp", "set", "omap", "pairs")}
}

MAX_DEPTH = 30
MAX_VALUES = 100_000
MAX_DIGITS = 100
"""More than any configuration has, and little enough that nothing which reads it is slow."""
LARGEST = 2**31 - 1
"""The largest whole number that an option takes."""


class Section(BaseModel):
    """A part of the configuration: unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )


class ModelConfig(Section):
    """Which pretrained network."""

    name: str = "timm/tf_efficientnet_lite0"
    """`timm/NAME` or `torchvision/NAME`; `revo-ray models` lists them."""
    weights: str = "pretrained"
    """`pretrained`, `none`, a `.pth` or `.safetensors` file, or `package:NAME` for a package."""
    granularity: Literal["layer", "block", "stage"] = "layer"
    """What one gene stands for."""


class DataConfig(Section):
    """Which images, and how they are split."""

    source: str = "digits"
    """The reader of the data set: one of those in `revo_ray/data/sources/`."""
    root: str | None = None
    """A path or URI that pyarrow.fs opens; None for sources that need no files."""
    image_size: int = Field(64, ge=8, le=4096)
    """Pixels: the shorter side is resized to it, then the centre is cut out."""
    max_images: int | None = Field(None, ge=1, le=LARGEST)
    """A seeded, stratified subset of at most this many images; no group is cut."""
    on_bad_image: Literal["stop", "skip"] = "stop"
    """An image that cannot be used: stop and name it, or leave it out and count it."""
    splits: Literal["given", "drawn"] = "given"
    """given: those that folders, a csv or the data set's authors name; drawn: none of them."""
    train_fraction: float = Field(0.05, gt=0, lt=1)
    """Training images, as a fraction of the whole data set."""
    validation_fraction: float = Field(0.2, gt=0, lt=1)
    """Validation images, as a fraction of the whole data set: what the search sees."""
    test_fraction: float = Field(0.2, gt=0, lt=1)
    """Test images, as a fraction of the whole data set: seen once, by the best model."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the split and of the subset."""

    @field_validator("root")
    @classmethod
    def _root_has_no_credentials(cls, root: str | None) -> str | None:
        refuse_credentials(root or "", "data.root")
        return root

    @model_validator(mode="after")
    def _fractions_fit(self) -> DataConfig:
        total = self.train_fraction + self.validation_fraction + self.test_fraction
        if total > 1 + 1e-9:
            raise ValueError(
                f"train_fraction + validation_fraction + test_fraction is {total:g}; "
                "together they may be at most 1"
            )
        return self


class MethodConfig(BaseModel):
    """Which method; the other keys are that method's own (`revo-ray methods` lists them)."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str = "revo-continuous"

    @property
    def options(self) -> dict[str, Any]:
        """The method's own keys, unchecked; the method checks them."""
        return dict(self.model_extra or {})


class TrainConfig(Section):
    """One fine-tuning; the same for every evaluation of a search."""

    epochs: int = Field(10, ge=1, le=LARGEST)
    """Passes over the training images."""
    batch_size: int = Field(32, ge=2, le=LARGEST)
    """Images a step; a last batch of one image joins the one before it."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """With one rate for each unit. The paper's is plain sgd, which learns far less in few steps."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Of SGD; 0 is the paper's plain rule."""
    schedule: Literal["constant", "cosine"] = "constant"
    """What every rate is multiplied by, step by step; cosine falls from 1 to 0."""
    batch_norm: Literal["running", "precise"] = "precise"
    """What the BatchNorm layers that train normalise by in evaluation: running averages of their
    last steps, or precise statistics: of all training images, under the final weights. After few
    steps these are far apart; they cost one more forward pass (arXiv 2105.07576)."""
    augment: Literal["none", "flip", "crop-flip", "trivial"] = "none"
    """Of training images, on the device, seeded."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: automatic mixed precision."""
    validate_epochs: Literal["last", "every"] = "last"
    """Which epochs are validated; the search itself reads only the last."""
    cache_mb: int = Field(64, ge=0, le=LARGEST)
    """Features below the first unit that trains are kept in that much memory of each worker, where
    that changes no bit of any result; 0: they are computed each time."""
    time_limit: float | None = Field(None, gt=0)
    """Seconds that an evaluation may take; then its worker is killed and it is made again, three
    times at most. A worker's first one has five minutes more, to load. None: for ever."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the new head, the data order, the augmentation and dropout."""


class SearchOptions(Section):
    """The budget, and how proposals are made."""

    evaluations: int = Field(100, ge=1, le=1_000_000)
    """Ledger rows: fine-tunings that are paid for."""
    budget: Literal["evaluations", "epochs"] = "evaluations"
    """What a method that stops trials early is held to; for one that stops none it is the same."""
    population: int = Field(10, ge=4, le=10_000)
    """Evaluations a generation."""
    lookahead: int = Field(0, ge=0)
    """Candidates behind a generation that are sampled before it is told: no worker idles."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the proposals."""

    @model_validator(mode="after")
    def _lookahead_fits(self) -> SearchOptions:
        if self.lookahead > MOST_AHEAD * self.population:
            raise ValueError(
                f"lookahead is {self.lookahead}; it may be at most {MOST_AHEAD} times the "
                f"population, {self.population}"
            )
        return self


class ResourcesConfig(Section):
    """What one evaluation holds while it runs."""

    cpus_per_trial: int = Field(1, ge=1, le=LARGEST)
    """Cores, and threads of torch."""
    gpus_per_trial: float | Literal["auto"] = "auto"
    """GPUs; a fraction puts several evaluations on one. auto: 1 where the cluster has GPUs."""
    device: Literal["auto", "cpu"] = "auto"
    """cpu lets an evaluation that holds a GPU run without CUDA."""
    max_concurrent: int | None = Field(None, ge=1, le=LARGEST)
    """Evaluations at once; None: as many as the cluster holds."""
    fuse: Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"] = 1
    """Evaluations of a generation that train together in one process, as one stacked model, with
    the numbers that they have alone but for rounding. 1: each alone. auto: measured before the
    first one, on a GPU; 1 on a CPU."""

    @model_validator(mode="after")
    def _gpus_are_pinnable(self) -> ResourcesConfig:
        gpus = self.gpus_per_trial
        if gpus != "auto" and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise ValueError(
                f"gpus_per_trial is {gpus:g}; use 0, a fraction up to 1 or a whole number"
            )
        return self


class SearchConfig(Section):
    """One search, whole: what `revo-ray search` reads and `config.yaml` records.

    Example:
        >>> SearchConfig.load(overrides=["search.evaluations=20"]).search.evaluations
        20
    """

    name: str = Field("search", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The run directory's name, below `storage`."""
    storage: str = "./revo_results"
    """Any path or URI that pyarrow.fs opens."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    method: MethodConfig = MethodConfig()
    train: TrainConfig = TrainConfig()
    search: SearchOptions = SearchOptions()
    resources: ResourcesConfig = ResourcesConfig()
    plugins: list[str] = ["baselines"]
    """Modules that register more methods."""

    KIND: ClassVar[Literal["search", "study"]] = "search"

    @field_validator("storage")
    @classmethod
    def _storage_has_no_credentials(cls, storage: str) -> str:
        refuse_credentials(storage, "storage")
        return storage

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, source: str | Path | None = None, overrides: Iterable[str] = ()) -> Self:
        """Read a YAML file, or the built-in quick start, and apply overrides.

        Args:
            source: a file, `preset:NAME` for a configuration that comes with the package, or
                None for the quick start.
            overrides: `KEY=VALUE` strings, KEY dotted, VALUE in YAML.

        Raises:
            UserError: a missing file, a key that does not exist, or a value that does not fit;
                all of them in one line.
        """
        text, label = _read(source, cls.KIND)
        values, origins = _parse(text, label)
        values.pop("recorded", None)  # provenance, in the config.yaml of a run directory
        for override in overrides:
            refuse_credentials(override.partition("=")[0], "--set")
            _apply_override(values, origins, override)
        _refuse_credentials(values, origins)
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise UserError("; ".join(_explain(error, origins, cls))) from None
        config._origins.update(origins)
        return config

    def locate(self, error: UserError) -> str:
        """The error's line, with where the key that it names was set."""
        origin = self._origins.get(error.key or "")
        return f"{error} (from {origin})" if origin else str(error)


def preset_names(kind: Literal["search", "study"] = "search") -> list[str]:
    """The configurations that come with the package."""
    return sorted(
        p.name.removesuffix(".yaml") for p in _presets(kind).iterdir() if p.name.endswith(".yaml")
    )


def _presets(kind: str) -> Traversable:
    folder = resources.files("revo_ray") / "presets"
    return folder / "studies" if kind == "study" else folder


def _read(source: str | Path | None, kind: Literal["search", "study"]) -> tuple[str, str]:
    """The text of a configuration, and what to call it in an error."""
    if source is None:
        source = "preset:quickstart"
    if str(source).startswith("preset:"):
        name = str(source).removeprefix("preset:")
        if name not in preset_names(kind):
            known = ", ".join(preset_names(kind))
            raise UserError(f"no preset {shown(name)} of a {kind}; there are {known}")
        return (_presets(kind) / f"{name}.yaml").read_text("utf-8"), str(source)
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        hint = f"; did you mean preset:{path.stem}?" if path.stem in preset_names(kind) else ""
        raise UserError(
            f"cannot read the configuration {shown(str(path))}: {reason}{hint}"
        ) from None


def _parse(text: str, label: str) -> tuple[dict[str, Any], dict[str, str]]:
    """YAML to plain values, and the line on which each dotted key stands."""
    try:
        values, node = read_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise UserError(f"{label}{line}: {_cut(problem, 300)}") from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise UserError(f"{label}: a configuration is a mapping of keys to values")
    origins: dict[str, str] = {}

    def walk(node: yaml.Node, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                path = f"{prefix}{key.value}"
                origins[path] = f"{label} line {key.start_mark.line + 1}"
                walk(value, f"{path}.")

    assert node is not None
    walk(node, "")
    return values, origins


def read_yaml(text: str | bytes) -> tuple[Any, yaml.Node | None]:
    """The plain values in a text that anyone may have written, and the nodes that they came from.

    Raises:
        yaml.YAMLError: the text is no YAML, has values of other kinds, or is too deep or too large.
    """
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _measure(node, {})
        return loader.construct_document(node), node
    except (RecursionError, ValueError, LookupError, AttributeError) as error:
        # What YAML's own types raise: `!!int abc`, `!!bool maybe`.
        raise yaml.YAMLError(str(error)) from None


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]], above: int = 0) -> tuple[int, int]:
    """How many values a node holds with all that its aliases stand for, and how deep.

    Raises:
        yaml.YAMLError: too many, too deep, or a number that is too long.
    """
    if id(node) not in known:
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        elif node.tag in (f"{_TAG}int", f"{_TAG}float") and len(node.value) > MAX_DIGITS:
            raise _fault(node, f"a number of {len(node.value)} digits")
        measures = (
            [_measure(part, known, above + 1) for part in parts] if above <= MAX_DEPTH else []
        )
        known[id(node)] = (
            1 + sum(count for count, _ in measures),
            1 + max((depth for _, depth in measures), default=0),
        )
    count, depth = known[id(node)]
    if count > MAX_VALUES or above + depth > MAX_DEPTH:
        raise _fault(node, "too many values, or too deep; have its aliases no end?")
    return count, depth


def _fault(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def shown(value: Any) -> str:
    """A value as a message shows it: whole if it is short."""
    return _cut(repr(value))


def _cut(text: str, limit: int = 100) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def _apply_override(values: dict[str, Any], origins: dict[str, str], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not all(key.split(".")) or key.count(".") > MAX_DEPTH:
        raise UserError(
            f"--set {shown(override)}: write KEY=VALUE, for example search.evaluations=20"
        )
    try:
        value, _ = read_yaml(text)
    except yaml.YAMLError:
        value = text
    *sections, last = key.split(".")
    target = values
    for section in sections:
        inner = target.get(section)
        if not isinstance(inner, dict):
            inner = target[section] = {}
        target = inner
    target[last] = value
    origins[key] = "--set"


def _refuse_credentials(value: Any, origins: Mapping[str, str], key: str = "") -> None:
    """Before any other error can repeat them."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _refuse_credentials(inner, origins, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            _refuse_credentials(inner, origins, key)
    elif isinstance(value, str):
        try:
            refuse_credentials(value, key)
        except UserError as error:
            where = f" (from {origins[key]})" if key in origins else ""
            raise UserError(f"{error.args[0]}{where}", key=key) from None


def _explain(
    error: ValidationError, origins: Mapping[str, str], config: type[BaseModel]
) -> list[str]:
    """What is wrong, each in a line: the first ten things."""
    lines: list[str] = []
    for detail in error.errors():
        location = [str(part) for part in detail["loc"]]
        # Members of a union are no keys: pydantic appends them to the location.
        prefixes = [".".join(location[:n]) for n in range(len(location), 0, -1)]
        key = next((prefix for prefix in prefixes if prefix in origins), ".".join(location))
        where = f" (from {origins[key]})" if key in origins else ""
        if detail["type"] == "missing":
            key = ".".join(location)
        if detail["type"] == "extra_forbidden":
            lines.append(f"{_cut(key)}: no such key{_nearest_key(key, config)}{where}")
            continue
        message = detail["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        value = detail["input"]
        but = "" if isinstance(value, Mapping | BaseModel) else f", not {shown(value)}"
        line = f"{_cut(key)}: {message}{but}{where}" if key else message
        if line not in lines:
            lines.append(line)
    return lines[:10] + ([f"and {len(lines) - 10} more"] if len(lines) > 10 else [])


def _nearest_key(key: str, config: type[BaseModel]) -> str:
    """`; did you mean X?` for the known key nearest to an unknown one, or nothing."""
    known = _keys(config, "")
    by_last: dict[str, str] = {}
    for candidate in known:
        by_last.setdefault(candidate.rpartition(".")[2], candidate)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if not close:
        last = difflib.get_close_matches(key.rpartition(".")[2], by_last, n=1, cutoff=0.6)
        close = [by_last[last[0]]] if last else []
    return f"; did you mean {close[0]}?" if close else ""


def _keys(section: type[BaseModel], prefix: str) -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _keys(field.annotation, f"{prefix}{name}.")
    return keys
