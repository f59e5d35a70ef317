"""Errors about images that cannot be used, and about classes that are left without an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from revo_ray.data.image_records import Problem
from revo_ray.errors import UserError


def bad_images_error(problems: Sequence[Problem], *, named: bool = False) -> UserError:
    """Error for `data.on_bad_image: stop`.

    Args:
        problems: images that cannot be used.
        named: name all of them; otherwise the user sees their list elsewhere.
    """
    them = "it" if len(problems) == 1 else "them"
    which = f": {_names(problems)}" if named else ", as listed"
    return UserError(
        f"{_count(problems)} cannot be used{which}; mend or remove {them}, or leave {them} out "
        "with data.on_bad_image: skip",
        key="data.root",
    )


def check_classes(
    classes: Sequence[str], labels: Iterable[str], problems: Sequence[Problem]
) -> None:
    """Check that every class has an image.

    Args:
        classes: class names.
        labels: class of each image.
        problems: images that were left out, for the message.

    Raises:
        UserError: a class has no image.
    """
    empty = sorted(set(classes) - set(labels))
    if empty:
        names = ", ".join(map(repr, empty))
        one = len(empty) == 1
        which = f"class {names} has" if one else f"classes {names} have"
        left_out = f" after {_count(problems)} were left out: {_names(problems)}"
        raise UserError(
            f"{which} no image"
            + (left_out if problems else f"; remove {'it' if one else 'them'} or add images"),
            key="data.root",
        )


def _count(problems: Sequence[Problem]) -> str:
    return f"{len(problems):,} image{'s' if len(problems) != 1 else ''}"


def _names(problems: Sequence[Problem]) -> str:
    return "; ".join(f"{name!r} ({cause})" for name, cause in problems)
