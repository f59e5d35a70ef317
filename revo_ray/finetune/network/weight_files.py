"""Weight files as trainers write them: other things beside the weights, and wrappers' names."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from revo_ray.errors import UserError, first_line
from revo_ray.words import counted

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pth.tar", ".safetensors")

_AVERAGES = ("state_dict_ema", "model_ema", "ema")
_PLAIN = ("state_dict", "model_state_dict", "model", "net")
"""Keys of state dicts in files. Moving averages (EMA) of the weights come first, as in timm."""

_WRAPPERS = ("module", "model", "net", "backbone", "encoder")
"""Names under which other modules hold a network: DDP, averages, Lightning modules, …"""

_COMPILED = "_orig_mod."
"""`torch.compile` puts this into the names of all that it compiles: a network, or a layer."""

_AVERAGED = "n_averaged"
"""A counter in the state dict of torch's `AveragedModel`."""

_NO_WEIGHTS = {
    b"version https://git-lfs": "a Git LFS pointer; `git lfs pull` gets the file itself",
    b"<!doctype html": "a web page (HTML); download the file itself",
    b"<html": "a web page (HTML); download the file itself",
}
"""Starts of files that people hold in place of the weights."""

_BESIDE_WEIGHTS = (
    "argparse.Namespace",
    *("pathlib.PosixPath", "pathlib._local.PosixPath"),
    *("numpy.dtype", "numpy.ndarray"),
    *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
)
"""Types and functions that training loops pickle beside the weights: options, metrics, random
states. A `_StandIn` takes their place."""


class _StandIn:
    """Takes the place of an object that is no weight. No code that a file names runs for it."""

    def __new__(cls, *_: Any) -> _StandIn:
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        """Keep nothing."""


def weights_error(message: str) -> UserError:
    """An error of the configuration key `model.weights`."""
    return UserError(message, key="model.weights")


def split_part(weights: str) -> tuple[str, str]:
    """Split `FILE#KEY` into the file and the key of a state dict in it, empty if there is none."""
    file, mark, key = weights.rpartition("#")
    has_key = mark and file.endswith(SUFFIXES) and not weights.endswith(SUFFIXES)
    return (file, key) if has_key else (weights, "")


def read_weights(path: Path, key: str = "") -> tuple[Mapping[str, Tensor], list[str]]:
    """Read the state dict in a file.

    Args:
        path: a file of torch or safetensors.
        key: of a state dict in the file. Empty: the only one, or the usual one.

    Returns:
        The state dict, and a line for people if the file holds others too.

    Raises:
        UserError: the file cannot be read, or has no such state dict.
    """
    content = _read(path)
    if _is_state_dict(content):
        if key:
            raise weights_error(f"{str(path)!r} is one state dict without keys; leave out #{key}")
        return content, []
    found = _state_dicts(content)
    if not found:
        raise weights_error(f"{str(path)!r} holds no state dict (names and tensors)")
    usual = sorted(filter(_place, found), key=_place) or list(found)
    chosen = key or usual[0]
    if chosen not in found or (not key and len(found) > 1 and not _place(chosen)):
        raise weights_error(
            f"{str(path)!r} holds the state dicts {', '.join(found)}; write one behind its name, "
            f"as in {path}#{usual[0]}"
        )
    others = [each for each in dict.fromkeys((*usual, *found)) if each != chosen]
    if key or not others:
        return found[chosen], []
    return found[chosen], [
        f"loaded {chosen}, not {', '.join(others)}; "
        f"--set model.weights={path}#{others[0]} loads {others[0]}"
    ]


def unwrapped(
    tensors: Mapping[str, Tensor], own: Collection[str]
) -> tuple[Mapping[str, Tensor], list[str]]:
    """Take from a state dict the names that wrappers of a network put before the network's own.

    It takes the chain of names, such as `module.backbone.`, under which most of the network's own
    names stand. Tensors beside that chain are left out.

    Args:
        tensors: a state dict; the versions of its modules are kept.
        own: names in the network's state dict.

    Returns:
        The state dict, and a line for people if tensors are left out.
    """
    plain = {
        name.replace(_COMPILED, ""): tensor
        for name, tensor in tensors.items()
        if name.rpartition(".")[2] != _AVERAGED
    }
    chains = {""}
    for name in plain:
        chain = ""
        for word in name.split("."):
            if word not in _WRAPPERS:
                break
            chain += f"{word}."
            chains.add(chain)
    chain = max(
        sorted(chains, key=lambda each: (len(each), each)),
        key=lambda each: sum(f"{each}{name}" in plain for name in own),
    )
    inside = OrderedDict(
        (name.removeprefix(chain), tensor)
        for name, tensor in plain.items()
        if name.startswith(chain)
    )
    versions = getattr(tensors, "_metadata", {})
    if versions:
        paths = {f"{path}.".replace(_COMPILED, ""): path for path in versions}
        inside._metadata = OrderedDict(  # type: ignore[attr-defined]
            (path.removeprefix(chain).removesuffix("."), versions[original])
            for path, original in paths.items()
            if path.startswith(chain)
        )
    beside = [name for name in plain if not name.startswith(chain)]
    if not beside:
        return inside, []
    return inside, [f"left out {counted(len(beside), 'tensor')} beside {chain}* ({some(beside)})"]


def some(names: Collection[str], separator: str = ", ") -> str:
    """The first three names, and dots if there are more."""
    first = list(names)[:3]
    return separator.join([*first, "…"] if len(names) > 3 else first)


def _read(path: Path) -> Any:
    """The content of a file; objects beside the weights are stand-ins."""
    try:
        with path.open("rb") as file:
            start = file.read(256).lstrip().lower()
    except OSError as error:
        raise weights_error(f"cannot read {str(path)!r}: {error.strerror}") from None
    if not start:
        raise weights_error(f"{str(path)!r} is empty")
    for mark, kind in _NO_WEIGHTS.items():
        if start.startswith(mark):
            raise weights_error(f"{str(path)!r} is {kind}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals([(_StandIn, name) for name in _BESIDE_WEIGHTS]):
            return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file makes the readers raise almost anything: KeyError, EOFError, RuntimeError, …
    except Exception as error:
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise weights_error(
                f"cannot read {str(path)!r}: it holds Python objects ({named[1]}), which can run "
                "code; save the model's state_dict(), or a .safetensors file"
            ) from None
        reason = first_line(error).partition(". ")[0]
        raise weights_error(
            f"cannot read {str(path)!r}, it is cut short, damaged or no weight file: {reason}"
        ) from None


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def _place(path: str) -> int:
    """The place of a state dict among the usual ones, from 1 on; 0 if none of its keys is usual."""
    usual = (*_AVERAGES, *_PLAIN)
    return min((1 + usual.index(key) for key in path.split(".") if key in usual), default=0)


def _state_dicts(content: Any, above: str = "") -> dict[str, Mapping[str, Tensor]]:
    """The state dicts in a dict, also those in dicts under the usual keys, by dotted paths."""
    found: dict[str, Mapping[str, Tensor]] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        path = f"{above}{key}"
        if _is_state_dict(value) and any("." in name for name in value):  # else random states
            found[path] = cast(Mapping[str, Tensor], value)
        elif key in _AVERAGES + _PLAIN:
            found |= _state_dicts(value, f"{path}.")
    return found
