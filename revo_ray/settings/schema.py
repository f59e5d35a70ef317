"""The configuration: every key with its default, its check and its meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from revo_ray.credentials import refuse_credentials
from revo_ray.errors import UserError
from revo_ray.evolve.proposals import MOST_AHEAD
from revo_ray.objective import METRICS, Metric, MetricName
from revo_ray.settings.duration import Duration
from revo_ray.settings.limits import LARGEST, LARGEST_SIDE, MAX_PIXELS
from revo_ray.settings.loading import explain, read_values
from revo_ray.settings.open_keys import open_keys
from revo_ray.settings.section import Section as Section
from revo_ray.settings.train_config import TrainConfig as TrainConfig
from revo_ray.uris import LONGEST_NAME

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

ResultForm = Literal["best", "ensemble", "soup"]
"""Forms in which a search hands its result over, the values of `search.result`."""


class ModelConfig(Section):
    """The pretrained network."""

    name: str = "timm/tf_efficientnet_lite0"
    """`timm/NAME` or `torchvision/NAME`; `revo-ray models` lists them."""
    weights: str = "pretrained"
    """`pretrained`, or `pretrained:NAME` for a variant of torchvision's or timm's; `none`; or a
    `.pth`, `.ckpt` or `.safetensors` file. `FILE#KEY` is one of several state dicts in a file,
    `package:NAME` the weights that an installed Python package holds."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """SHA-256 that the file of the weights must have, as `recorded.sha256` shows it. None: any."""
    granularity: Literal["layer", "block", "stage"] = "layer"
    """Size of a unit, the part of the network that shares one gene."""

    @property
    def weights_file(self) -> str | None:
        """The weights if they are a file; None if they are given by name."""
        by_name = self.weights.partition(":")[0] in ("pretrained", "none", "package")
        return None if by_name else self.weights


class DataConfig(Section):
    """The images, and how they are split into training, validation and test images."""

    source: str = "digits"
    """Kind of the data set: `folder`, `csv`, `parquet`, `ham10000`, `busi`, `leaves`, `srsmas`,
    `fashion-mnist` or `digits`."""
    root: str | None = None
    """Path or URI of the data set, which pyarrow.fs opens. None for sources that need no files."""
    image_size: int = Field(64, ge=8, le=LARGEST_SIDE)
    """Pixels. Images become squares of this side, as `fit` says."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """crop: the centre square. pad: the whole image, between two black bars. stretch: the whole
    image, out of proportion."""
    intensity: Literal["auto"] | tuple[float, float] = "auto"
    """[low, high]: the values that become black and white in images of more than 8 bits, signed or
    float. auto: one range for all such images, found in them."""
    max_pixels: int = Field(MAX_PIXELS, ge=1, le=LARGEST)
    """An image that declares more cannot be used, unless it is a JPEG, which is read at a reduced
    scale. The default takes up to 1.5 GB of memory, however many cores decode."""
    columns: dict[Literal["image", "label", "split", "group"], str] = Field({})
    """Columns of a table by other names than `image`, `label`, `split` and `group`, as in
    `{image: id_code}`. In a csv their case does not count."""
    image_pattern: str = "{}"
    """Path or URI of an image, with `{}` for what its cell says, such as `train_images/{}.png`; a
    path is relative to the table."""
    exclude: list[str] = Field([])
    """Files and folders that are left out, as patterns with `*` and `?`: `*_mask.*`, `masks`. A
    pattern with a slash fits the path from the root: `test/*`."""
    max_images: int | None = Field(None, ge=1, le=LARGEST)
    """Use at most this many images: a seeded, stratified subset that keeps groups whole."""
    on_bad_image: Literal["stop", "skip"] = "stop"
    """stop: an image that cannot be used ends the command, which names it. skip: such images are
    left out and counted."""
    splits: Literal["given", "drawn"] | dict[Literal["train", "validation", "test"], str] = "given"
    """given: keep the splits that folders, a table or the data set's authors name. drawn: ignore
    them and draw new ones. {train: NAME, …}: folders, or values of the table's column, that are
    these splits; `*` in a name fits any text, and several values stand with commas, as in
    `"0, 1, 2"`. {}: no folder is a split, each is a class."""
    group_by: int | str | None = None
    """Images that belong together, such as a patient's, stay in one split. A number: the folder at
    that level of the path, 1 below the root, -1 around the image. Text: a regular expression,
    whose first group in the path, or match, names the group; or a column of the table. Equal names
    are one group, in all classes."""
    near_duplicates: Literal["warn", "group", "drop"] = "warn"
    """Images that look nearly the same. warn: say how many stand in two splits. group: keep them
    in one split. drop: keep the first of them."""
    min_per_class: int = Field(1, ge=1, le=LARGEST)
    """Classes of fewer images are left out. 1: none is, and a class without images is an error."""
    train_fraction: Annotated[float, Field(gt=0, lt=1)] | Literal["rest", "auto"] = "auto"
    """Training images, as a fraction of the whole data set. rest: all that validation and test
    leave. auto: rest if the data set brings a validation or test split, else 0.05."""
    validation_fraction: float = Field(0.2, gt=0, lt=1)
    """Validation images, as a fraction of the whole data set. The search optimises on them."""
    test_fraction: float = Field(0.2, gt=0, lt=1)
    """Test images, as a fraction of the whole data set. Only the forms of the result are
    tested, when the search ends."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the splits and of the subset."""

    @field_validator("root")
    @classmethod
    def _root_has_no_credentials(cls, root: str | None) -> str | None:
        refuse_credentials(root or "", "data.root")
        return root

    @field_validator("intensity")
    @classmethod
    def _black_is_below_white(
        cls, intensity: Literal["auto"] | tuple[float, float]
    ) -> Literal["auto"] | tuple[float, float]:
        if intensity != "auto" and not intensity[0] < intensity[1]:
            raise ValueError("[low, high] needs a low below its high")
        return intensity

    @model_validator(mode="after")
    def _fractions_fit(self) -> DataConfig:
        held_out = self.validation_fraction + self.test_fraction
        if isinstance(self.train_fraction, str):
            if held_out > 1 - 1e-9:
                raise ValueError(
                    f"validation_fraction + test_fraction is {held_out:g}; together they must be "
                    "below 1"
                )
        elif (total := self.train_fraction + held_out) > 1 + 1e-9:
            raise ValueError(
                f"train_fraction + validation_fraction + test_fraction is {total:g}; "
                "together they may be at most 1"
            )
        return self


class MethodConfig(BaseModel):
    """The method. `revo-ray methods` lists the further keys that each method takes."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str = "revo-continuous"
    """A registered method; `revo-ray methods` lists them."""

    @property
    def options(self) -> dict[str, Any]:
        """The method's own keys. The method validates them."""
        return dict(self.model_extra or {})


class SearchOptions(Section):
    """The budget, and settings of the proposals."""

    evaluations: int = Field(100, ge=1, le=1_000_000)
    """Number of evaluations. Each is one row of the ledger, also if it failed. A resumed search may
    have more than it was started with, but not fewer."""
    budget: Literal["evaluations", "epochs"] = "evaluations"
    """Budget for methods that stop trials early: that many evaluations, or the epochs of that many
    whole evaluations. Other methods spend the same number of evaluations either way."""
    population: int = Field(10, ge=4, le=10_000)
    """Evaluations per generation."""
    lookahead: int = Field(0, ge=0)
    """Candidates of the next generation that are sampled before the current one is complete, so
    that no worker waits for its end."""
    stop_after: Duration | None = None
    """Time after which a command ends its search or study: `2h`, `90m`, `1h30m` or seconds.
    Evaluations that run are given up, and the result is made and tested. `--resume` makes them
    again and goes on. None: the whole budget is spent."""
    objective: MetricName = "loss"
    """Metric of the validation images by which evaluations are compared and the best is chosen."""
    keep: int = Field(10, ge=1, le=1000)
    """Number of evaluations, the best ones, whose weights stay in `models/`: the soup is made of
    them, and the ensemble's other members are trained again."""
    predictions: Literal["float32", "float16", "none"] = "float32"
    """Precision in which the validation logits of each evaluation are kept, of which the ensemble
    is chosen. none: they are not kept, there is no ensemble, and the best model stands in its
    place."""
    result: ResultForm = "ensemble"
    """Form of the result that predict, export and `revo_ray.load` take: the best evaluation, the
    ensemble of several (the mean of their probabilities), or the soup (the mean of their
    weights)."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the proposals."""
    warm_start: list[str] = Field([])
    """Run directories of earlier searches (paths or URIs). The rates of their best evaluations,
    mapped by depth to other networks, are where the search begins, in place of a sweep. Methods
    that search no rates on a log scale refuse it, also in a study."""

    @field_validator("warm_start")
    @classmethod
    def _warm_start_has_no_credentials(cls, directories: list[str]) -> list[str]:
        for directory in directories:
            refuse_credentials(directory, "search.warm_start")
        return directories

    @property
    def metric(self) -> Metric:
        """The objective."""
        return METRICS[self.objective]

    @model_validator(mode="after")
    def _lookahead_fits(self) -> SearchOptions:
        if self.lookahead > MOST_AHEAD * self.population:
            raise ValueError(
                f"lookahead is {self.lookahead}; it may be at most {MOST_AHEAD} times the "
                f"population, {self.population}"
            )
        return self


class ResourcesConfig(Section):
    """CPU cores and GPUs of one evaluation."""

    cpus_per_trial: int = Field(1, ge=1, le=LARGEST)
    """Cores of an evaluation, and its number of torch threads."""
    gpus_per_trial: float | Literal["auto"] = "auto"
    """GPUs of an evaluation, at most 1. A fraction puts several evaluations on one GPU. auto: 1 if
    the cluster has GPUs, else 0."""
    device: Literal["auto", "cpu"] = "auto"
    """cpu: evaluations run without CUDA, even if Ray gives them a GPU."""
    max_concurrent: int | None = Field(None, ge=1, le=LARGEST)
    """Most evaluations that run at the same time. None: as many as the cluster holds."""

    @model_validator(mode="after")
    def _gpus_are_pinnable(self) -> ResourcesConfig:
        gpus = self.gpus_per_trial
        if gpus != "auto" and not 0 <= gpus <= 1:
            raise ValueError(
                f"gpus_per_trial is {gpus:g}; use 0, a fraction or 1: an evaluation trains on one "
                "GPU, and a second would idle"
            )
        return self


class SearchConfig(Section):
    """Configuration of one search. `revo-ray search` reads it and `config.yaml` records it.

    Example:
        >>> SearchConfig.load(overrides=["search.evaluations=20"]).search.evaluations
        20
    """

    name: str = "search"
    """Name of the run directory, below `storage`: letters, digits, `.`, `_` and `-`."""
    storage: str = "./revo_results"
    """Folder of the run directories: a path or URI that pyarrow.fs opens."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    method: MethodConfig = MethodConfig()
    train: TrainConfig = TrainConfig()
    search: SearchOptions = SearchOptions()
    resources: ResourcesConfig = ResourcesConfig()
    plugins: list[str] = Field(["baselines"])
    """Modules that register further methods."""
    trackers: list[str] = Field([])
    """Trackers that the search is sent to while it runs: `mlflow`, `wandb`, or one that an
    installed package brings."""

    KIND: ClassVar[Literal["search", "study"]] = "search"

    @property
    def has_sweep(self) -> bool:
        """Whether the first generation is a sweep, if the method's options are all there."""
        return bool(self.method.options.get("sweep")) and not self.search.warm_start

    @field_validator("trackers", mode="before")
    @classmethod
    def _one_tracker_is_a_list(cls, trackers: Any) -> Any:
        return [trackers] if isinstance(trackers, str) else trackers

    @field_validator("name")
    @classmethod
    def _name_is_of_a_folder(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(
                "give a name of letters, digits, '.', '_' and '-' that begins with a letter or a "
                "digit; `storage` takes any path"
            )
        if len(name) > LONGEST_NAME:
            raise ValueError(f"give a name of at most {LONGEST_NAME} letters")
        return name

    @field_validator("storage")
    @classmethod
    def _storage_has_no_credentials(cls, storage: str) -> str:
        refuse_credentials(storage, "storage")
        return storage

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _open: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def open_keys(self) -> frozenset[str]:
        """Keys that a search of images chooses; see `run_search`."""
        return self._open

    def filled_in(self, chosen: Mapping[str, Any]) -> Self:
        """The configuration with dotted keys at the chosen values, and none left open.

        Raises:
            UserError: a value does not fit the others.
        """
        values = self.model_dump()
        for key, value in chosen.items():
            section, _, name = key.partition(".")
            values[section][name] = value
        try:
            filled = type(self).model_validate(values)
        except ValidationError as error:
            raise UserError(explain(error, type(self), self._origins)) from None
        filled._origins.update(self._origins)
        return filled

    @classmethod
    def load(cls, source: str | Path | None = None, overrides: Iterable[str] = ()) -> Self:
        """Read a YAML file, or the built-in quick start, and apply overrides.

        Args:
            source: a file, `preset:NAME` for a configuration that comes with the package, a folder,
                an archive or a table of images, or None for the quick start.
            overrides: `KEY=VALUE` texts with a dotted KEY. VALUE is taken to the letter where the
                key takes text, else as YAML.

        Raises:
            UserError: the file is missing, a key does not exist, or a value does not fit. The
                message lists all errors in one line.
        """
        values, origins = read_values(source, overrides, cls.KIND, cls)
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise UserError(explain(error, cls, origins)) from None
        config._origins.update(origins)
        if cls.KIND == "search":
            config._open = open_keys(source, values, origins)
        return config

    def locate(self, error: UserError) -> str:
        """The error's message, followed by the file and line that set its key."""
        origin = self._origins.get(error.key or "")
        return f"{error} (from {origin})" if origin else str(error)
