"""HAM10000: skin lesions with seven diagnoses; several images may show one lesion."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Sequence

from revo_ray.data.files.image_files import File, ImageFiles, root_error
from revo_ray.data.image_records import Finding, Problem, Record, Source, Topic
from revo_ray.data.sources.class_and_split_names import ordered_classes
from revo_ray.data.sources.root import open_files, quoted, read_file, unread
from revo_ray.data.sources.tables.delimited import Row, read_rows
from revo_ray.settings.schema import DataConfig

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")


def read(config: DataConfig) -> Source:
    """Read the images that the metadata names, grouped by lesion, wherever below the root they lie.

    Raises:
        UserError: there is no metadata, or it gives no image or one class.
    """
    files = open_files(config, "the folder or archive of HAM10000", unpack=True)
    metadata = files.find(*METADATA)
    if metadata is None:
        raise root_error(
            f"no {METADATA[0]} (nor .tab, nor without ending) at {config.root!r}{unread(files)}"
        )
    images, warnings = _by_id(files)
    rows = read_rows(read_file(metadata), repr(metadata.path), ("image_id", "lesion_id", "dx"))
    named, problems = _named(rows)
    records = []
    refused = {_id(problem.name) for problem in files.problems}
    for name, (line, lesion, dx) in named.items():
        if image := images.get(name.lower()):
            records.append(Record(image.path, dx, image, group=lesion))
        elif name.lower() not in refused:
            problems.append(Problem(name, f"no image of that name (line {line})"))
    if not records:
        first = f"; the first: {problems[0].name}: {problems[0].cause}" if problems else ""
        raise root_error(
            f"none of the {len(rows):,} rows of {metadata.path!r} gives an image{first}; beside it "
            f"belong HAM10000_images_part_1.zip and _part_2.zip, or their content{unread(files)}"
        )
    ids = {row.cells["image_id"].lower() for row in rows}
    if spare := [image.path for name, image in images.items() if name not in ids]:
        text = (
            f"{len(spare):,} images that {metadata.path!r} does not name are left out: "
            f"{quoted(spare, 3)}"
        )
        warnings.append(Finding(Topic.OTHER, text))
    return Source(
        ordered_classes(dx for _, _, dx in named.values()),
        tuple(records),
        (*files.problems, *problems),
        tuple(warnings),
    )


def _named(rows: Sequence[Row]) -> tuple[dict[str, tuple[int, str, str]], list[Problem]]:
    """Return line, lesion and dx of each image_id, and the rows that cannot be used."""
    named: dict[str, tuple[int, str, str]] = {}
    problems = []
    clashes = set()
    for row in rows:
        name, lesion, dx = (row.cells[column] for column in ("image_id", "lesion_id", "dx"))
        line, dx, cause = row.line, dx.lower(), None
        if not name:
            cause = "no image_id"
        elif not lesion:
            cause = "no lesion_id"
        elif dx not in CLASSES:
            cause = f"the unknown dx {dx!r}; there are {', '.join(CLASSES)}" if dx else "no dx"
        elif (before := named.setdefault(name, (line, lesion, dx)))[1:] != (lesion, dx):
            cause = f"another lesion or dx than in line {before[0]}"
            clashes.add(name)
        if cause is not None:
            problems.append(Problem(name or "no image_id", f"{cause} (line {line})"))
    return {name: row for name, row in named.items() if name not in clashes}, problems


def _by_id(files: ImageFiles) -> tuple[dict[str, File], list[Finding]]:
    """Return each image by its name in lower case without extension, and warnings.

    Some distributions hold every image twice, others hold masks. If several files have one name,
    the JPEG nearest to the root is chosen, or else the file nearest to the root.
    """
    found: dict[str, list[File]] = defaultdict(list)
    for image in files.images():
        found[_id(image.path)].append(image)

    def rank(image: File) -> tuple[bool, int]:
        return not image.path.lower().endswith((".jpg", ".jpeg")), image.path.count("/")

    chosen = {key: min(images, key=rank) for key, images in found.items()}
    unlike = [
        chosen[key].path
        for key, images in found.items()
        if len({image.size for image in images if rank(image)[0] == rank(chosen[key])[0]}) > 1
    ]
    warnings = []
    if unlike:
        text = (
            f"{len(unlike):,} images lie there twice with different content; read are "
            f"{quoted(unlike, 3)}"
        )
        warnings.append(Finding(Topic.OTHER, text))
    return chosen, warnings


def _id(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0].lower()
