"""Labels that say that there is none, differ little, or look like numbers to predict."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from revo_ray.data.image_records import Finding, Source, Topic
from revo_ray.data.sources.root import quoted

MISSING = {
    *("", "NaN", "nan", "-NaN", "-nan", "NA", "<NA>", "N/A", "n/a", "#N/A", "#NA", "#N/A N/A"),
    *("NULL", "null", "NaT"),
}
"""Labels that say that there is none, as pandas reads them; `None` may be a class."""

_MAYBE_MISSING = {"none", "-", "--", "?", "na", "unknown", "undefined", "missing", "unlabeled"} | {
    "unlabelled",
    "n.a.",
}
"""Labels, in lower case, that may be a class or say that there is none."""

MANY = 20
"""Number of distinct numbers from which labels may be measurements."""


def with_label_findings(source: Source) -> Source:
    """Add to a source's findings those about its class names, all in one with its own of labels."""
    classes = source.classes
    found = [
        *(finding for finding in source.warnings if finding.topic == Topic.LABELS),
        *_near_equal(classes),
        *_maybe_missing(classes),
        *_measurements(classes, len(source.records)),
    ]
    if not found:
        return source
    key = next((finding.key for finding in found if finding.key), None)
    joined = Finding(Topic.LABELS, "; ".join(finding.text for finding in found), key)
    others = (finding for finding in source.warnings if finding.topic != Topic.LABELS)
    return replace(source, warnings=(*others, joined))


def missing_labels(counts: Mapping[str, int]) -> list[Finding]:
    """Name the labels that say that there is none, with their numbers of rows."""
    if not counts:
        return []
    words = ", ".join(f"{word!r} ({count:,} rows)" for word, count in sorted(counts.items()))
    text = (
        f"labels that say that there is none: {words}; data.on_bad_image: skip leaves these rows "
        "out"
    )
    return [Finding(Topic.LABELS, text, "data.on_bad_image")]


def _near_equal(classes: Sequence[str]) -> list[Finding]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike[_plain(name)].append(name)
    near = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if not near:
        return []
    rest = f" and {len(near) - 8:,} more" if len(near) > 8 else ""
    text = (
        f"labels that differ little are different classes: {', '.join(near[:8])}{rest}; write "
        "those that mean the same alike"
    )
    return [Finding(Topic.LABELS, text)]


def _maybe_missing(classes: Sequence[str]) -> list[Finding]:
    found = [name for name in classes if name.casefold() in _MAYBE_MISSING]
    if not found:
        return []
    one = len(found) == 1
    text = (
        f"{quoted(found)} {'is a class' if one else 'are classes'}; if that means that there is no "
        "label, leave the label empty, and set data.on_bad_image: skip"
    )
    return [Finding(Topic.LABELS, text, "data.on_bad_image")]


def _measurements(classes: Sequence[str], images: int) -> list[Finding]:
    numbers = [name for name in classes if re.fullmatch(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", name, re.I)]
    if len(numbers) < MANY or len(numbers) < 0.9 * len(classes):
        return []
    fractions = any(not float(number).is_integer() for number in numbers)
    if not fractions and images >= 3 * len(classes):
        return []
    text = (
        f"the labels are {len(numbers):,} different numbers, each a class of its own; a "
        "measurement is no label, and another column may hold it: data.columns: {label: NAME}"
    )
    return [Finding(Topic.LABELS, text, "data.columns")]


def _plain(name: str) -> str:
    """Write a label without case, separators and zeros that say nothing."""
    text = unicodedata.normalize("NFKC", name).casefold()
    text = re.sub(r"[\s_-]+", " ", text).strip() or text
    number = re.fullmatch(r"0*(\d+)(\.0*)?", text)
    return number[1] if number else text
