"""`data.image_pattern`: from the cell of an image to its path, and a guess of the pattern."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from revo_ray.data.files.formats import is_image
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

SAMPLE = 1000
"""Number of cells that a pattern is guessed from."""


def check_pattern(config: DataConfig) -> None:
    """Check that the pattern has a place for the cell.

    Raises:
        UserError: it has none.
    """
    if "{}" not in config.image_pattern:
        raise UserError(
            f"{config.image_pattern!r} has no {{}} for the cell of the image: write "
            "train_images/{}.png, for example",
            key="data.image_pattern",
        )


def guess_pattern(cells: Sequence[str], paths: Iterable[str]) -> str:
    """Say which pattern fits cells for which no file was found; "" if none fits half of them.

    Args:
        cells: text of the cells.
        paths: paths of the files near the table.
    """
    wanted: dict[str, list[str]] = defaultdict(list)
    for cell in dict.fromkeys(cells[:SAMPLE]):
        wanted[posixpath.basename(cell.replace("\\", "/"))].append(cell)
    fits: Counter[str] = Counter()
    for path in paths:
        if not is_image(path):
            continue
        name = posixpath.basename(path)
        stem, ending = posixpath.splitext(name)
        for base, suffix in ((stem, ending), (name, "")):
            for cell in wanted.get(base, ()):
                start = path.removesuffix(cell + suffix)
                if start != path:
                    fits[f"{start}{{}}{suffix}"] += 1
    tried = min(len(set(cells)), sum(map(len, wanted.values())))
    if not fits or fits.most_common(1)[0][1] < tried / 2:
        return ""
    pattern, count = min(fits.items(), key=lambda found: (-found[1], len(found[0]), found[0]))
    return f"data.image_pattern: {pattern!r} finds {count:,} of {tried:,} of them"
