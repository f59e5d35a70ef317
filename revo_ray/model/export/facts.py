"""Facts about a model, as sections of Markdown, which stand on its card in every format."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import Any

from pydantic import TypeAdapter

from revo_ray.errors import UserError, printable
from revo_ray.finetune.plan import Plan
from revo_ray.model.description import Description
from revo_ray.model.export.weights_licence import licence_of
from revo_ray.objective import METRICS, Scores
from revo_ray.rundir.recorded_config import RecordedConfig
from revo_ray.settings.safe_json import read_json
from revo_ray.settings.schema import SearchConfig
from revo_ray.storage import Storage
from revo_ray.uris import folder_name
from revo_ray.words import number_text, recipe_texts, without_home

FACTS = "card.json"
"""The file in an exported folder that holds the facts."""

PRACTICE = ("warmup_epochs", "label_smoothing", "mixup", "cutmix", "clip_norm", "ema")
"""Keys of `train` that a card names if they are set."""

Row = tuple[str, Scores, Mapping[str, tuple[float, float]]]
"""Images that were scored, the scores, and intervals of them by metric."""


@dataclass(frozen=True)
class Facts:
    """Facts about a model.

    Attributes:
        title: heading of its card.
        subject: the model in a few words: `evaluation 12`, `ensemble of 5 evaluations`.
        about: a paragraph that says how it was made.
        sections: further paragraphs by their headings, in order.
        unfinished: progress of an unfinished search, such as `12/100`; None if it is finished.
    """

    title: str
    subject: str
    about: str
    sections: dict[str, str] = field(default_factory=dict)
    unfinished: str | None = None

    def to_json(self) -> str:
        """The file `card.json`."""
        return without_home(json.dumps(asdict(self), indent=2, ensure_ascii=False)) + "\n"


_FACTS = TypeAdapter(Facts)


def read_facts(storage: Storage, description: Description) -> Facts:
    """Read the facts in an exported folder; of one that has none, say what its files say.

    Raises:
        UserError: they are damaged.
        OSError: the storage is unreachable.
    """
    try:
        found = _FACTS.validate_python(read_json(storage.read(FACTS)))
    except FileNotFoundError:
        return Facts(heading(folder_name(storage.uri)), "model", f"{opening(description)}.")
    except ValueError:
        raise UserError(
            f"{storage.child(FACTS).uri!r} is damaged; delete it, and the card says less"
        ) from None
    return replace(
        found,
        title=neutral(" ".join(found.title.split())),
        about=neutral(found.about),
        sections={neutral(name): neutral(text) for name, text in found.sections.items()},
    )


def opening(description: Description) -> str:
    """The first words about a model."""
    return (
        f"{code(description.model)}, which classifies images into {len(description.labels)} classes"
    )


def bf16_note(config: SearchConfig) -> str:
    """A sentence about precision, if it is not the exported model's."""
    if config.train.precision != "bf16":
        return ""
    return (
        " The training computed in bf16 (automatic mixed precision); the exported model computes "
        "in fp32."
    )


def score_table(rows: Sequence[Row]) -> str:
    """Scores as a table, with their intervals."""
    header = ["images", *(metric.title for metric in METRICS.values())]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for images, scores, intervals in rows:
        cells = [
            number_text(metric.value(scores)) + _interval(intervals.get(name))
            for name, metric in METRICS.items()
        ]
        lines.append(f"| {' | '.join([images, *cells])} |")
    return "\n".join(lines)


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" ({number_text(interval[0])}–{number_text(interval[1])})"


def data_name(config: SearchConfig) -> str:
    """The source of the images and its last folder, without the folders above."""
    root = config.data.root
    if root is None:
        return code(config.data.source)
    return f"{code(config.data.source)} ({code(folder_name(root))})"


def data_entries(recorded: RecordedConfig, splits: Mapping[str, int]) -> list[tuple[str, object]]:
    """The data set, and how it was split."""
    data, sha256 = recorded.config.data, recorded.provenance.get("sha256") or {}
    entries: list[tuple[str, object]] = [("source", data_name(recorded.config))]
    if splits:
        names = {"train": "training", "validation": "validation", "test": "test"}
        counts = [f"{splits[key]:,} {name}" for key, name in names.items() if key in splits]
        entries.append(("images", ", ".join(counts)))
    entries += [
        ("training images", _fraction(data.train_fraction)),
        ("validation, test", f"{data.validation_fraction:g}, {data.test_fraction:g} of all"),
        ("splits", f"{_splits(data.splits)}, seed {data.seed}"),
    ]
    if data.max_images is not None:
        entries.append(("images at most", data.max_images))
    if sha256.get("table"):
        entries.append(("SHA-256 of the image table", code(str(sha256["table"]))))
    return entries


def _splits(splits: object) -> str:
    if splits == "given":
        return "those of the data set, and drawn at random where it has none"
    return "drawn at random" if splits == "drawn" else plain(splits)


def _fraction(fraction: float | str) -> str:
    return "all that are left" if isinstance(fraction, str) else f"{fraction:g} of all"


def training_text(config: SearchConfig) -> str:
    """The settings of one fine-tuning in a line."""
    train = config.train
    momentum = f", momentum {train.momentum:g}" if train.optimizer == "sgd" else ""
    practice = {key: value for key in PRACTICE if (value := getattr(train, key))}
    return (
        f"{train.optimizer}{momentum}, {train.schedule} schedule, batches of {train.batch_size}, "
        f"augmentation {train.augment}, " + ", ".join([*recipe_texts(practice), train.precision])
    )


def plan_section(plan: Plan, units: Sequence[str]) -> str:
    """The rates of a plan as a table."""
    rates = [("frozen" if lr == 0 else f"{lr:.6g}") for lr in plan.unit_lrs]
    rows = [f"| {code(u)} | {r} |" for u, r in zip(units, rates, strict=True)]
    frozen = sum(plan.frozen)
    policy = "" if plan.policy is None else f" Policy: {plain(dict(plan.policy))}."
    settings = ", ".join([f"weight decay {plan.weight_decay:g}", *recipe_texts(plan.recipe)])
    return (
        f"{frozen} of {len(plan.unit_lrs)} units frozen; {settings}."
        f"{policy}\n\n| unit | learning rate |\n|---|---|\n" + "\n".join(rows)
    )


def version_entries(recorded: RecordedConfig) -> list[tuple[str, object]]:
    """Versions of the search's packages, and of those that export it."""
    provenance = recorded.provenance
    sha256 = (provenance.get("sha256") or {}).get("weights")
    revision = provenance.get("hub_revision")
    weights = [
        *([f"revision {code(str(revision))} of the Hub"] if revision else []),
        *([f"SHA-256 {code(str(sha256))}"] if sha256 else []),
    ]
    now = {name: metadata.version(name) for name in ("torch", "torchvision", "timm")}
    search: list[tuple[str, object]] = [
        ("search", _versions((provenance.get("versions") or {}).items())),
        ("revision", code(str(provenance.get("revision") or "not recorded"))),
    ]
    return [
        *(search if provenance else ()),
        ("export" if provenance else "training", _versions(now.items())),
        ("started from", ", ".join([_start(recorded.config), *weights])),
    ]


def licence_text(config: SearchConfig) -> str:
    """The licence and the source of the weights that a training started from."""
    found = licence_of(config.model)
    stated = "" if found is None else "\n\n" + bullets([*found.items()])
    return (
        "Fill this in before you publish the model. The weights that the training started from "
        f"({_start(config)}) and the images have licences of their own.{stated}"
    )


def _start(config: SearchConfig) -> str:
    """The initial weights: their name, or the file without the folders above."""
    weights = config.model.weights
    if weights == "none":
        return "random weights"
    return code(posixpath.basename(config.model.weights_file or weights))


def _versions(versions: Iterable[tuple[str, object]]) -> str:
    return ", ".join(code(f"{name} {version}") for name, version in versions)


def bullets(entries: Iterable[tuple[str, object]]) -> str:
    """Facts as a list."""
    return "\n".join(f"- {name}: {value}" for name, value in entries)


def code(text: str) -> str:
    """A text of a file in the type of programs: Markdown reads no tag, link or table in it."""
    line = printable(" ".join(text.split())).replace("`", "'").replace("|", "¦")
    return f"`{line}`" if line else "–"


def heading(text: str) -> str:
    """A text of a file as it is, for a heading or between other words."""
    return re.sub(r"(?i)([\\`*\[\]<>|~&:@]|(?<=www)\.)", r"\\\1", printable(" ".join(text.split())))


def plain(value: Any) -> str:
    """A setting as people read it."""
    return code(value if isinstance(value, str) else json.dumps(value))


def neutral(markdown: str) -> str:
    """Markdown of a file in which tags and links are text; tables, lists and code stay."""
    escaped = {
        "<": "&lt;",
        "~~~": r"\~~~",
        "](": "]\\(",
        "]:": "]\\:",
        "][": "]\\[",
        "://": r"\://",
        "www.": r"www\.",
    }
    parts = r"\\.|<|~~~|\]\(|\]:|\]\[|://|www\."
    return re.sub(
        parts,
        lambda found: escaped.get(found[0].lower(), found[0]),
        printable(markdown, keep="\n"),
        flags=re.I,
    )
