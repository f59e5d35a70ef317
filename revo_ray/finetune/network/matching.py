"""Match tensors to a model by name, or by place and shape, and load them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from revo_ray.errors import UserError, first_line
from revo_ray.finetune.network.weights import Weights


def named_for(model: nn.Module, source: Weights) -> Mapping[str, Tensor] | None:
    """The tensors to load, under the model's names; None if there is nothing to load.

    Raises:
        UserError: tensors to be matched in order have other shapes than the model's.
    """
    if source.tensors is None or not source.in_order:
        return source.tensors
    own = model.state_dict()
    if own.keys() == source.tensors.keys():
        return dict(source.tensors)
    if len(own) != len(source.tensors):
        raise mismatch(source, f"{len(source.tensors)} tensors, {len(own)} in the model")
    for (key, wanted), (theirs, tensor) in zip(own.items(), source.tensors.items(), strict=True):
        if wanted.shape != tensor.shape:
            raise mismatch(
                source, f"{theirs} is {tuple(tensor.shape)}, {key} is {tuple(wanted.shape)}"
            )
    return dict(zip(own, source.tensors.values(), strict=True))


def load_matching(
    model: nn.Module, tensors: Mapping[str, Tensor], source: Weights, ignored: tuple[str, ...]
) -> None:
    """Load every tensor outside the ignored modules, and accept no difference there.

    Raises:
        UserError: names are missing, unexpected or of another shape; the message has the first.
    """
    aside, own = tuple(f"{module}." for module in ignored), model.state_dict()
    kept = OrderedDict((key, each) for key, each in tensors.items() if not key.startswith(aside))
    wrong = [key for key in kept if key in own and own[key].shape != kept[key].shape]
    shapes = [
        f"{key} is {tuple(kept.pop(key).shape)} in it, {tuple(own[key].shape)} in the model"
        for key in wrong
    ]
    # Modules translate the key names of older versions by the versions in the file.
    if hasattr(tensors, "_metadata"):
        kept._metadata = tensors._metadata  # type: ignore[attr-defined]
    try:
        missing, unexpected = model.load_state_dict(kept, strict=False)
    except (RuntimeError, ValueError) as error:
        raise mismatch(source, first_line(error)) from None
    missing = [key for key in missing if not key.startswith(aside) and key not in wrong]
    differences = [
        f"{len(names)} {kind} ({separator.join([*names[:3], '…'] if len(names) > 3 else names)})"
        for kind, names, separator in (
            ("missing", missing, ", "),
            ("unexpected", unexpected, ", "),
            ("of another shape", shapes, "; "),
        )
        if names
    ]
    if differences:
        raise mismatch(source, *differences)


def mismatch(source: Weights, *differences: str) -> UserError:
    """An error that lists how weights and model differ."""
    return UserError(
        f"{source.label} does not fit the model: {'; '.join(differences)}", key="model.weights"
    )
