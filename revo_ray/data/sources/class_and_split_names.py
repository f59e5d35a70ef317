"""Names of classes and splits, as data sets spell them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from revo_ray.data.files.image_files import root_error
from revo_ray.data.image_records import GivenSplit

Splits = Literal["given", "drawn"] | Mapping[GivenSplit, str]
"""Value of `data.splits`."""

_WORDS: Mapping[str, GivenSplit] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating"), "validation"),
    **dict.fromkeys(("dev", "devel", "development", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "heldout"), "test"),
}
"""Split for each word that data sets use, in lower case."""

_EVALUATION = ("eval", "evaluation")
"""Words for a test split where another one is for validation."""

_FILLERS = frozenset(
    {
        *("set", "sets", "data", "dataset", "datasets", "split", "splits", "v", "the"),
        *("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos"),
        *("sample", "samples", "file", "files", "folder", "dir"),
    }
)
"""Words that say nothing about a split: `train_set`, `Train-Images`."""


class SplitName(NamedTuple):
    """A name that is understood as a split's.

    Attributes:
        split: the split.
        rest: the other words, which all splits of a data set share: `pets` in `pets_train`.
        word: the word that names the split.
    """

    split: GivenSplit
    rest: tuple[str, ...] = ()
    word: str = ""


def split_name(text: str) -> SplitName | None:
    """Understand a name as a split's, in any case and with any separators and numbers.

    Example:
        >>> split_name("Train-Images").split, split_name("pets_val2017").rest
        ('train', ('pets',))
        >>> split_name("testament")
    """
    found: list[tuple[GivenSplit, str]] = []
    rest = []
    for word in _words(text):
        if word in _WORDS:
            found.append((_WORDS[word], word))
        elif word not in _FILLERS:
            rest.append(word)
    return SplitName(found[0][0], tuple(rest), found[0][1]) if len(found) == 1 else None


def understood_splits(names: Iterable[str]) -> dict[str, GivenSplit]:
    """Map the names that look like splits of one data set to these splits.

    `dev` and `eval` are validation. `eval` is the test split beside another validation split, if
    no other name is for the test.

    Args:
        names: folders that lie beside each other, or values of one column.
    """
    all_found = {name: found for name in names if (found := split_name(name))}
    rests = [found.rest for found in all_found.values()]
    shared = max(rests, key=lambda rest: (rests.count(rest), -len(rest)), default=())
    alike = {name: value for name, value in all_found.items() if value.rest == shared}
    splits = {name: value.split for name, value in alike.items()}
    evaluations = [name for name, value in alike.items() if value.word in _EVALUATION]
    if "test" not in splits.values() and list(splits.values()).count("validation") > 1:
        splits |= dict.fromkeys(evaluations, "test")
    return splits


def named_splits(names: Iterable[str], splits: Splits) -> dict[str, GivenSplit]:
    """Map names to the splits that `data.splits` gives them, and others that are understood.

    Args:
        names: folders that lie beside each other, or values of one column.
        splits: `data.splits`. Names in a mapping are equal in any case, or patterns with `*`. The
            splits that it leaves out are understood from the other names, unless it is empty.

    Raises:
        UserError: no name is the one that `data.splits` gives for a split.
    """
    names = list(names)
    if isinstance(splits, str):
        return understood_splits(names)
    found: dict[str, GivenSplit] = {}
    for split, pattern in splits.items():
        wanted = class_name(pattern).strip("/").casefold()
        matches = [n for n in names if class_name(n).casefold() == wanted] or [
            n for n in names if fnmatchcase(class_name(n).casefold(), wanted)
        ]
        if not matches:
            there = ", ".join(map(repr, names[:8])) + ", …" * (len(names) > 8)
            raise root_error(
                f"data.splits calls the {split} split {pattern!r}, and there is {there or 'none'}",
                "data.splits",
            )
        for name in matches:
            if found.setdefault(name, split) != split:
                raise root_error(
                    f"data.splits names {name!r} for {found[name]} and {split}", "data.splits"
                )
    others = understood_splits(name for name in names if name not in found) if splits else {}
    return found | {name: split for name, split in others.items() if split not in splits}


def class_name(text: str) -> str:
    """Name of the class in a folder's name or a cell, in one Unicode form and without spaces."""
    return unicodedata.normalize("NFC", text.strip())


def ordered_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names, each once: as numbers if all are whole numbers, else as text.

    Raises:
        UserError: there is only one class.
    """
    classes = sorted(set(names))
    if len(classes) == 1:
        raise root_error(f"there is one class only, {classes[0]!r}; there must be two at least")
    if all(re.fullmatch("-?[0-9]{1,18}", name) for name in classes):
        classes.sort(key=int)
    return tuple(classes)


def _words(text: str) -> list[str]:
    """Cut a name into lower-case words: at separators, digits and capitals, `trainset` too."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", text))
    words = re.sub(r"(?<=\bh[eo]ld)[\W_]+(?=out)", "", spaced.casefold())
    parts: list[str] = []
    for word in re.findall(r"[^\W\d_]+", words):
        joined = (
            (start, word[len(start) :])
            for start in sorted({*_WORDS, *_FILLERS}, key=len, reverse=True)
            if word.startswith(start)
        )
        parts += next(
            (
                pair
                for pair in joined
                if pair[1] in _WORDS or (pair[0] in _WORDS and pair[1] in _FILLERS)
            ),
            (word,),
        )
    return parts
