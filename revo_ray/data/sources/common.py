"""What several sources need: their root, their labels and splits, and the words of messages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from revo_ray.data.files.decode import explain
from revo_ray.data.files.image_files import File, Tree
from revo_ray.data.records import GivenSplit
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

SPLIT_WORDS: Mapping[str, GivenSplit] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""What people call the splits, in lower case."""


def needed_root(config: DataConfig, what: str) -> str:
    """`data.root`, which the source cannot do without.

    Raises:
        UserError: it is null.
    """
    if config.root is None:
        raise UserError(
            f"is null, and the source {config.source} needs it: give {what}", key="data.root"
        )
    return config.root


def read_file(file: File) -> bytes:
    """The content of a file without which there is no data set.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return file.read()
    except OSError as error:
        raise UserError(f"cannot read {file.path!r}: {explain(error)}", key="data.root") from None


def label_of(name: str) -> str:
    """The class that a folder or a cell names: the same text is the same class, however encoded."""
    return unicodedata.normalize("NFC", name.strip())


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The classes, each once: by number where all are whole numbers, else by letter.

    Raises:
        UserError: there is one class only.
    """
    classes = sorted(set(labels))
    if len(classes) == 1:
        raise UserError(
            f"there is one class only, {classes[0]!r}; there must be two at least", key="data.root"
        )
    if all(re.fullmatch("-?[0-9]{1,18}", label) for label in classes):
        classes.sort(key=int)
    return tuple(classes)


def quoted(names: Sequence[str], most: int = 8) -> str:
    """Names in a message: all of them, or the first few and a count."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + rest


def shown_root(uri: str) -> str:
    """A root as a message names it: without the password that a URI may hold."""
    return repr(re.sub("://[^/@]*@", "://…@", uri))


def unread(tree: Tree) -> str:
    """The end of a message that something is not there: what of the tree was not read, if any."""
    if tree.problems:
        name, cause = tree.problems[0]
        return f" ({len(tree.problems):,} files cannot be read, the first is {name!r}: {cause})"
    archives = [file.path for file in tree.files if file.path.lower().endswith(".zip")]
    return f" (archives in it are not opened: {quoted(archives, 3)})" if archives else ""
