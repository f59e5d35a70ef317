"""`data.min_per_class`: leave small classes out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from revo_ray.data.files.image_files import root_error
from revo_ray.data.image_records import Finding, Source, Topic
from revo_ray.words import counted

KEY = "data.min_per_class"
NAMED = 8
"""Most classes that the finding names."""


def without_small_classes(source: Source, least: int) -> Source:
    """Leave out the classes of fewer than `least` images, and say which.

    Raises:
        UserError: fewer than two classes are left.
    """
    sizes = Counter(record.label for record in source.records)
    small = [name for name in source.classes if sizes[name] < least]
    if least == 1 or not small:
        return source
    kept = tuple(name for name in source.classes if sizes[name] >= least)
    if len(kept) < 2:
        raise root_error(
            f"leaves {len(kept)} of {len(source.classes):,} classes, and there must be two at "
            f"least; the second largest has {counted(sorted(sizes.values())[-2:][0], 'image')}",
            KEY,
        )
    named = ", ".join(f"{name!r} ({counted(sizes[name], 'image')})" for name in small[:NAMED])
    more = f" and {len(small) - NAMED:,} more" if len(small) > NAMED else ""
    which = "1 class" if len(small) == 1 else f"{len(small):,} classes"
    text = f"{which} of fewer than {least:,} images left out by {KEY}: {named}{more}"
    return replace(
        source,
        classes=kept,
        records=tuple(record for record in source.records if sizes[record.label] >= least),
        warnings=(*source.warnings, Finding(Topic.CLASSES, text, KEY)),
    )
