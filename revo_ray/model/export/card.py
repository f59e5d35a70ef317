"""The model card in Markdown: data, training, scores and use of an exported model."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Sequence
from importlib import metadata

from revo_ray.model.description import Description
from revo_ray.model.load import LoadedModel
from revo_ray.objective import METRICS, Metric, Scores
from revo_ray.rundir.outcome import SearchResult
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import number_text, recipe_texts, times

PRACTICE = ("warmup_epochs", "label_smoothing", "mixup", "cutmix", "clip_norm", "ema")
"""Keys of `train` that a card names if they are set."""


def model_card(
    model: LoadedModel, result: SearchResult, unfinished: str | None, form: str, name: str
) -> str:
    """Write the card of one exported form.

    Args:
        model: the exported model.
        result: the outcome of its search, so far if the search is unfinished.
        unfinished: progress of an unfinished search, such as `12/100`; None if it is finished.
        form: `safetensors`, `onnx` or `torch-export`.
        name: file name of the exported folder or file.
    """
    config, description = model.config, model.description
    parts = [
        _front_matter(description),
        f"# {_one_line(config.name)}",
        f"`{description.model}`, fine-tuned on {_data(config)} to classify images into "
        f"{len(description.labels)} classes. revo-ray searched for a learning rate for each of its "
        f"{len(model.units)} units. The weights are those of evaluation {model.evaluation}, which "
        f"had the best validation {config.search.metric.title}."
        + (f" **The search is not finished** ({unfinished})." if unfinished else ""),
        "## Use\n\n" + _use(description, form, name),
        "## Images\n\n" + _images(config, description),
        "## Classes\n\n" + ", ".join(f"{i} {_code(x)}" for i, x in enumerate(description.labels)),
        "## Scores\n\n" + _scores(result, config.search.metric),
        "## Data\n\n" + _list(_data_entries(model)),
        "## Budget\n\n" + _list(_budget_entries(config, result)),
        "## Plan\n\n" + _plan(model),
        "## Versions\n\n" + _list(_version_entries(model)),
        "## Licence\n\nFill this in before you publish the model. The weights that the "
        f"training started from ({_start(config)}) and the images have licences of their own.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(description: Description) -> str:
    return (
        "---\n"
        "# license: fill in\n"
        f"library_name: {description.library}\n"
        "pipeline_tag: image-classification\n"
        f"tags: [image-classification, {description.library}, revo-ray]\n"
        "---"
    )


def _use(description: Description, form: str, name: str) -> str:
    size = description.image_size
    if form == "onnx":
        return _block(
            "import json, onnxruntime",
            f"session = onnxruntime.InferenceSession({name!r})",
            'labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])',
            'logits = session.run(None, {"images": images})[0]  '
            f"# images: (N, 3, {size}, {size}) uint8, RGB",
        )
    if form == "torch-export":
        return _block(
            "import json, torch",
            'extra = {"labels": ""}',
            f"model = torch.export.load({name!r}, extra_files=extra).module()",
            f"logits = model(images)  # images: (N, 3, {size}, {size}) uint8, RGB; "
            'json.loads(extra["labels"])',
        )
    if description.library == "timm":
        return _block(
            "import timm, torch",
            f'model = timm.create_model("local-dir:{name}", pretrained=True).eval()',
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
            'logits = model(transform(image.convert("RGB"))[None])  # image: PIL\'s',
            'label = model.pretrained_cfg["label_names"][logits.argmax()]',
        )
    return _block(
        "import json, torchvision, safetensors.torch",
        f'config = json.load(open("{name}/config.json"))',
        'model = torchvision.models.get_model(config["architecture"], '
        'num_classes=config["num_classes"], **config["model_args"]).eval()',
        f'model.load_state_dict(safetensors.torch.load_file("{name}/model.safetensors"))',
        '# takes normalised images, see below; config["label_names"] names its logits',
    )


def _images(config: SearchConfig, description: Description) -> str:
    size = description.image_size
    cut = _block(
        "import numpy, PIL.Image, PIL.ImageOps",
        'image = PIL.ImageOps.exif_transpose(PIL.Image.open("image.png")).convert("RGB")',
        "left, top = ((length - min(image.size)) / 2 for length in image.size)",
        "box = (left, top, left + min(image.size), top + min(image.size))",
        f"pixels = image.resize(({size}, {size}), PIL.Image.Resampling.BICUBIC, box)",
        f"images = numpy.asarray(pixels).transpose(2, 0, 1)[None]  # (1, 3, {size}, {size}) uint8",
    )
    return (
        "The model takes RGB images. Turn an image upright, cut out its centre square and resize "
        f"that to {size} × {size} pixels with Pillow's bicubic filter:\n\n"
        f"{cut}\n\n"
        "The search also laid transparent pixels over white, scaled 16-bit grey to 8 bits, and "
        "decoded large JPEG files at a reduced scale of at least twice the size.\n\n"
        f"Normalisation is `(images / 255 - mean) / std` with mean {list(description.mean)} and "
        f"std {list(description.std)}. ONNX files and torch programs take uint8 images and "
        "normalise them; the weights in a folder take normalised images."
        + (
            "\n\nThe search computed in bf16 (automatic mixed precision); the exported model "
            "computes in fp32."
            if config.train.precision == "bf16"
            else ""
        )
    )


def _scores(result: SearchResult, objective: Metric) -> str:
    header = ["images", *(metric.title for metric in METRICS.values())]
    scores = {"validation": result.validation_scores, "test": result.test_scores}
    rows = [
        [images, *(number_text(metric.value(found or Scores())) for metric in METRICS.values())]
        for images, found in scores.items()
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    lines.insert(1, "|---" * len(header) + "|")
    note = (
        f"The search chose by validation {objective.title}; the test images were seen "
        f"{times(result.test_looks)}, the last time by this model."
        if result.test
        else "The test images have not been seen yet. At its end the search tests the best model."
    )
    return "\n".join([*lines, "", note])


def _data(config: SearchConfig) -> str:
    """The source of the images and its last folder, without the folders above."""
    root = config.data.root
    if root is None:
        return _code(config.data.source)
    path = root.partition("?")[0] if "://" in root else root  # without the store's options
    return f"{_code(config.data.source)} ({_code(posixpath.basename(path.rstrip('/')))})"


def _fraction(fraction: float | str) -> str:
    return "all that are left" if isinstance(fraction, str) else f"{fraction:g} of all"


def _data_entries(model: LoadedModel) -> list[tuple[str, object]]:
    data, sha256 = model.config.data, model.provenance.get("sha256") or {}
    entries: list[tuple[str, object]] = [
        ("source", _data(model.config)),
        ("training images", _fraction(data.train_fraction)),
        ("validation, test", f"{data.validation_fraction:g}, {data.test_fraction:g} of all"),
        ("splits", f"{data.splits}, seed {data.seed}"),
    ]
    if data.max_images is not None:
        entries.append(("images at most", data.max_images))
    if sha256.get("table"):
        entries.append(("SHA-256 of the image table", f"`{sha256['table']}`"))
    return entries


def _budget_entries(config: SearchConfig, result: SearchResult) -> list[tuple[str, object]]:
    statuses = ", ".join(f"{count} {status}" for status, count in result.statuses.items())
    chosen = {k: v for k, v in config.method.options.items() if v is not None}
    options = ", ".join(f"{k} {_plain(v)}" for k, v in chosen.items())
    train = config.train
    momentum = f", momentum {train.momentum:g}" if train.optimizer == "sgd" else ""
    practice = {key: value for key in PRACTICE if (value := getattr(train, key))}
    return [
        ("method", _code(config.method.name) + (f" ({_one_line(options)})" if options else "")),
        ("evaluations", f"{result.evaluations} of {config.search.evaluations} ({statuses})"),
        ("epochs", f"{result.epochs}; an evaluation that is not stopped early has {train.epochs}"),
        ("training images seen", f"{result.images:,}"),
        ("device-seconds", f"{result.device_seconds:,.1f}"),
        (
            "training",
            f"{train.optimizer}{momentum}, {train.schedule} schedule, batches "
            f"of {train.batch_size}, augmentation {train.augment}, "
            + ", ".join([*recipe_texts(practice), train.precision]),
        ),
        ("seeds", f"data {config.data.seed}, training {train.seed}, search {config.search.seed}"),
    ]


def _plan(model: LoadedModel) -> str:
    plan = model.plan
    rates = [("frozen" if lr == 0 else f"{lr:.6g}") for lr in plan.unit_lrs]
    rows = [f"| `{u}` | {r} |" for u, r in zip(model.units, rates, strict=True)]
    frozen = sum(plan.frozen)
    policy = "" if plan.policy is None else f" Policy: `{json.dumps(dict(plan.policy))}`."
    settings = ", ".join([f"weight decay {plan.weight_decay:g}", *recipe_texts(plan.recipe)])
    return (
        f"{frozen} of {len(plan.unit_lrs)} units frozen; {settings}."
        f"{policy}\n\n| unit | learning rate |\n|---|---|\n" + "\n".join(rows)
    )


def _version_entries(model: LoadedModel) -> list[tuple[str, object]]:
    provenance = model.provenance
    sha256 = (provenance.get("sha256") or {}).get("weights")
    now = {name: metadata.version(name) for name in ("torch", "torchvision", "timm")}
    return [
        ("search", _versions((provenance.get("versions") or {}).items())),
        ("revision", _code(str(provenance.get("revision") or "not recorded"))),
        ("export", _versions(now.items())),
        ("started from", _start(model.config) + (f", SHA-256 `{sha256}`" if sha256 else "")),
    ]


def _start(config: SearchConfig) -> str:
    """The initial weights: their name, or the file without the folders above."""
    weights = config.model.weights
    if weights == "none":
        return "random weights"
    return _code(posixpath.basename(config.model.weights_file or weights))


def _versions(versions: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions)


def _list(entries: Sequence[tuple[str, object]]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in entries)


def _block(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _code(text: str) -> str:
    return f"`{_one_line(text).replace('`', chr(39))}`"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
