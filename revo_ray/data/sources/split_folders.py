"""Split folders: tell them from class folders, and from folders without labels."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from revo_ray.data.files.image_files import ImageFiles, root_error
from revo_ray.data.image_records import Finding, GivenSplit, Topic
from revo_ray.data.sources.class_and_split_names import (
    class_name,
    named_splits,
    split_name,
    understood_splits,
)
from revo_ray.data.sources.class_folders import subfolders
from revo_ray.data.sources.root import quoted
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from revo_ray.words import counted

KEY = "data.splits"

UNLABELLED = frozenset(
    ("unlabeled", "unlabelled", "unsup", "unsupervised", "unlab", "predict", "pred", "inference")
)
"""Names, in lower case, of folders whose images have no label."""

WITHIN_A_CLASS = frozenset(
    {
        *("images", "image", "imgs", "img", "pictures", "photos", "raw", "original"),
        *("masks", "mask", "labels", "annotations", "gt", "groundtruth", "ground_truth"),
        *("segmentation", "segmentations", "jpg", "jpeg", "png", "tif", "tiff"),
    }
)
"""Names of folders, in lower case, that lie in class folders and are no classes."""


@dataclass
class Parts:
    """Folders that hold class folders.

    Attributes:
        places: split of each folder that holds class folders; None if it is in no given split.
        left_out: folders that are not read.
        findings: findings about them.
    """

    places: dict[str, GivenSplit | None]
    left_out: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Tree:
    """The folders below a folder that hold images, and the images in each."""

    def __init__(self, files: ImageFiles) -> None:
        self.images = Counter(posixpath.dirname(image.path) for image in files.images())
        self._children: dict[str, list[str]] = defaultdict(list)
        known: set[str] = set()
        for path in self.images:
            while path and path not in known:
                known.add(path)
                parent, _, name = path.rpartition("/")
                self._children[parent].append(name)
                path = parent

    def children(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder, sorted."""
        return sorted(self._children.get(folder, ()))

    def inner(self, folder: str) -> str:
        """The folder inside wrappers: folders that lie alone and hold folders, but no images."""
        while not self.images[folder] and len(names := self.children(folder)) == 1:
            only = posixpath.join(folder, names[0])
            if self.images[only]:
                break
            folder = only
        return folder

    def count(self, folder: str) -> int:
        """Number of images at any depth."""
        inside = posixpath.join(folder, "")
        return sum(n for path, n in self.images.items() if f"{path}/".startswith(inside))


def find_parts(config: DataConfig, files: ImageFiles, folder: str) -> Parts:
    """Find the folders in a folder that hold class folders: its split folders, or itself.

    Raises:
        UserError: the folders look like splits, and it is not clear which is for what.
    """
    if config.splits == {}:
        return Parts({folder: None})
    tree, children = Tree(files), subfolders(files, folder)
    inner = {name: tree.inner(posixpath.join(folder, name)) for name in children}
    deep = _class_folders({name: tree.children(place) for name, place in inner.items()})
    splits = named_splits(children, config.splits)
    kinds = set(splits.values())
    others = [name for name in children if name not in splits]
    if not isinstance(config.splits, str):
        if "train" not in kinds:
            raise root_error(f"names no folder for training; there are {quoted(children)}", KEY)
        return _parts(tree, inner, splits, others, "data.splits does not name it")
    if "train" in kinds and len(kinds) > 1:
        if lie := [name for name in others if deep[name]]:
            raise root_error(
                f"beside the split folders {quoted(list(splits))} lie other folders: "
                f"{quoted(lie)}; {_name_them(splits)}, or data.exclude: [{lie[0]!r}]",
                KEY,
            )
        if len(kinds) < len(splits):
            raise root_error(
                f"two of {quoted(list(splits))} are the same split; {_name_them(splits)}", KEY
            )
        flat = [name for name in splits if not deep[name] and tree.count(inner[name])]
        if any(splits[name] == "train" for name in flat):
            flat = []  # the images of no split have a label, or all these are classes
        labelled = {name: split for name, split in splits.items() if name not in flat}
        return _parts(tree, inner, labelled, [*flat, *others], "it holds no class folders")
    if kinds == {"train"} and others and not any(deep[name] for name in others):
        (train, *more) = splits
        if len(deep[train]) > 1 and not more:
            unclear = [n for n in others if n.casefold() not in UNLABELLED and tree.count(inner[n])]
            if unclear:
                raise root_error(
                    f"{train!r} holds class folders, as a split does, and {quoted(unclear)} hold "
                    f"none; read {train!r} only with data.splits: {{train: {train}}}, or say "
                    "data.splits: {} if each of them is a class",
                    KEY,
                )
            return _parts(tree, inner, splits, others, "it holds no class folders")
    if kinds and not others and "train" not in kinds and len(kinds) > 1:
        if config.splits == "drawn" and all(deep.values()):
            return Parts({inner[name]: None for name in splits})
        raise root_error(
            f"beside {quoted(children)} there is no folder 'train'; draw the splits from all their "
            "images with data.splits: drawn, or say data.splits: {} if each of them is a class",
            KEY,
        )
    _check_not_several_sets(tree, inner, deep)
    found = _unnamed_parts(config, tree, folder, inner, deep)
    flat = [name for name in splits if not deep[name] and tree.count(inner[name])]
    if "train" in kinds or not flat or len(others) < 2:
        return found
    out = f"data.exclude: [{', '.join(map(repr, flat))}]"
    if len(flat) > 1:
        raise root_error(
            f"beside the class folders {quoted(others, 3)} lie {quoted(flat)}, which look like "
            f"splits without classes; leave them out with {out}, or say data.splits: {{}} if each "
            "of them is a class",
            KEY,
        )
    text = f"the folder {flat[0]!r} is read as a class; {out} leaves it out if it is a split"
    return Parts(found.places, found.left_out, [*found.findings, Finding(Topic.SPLITS, text, KEY)])


def inner_splits(
    config: DataConfig, files: ImageFiles, folder: str, names: Iterable[str]
) -> dict[str, GivenSplit]:
    """Map the folders within class folders to splits, if they look like splits.

    Raises:
        UserError: most class folders hold split folders, and something beside these fits none.
    """
    if not isinstance(config.splits, str) or config.splits == "drawn":
        return {}
    tree = Tree(files)
    places = [posixpath.join(folder, name) for name in names]
    held = {place: set(tree.children(place)) for place in places}
    splits = understood_splits(sorted(set().union(*held.values())))
    kinds = {place: {splits[name] for name in held[place] & set(splits)} for place in places}
    whole = [place for place in places if "train" in kinds[place] and len(kinds[place]) > 1]
    if 2 * len(whole) <= len(places):
        return {}
    odd = [posixpath.join(place, name) for place in places for name in held[place] - set(splits)]
    odd += [f"the images of {place}" for place in places if tree.images[place]]
    odd += [place for place in places if not held[place] and not tree.images[place]]
    if odd:
        raise root_error(
            f"the class folders hold split folders ({quoted(sorted(splits), 4)}), and something "
            f"beside them fits no split: {quoted(odd, 3)}; move it, leave it out with "
            "data.exclude, or pool all images with data.splits: drawn",
            KEY,
        )
    return splits


def _check_not_several_sets(tree: Tree, inner: dict[str, str], deep: dict[str, list[str]]) -> None:
    """Check that the folders are not whole data sets, each with splits of classes.

    Raises:
        UserError: several are.
    """
    sets = []
    for name, place in inner.items():
        splits = understood_splits(deep[name])
        parts = [posixpath.join(place, part) for part in splits]
        classes = all(len(tree.children(part)) > 1 and not tree.images[part] for part in parts)
        if "train" in splits.values() and len(set(splits.values())) > 1 and classes:
            sets.append(name)
    if len(sets) > 1:
        raise root_error(
            f"the folders {quoted(sets, 4)} each hold split folders with classes: name one of them "
            "as data.root, or list the images of all in a csv with the columns path, label and "
            "group"
        )


def _class_folders(held: dict[str, list[str]]) -> dict[str, list[str]]:
    """The folders in each folder, without one that lies alone and is no class elsewhere."""
    holders = Counter(class_name(child) for names in held.values() for child in names)
    several = any(len(names) > 1 for names in held.values())
    return {
        name: [] if several and len(names) == 1 and holders[class_name(names[0])] == 1 else names
        for name, names in held.items()
    }


def _parts(
    tree: Tree,
    inner: dict[str, str],
    splits: dict[str, GivenSplit],
    left_out: Sequence[str],
    cause: str,
) -> Parts:
    findings = [
        Finding(
            Topic.SPLITS,
            f"the folder {name!r} with {counted(count, 'image')} is left out: {cause} "
            f"(data.exclude: [{name!r}] says so too; `revo-ray predict` can label its images)",
            "data.exclude",
        )
        for name in left_out
        if (count := tree.count(inner[name]))
    ]
    return Parts(
        {inner[name]: split for name, split in splits.items()},
        [inner[name] for name in left_out],
        findings,
    )


def _unnamed_parts(
    config: DataConfig,
    tree: Tree,
    folder: str,
    inner: dict[str, str],
    deep: dict[str, list[str]],
) -> Parts:
    """Folders of unknown names: classes, or parts of the data set that hold the same classes.

    Raises:
        UserError: they hold the same folders, and `data.splits` does not say what they are.
    """
    level = folder.count("/") + 2 if folder else 1
    if config.group_by in (level + 1, str(level + 1)):
        return Parts({folder: None})  # the folders within these are groups
    named = {
        name: {key for child in names if _may_be_class(key := class_name(child).casefold())}
        for name, names in deep.items()
    }
    holders = Counter(key for keys in named.values() for key in keys)
    shared = {
        name: common
        for name, keys in named.items()
        if len(common := {key for key in keys if holders[key] > 1}) > 1
        and 2 * len(common) >= len(keys)
    }
    if len(shared) < 2:
        return Parts({folder: None})
    others = [name for name in inner if name not in shared]
    if config.splits == "drawn" and not any(deep[name] for name in others):
        found = _parts(tree, inner, {}, others, "it holds no class folders")
        return Parts({inner[name]: None for name in shared}, found.left_out, found.findings)
    raise _unclear(list(shared), sorted(set.union(*shared.values())), level)


def _unclear(names: Sequence[str], held: Sequence[str], level: int) -> UserError:
    masks = [name for name in names if name.casefold() in WITHIN_A_CLASS and name[0] not in "iI"]
    out = f"leave masks out with data.exclude: [{masks[0]!r}]; or " if masks else ""
    return root_error(
        f"the folders {quoted(names, 4)} hold the same folders ({quoted(held, 4)}), as splits do: "
        f"{out}name them with data.splits: {{train: NAME, validation: NAME, test: NAME}}, or draw "
        "the splits from all their images with data.splits: drawn; if each is a patient or a site, "
        f"data.splits: drawn and data.group_by: {level} keep it whole; if they are classes, say "
        f"data.splits: {{}}, or data.group_by: {level + 1} if the folders in them are groups",
        KEY,
    )


def _may_be_class(name: str) -> bool:
    return name not in WITHIN_A_CLASS and split_name(name) is None


def _name_them(splits: dict[str, GivenSplit]) -> str:
    """Say how `data.splits` names one folder for each split."""
    first = {split: name for name, split in reversed(splits.items())}
    ordered = [key for key in ("train", "validation", "test") if key in first]
    pairs = ", ".join(f"{split}: {first[split]}" for split in ordered)
    return f"name them with data.splits: {{{pairs}}}"
