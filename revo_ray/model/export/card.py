"""The model card: what a model was made of, how it scored and what it takes, in Markdown."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Sequence
from importlib import metadata

from revo_ray.model.export.description import Description
from revo_ray.model.export.searched import Searched
from revo_ray.report.outcomes import Scores, SearchOutcome
from revo_ray.settings.schema import SearchConfig
from revo_ray.words import number_text

FORMATS = ("safetensors", "onnx", "torch-export")


def model_card(searched: Searched, outcome: SearchOutcome, form: str, name: str) -> str:
    """A card for one exported form.

    Args:
        outcome: of the search.
        form: one of `FORMATS`.
        name: of the exported folder or file.
    """
    config, description = searched.config, searched.description
    parts = [
        _front_matter(description),
        f"# {_one_line(config.name)}",
        f"`{description.model}` fine-tuned on {_data(config)} to tell {len(description.labels)} "
        f"classes apart, by revo-ray: a search for the learning rate of each of its "
        f"{len(searched.units)} units. These are the weights of evaluation {searched.evaluation}, "
        "which had the least validation loss."
        + ("" if outcome.done else f" **The search is not finished** ({outcome.progress})."),
        "## Use\n\n" + _use(description, form, name),
        "## Images\n\n" + _images(config, description),
        "## Classes\n\n" + ", ".join(f"{i} {_code(x)}" for i, x in enumerate(description.labels)),
        "## Scores\n\n" + _scores(outcome),
        "## Data\n\n" + _facts(_data_facts(searched)),
        "## Budget\n\n" + _facts(_budget_facts(config, outcome)),
        "## Plan\n\n" + _plan(searched),
        "## Versions\n\n" + _facts(_version_facts(searched)),
        "## Licence\n\nTo be filled in by whoever publishes this model: the weights that it "
        f"started from ({_start(config)}) and the images have licences of their own.",
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
        f"RGB, the upright centre square, resized to {size} × {size} pixels with Pillow's bicubic "
        "filter:\n\n"
        f"{cut}\n\n"
        "Transparent pixels lie over white, 16-bit grey is scaled to 8 bits, and a large JPEG may "
        "be decoded at a reduced scale, of at least twice the size.\n\n"
        f"Normalisation: `(images / 255 - mean) / std` with mean {list(description.mean)} and std "
        f"{list(description.std)}. It is inside ONNX files and torch programs, which take uint8; "
        "the weights in a folder take normalised images."
        + (
            "\n\nThe search computed in bf16 (automatic mixed precision); exported, the model "
            "computes in fp32."
            if config.train.precision == "bf16"
            else ""
        )
    )


def _scores(outcome: SearchOutcome) -> str:
    test = outcome.test or Scores(None, None, None)
    rows = [("validation", outcome.validation or Scores(None, None, None)), ("test", test)]
    lines = [
        f"| {split} | {number_text(s.loss)} | {number_text(s.accuracy)} | {number_text(s.auc)} |"
        for split, s in rows
    ]
    note = (
        "The search chose by validation loss; the test images were seen once, by this model."
        if outcome.test
        else "The test images have not been seen: they are, once, when the search ends."
    )
    head = ["| images | loss | accuracy | AUC |", "|---|---|---|---|"]
    return "\n".join([*head, *lines, "", note])


def _data(config: SearchConfig) -> str:
    """The data set in words, without the folders above it."""
    root = config.data.root
    if root is None:
        return _code(config.data.source)
    return f"{_code(config.data.source)} ({_code(posixpath.basename(root.rstrip('/')))})"


def _data_facts(searched: Searched) -> list[tuple[str, object]]:
    data, sha256 = searched.config.data, searched.recorded.get("sha256") or {}
    facts: list[tuple[str, object]] = [
        ("source", _data(searched.config)),
        ("training images", f"{data.train_fraction:g} of all"),
        ("validation, test", f"{data.validation_fraction:g}, {data.test_fraction:g} of all"),
        ("splits", f"{data.splits}, seed {data.seed}"),
    ]
    if data.max_images is not None:
        facts.append(("images at most", data.max_images))
    if sha256.get("table"):
        facts.append(("SHA-256 of the image table", f"`{sha256['table']}`"))
    return facts


def _budget_facts(config: SearchConfig, outcome: SearchOutcome) -> list[tuple[str, object]]:
    statuses = ", ".join(f"{count} {status}" for status, count in outcome.statuses.items())
    chosen = {k: v for k, v in config.method.options.items() if v is not None}
    options = ", ".join(f"{k} {_plain(v)}" for k, v in chosen.items())
    train = config.train
    momentum = f", momentum {train.momentum:g}" if train.optimizer == "sgd" else ""
    return [
        ("method", _code(config.method.name) + (f" ({_one_line(options)})" if options else "")),
        ("evaluations", f"{outcome.evaluations} of {outcome.budget_evaluations} ({statuses})"),
        ("epochs", f"{outcome.epochs}, {train.epochs} for an evaluation that is not stopped"),
        ("training images seen", f"{outcome.images:,}"),
        ("device-seconds", f"{outcome.device_seconds:,.1f}"),
        (
            "training",
            f"{train.optimizer}{momentum}, {train.schedule} schedule, batches "
            f"of {train.batch_size}, augmentation {train.augment}, {train.precision}",
        ),
        ("seeds", f"data {config.data.seed}, training {train.seed}, search {config.search.seed}"),
    ]


def _plan(searched: Searched) -> str:
    plan = searched.plan
    rates = [("frozen" if lr == 0 else f"{lr:.6g}") for lr in plan.unit_lrs]
    rows = [f"| `{u}` | {r} |" for u, r in zip(searched.units, rates, strict=True)]
    frozen = sum(plan.frozen)
    policy = "" if plan.policy is None else f" Policy: `{json.dumps(dict(plan.policy))}`."
    return (
        f"{frozen} of {len(plan.unit_lrs)} units frozen; weight decay {plan.weight_decay:g}."
        f"{policy}\n\n| unit | learning rate |\n|---|---|\n" + "\n".join(rows)
    )


def _version_facts(searched: Searched) -> list[tuple[str, object]]:
    recorded = searched.recorded
    sha256 = (recorded.get("sha256") or {}).get("weights")
    now = {name: metadata.version(name) for name in ("torch", "torchvision", "timm")}
    return [
        ("search", _versions((recorded.get("versions") or {}).items())),
        ("revision", _code(str(recorded.get("revision") or "not recorded"))),
        ("export", _versions(now.items())),
        ("started from", _start(searched.config) + (f", SHA-256 `{sha256}`" if sha256 else "")),
    ]


def _start(config: SearchConfig) -> str:
    """The weights in words, without the folders above a file."""
    weights = config.model.weights
    if weights == "none":
        return "random weights"
    named = weights == "pretrained" or weights.startswith("package:")
    return _code(weights if named else posixpath.basename(weights))


def _versions(versions: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions)


def _facts(facts: Sequence[tuple[str, object]]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts)


def _block(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _code(text: str) -> str:
    return f"`{_one_line(text).replace('`', chr(39))}`"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
