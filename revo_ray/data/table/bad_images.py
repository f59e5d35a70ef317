"""Errors about images that cannot be used, and about classes that are left without an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from revo_ray.data.files.image_files import root_error
from revo_ray.data.image_records import Finding, Problem, Topic
from revo_ray.errors import UserError
from revo_ray.words import counted

NAMED = 3
"""Highest number of images that a finding names."""


def bad_images_error(problems: Sequence[Problem], *, named: bool = False) -> UserError:
    """Error for `data.on_bad_image: stop`.

    Args:
        problems: images that cannot be used.
        named: name all of them; otherwise the user sees their list elsewhere.
    """
    them = "it" if len(problems) == 1 else "them"
    first = f": {_names(problems[:1])}" + ", and the others that are listed" * (len(problems) > 1)
    which = f": {_names(problems)}" if named else first
    return root_error(
        f"{counted(len(problems), 'image')} cannot be used{which}; mend or remove {them}, or leave "
        f"{them} out with data.on_bad_image: skip"
    )


def left_out_finding(problems: Sequence[Problem]) -> Finding:
    """Say which images `data.on_bad_image: skip` leaves out; the first of them by name."""
    more = f" and {len(problems) - NAMED:,} more" if len(problems) > NAMED else ""
    are = "is" if len(problems) == 1 else "are"
    which = f"{counted(len(problems), 'image')} cannot be used and {are} left out"
    text = f"{which}: {_names(problems[:NAMED])}{more}"
    return Finding(Topic.UNREADABLE, text, "data.on_bad_image")


def check_classes(
    classes: Sequence[str], labels: Iterable[str], problems: Sequence[Problem]
) -> None:
    """Check that every class has an image.

    Raises:
        UserError: a class has no image; the message names the `problems` that were left out.
    """
    empty = sorted(set(classes) - set(labels))
    if empty:
        names = ", ".join(map(repr, empty))
        one = len(empty) == 1
        which = f"class {names} has" if one else f"classes {names} have"
        left_out = f" after {counted(len(problems), 'image')} were left out: {_names(problems)}"
        raise root_error(
            f"{which} no image"
            + (left_out if problems else f"; remove {'it' if one else 'them'} or add images")
        )


def _names(problems: Sequence[Problem]) -> str:
    return "; ".join(f"{name!r} ({cause})" for name, cause in problems)
