"""Sources of images: each module reads one kind of data set into image records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from revo_ray.data.files.exclude import excluder
from revo_ray.data.files.image_files import File
from revo_ray.data.image_records import Source
from revo_ray.data.sources.digits import read as read_digits
from revo_ray.data.sources.fashion_mnist import read as read_fashion_mnist
from revo_ray.data.sources.folder import read as read_folder
from revo_ray.data.sources.group_names import group_finding, group_records
from revo_ray.data.sources.ham10000 import read as read_ham10000
from revo_ray.data.sources.label_findings import with_label_findings
from revo_ray.data.sources.masks import mask_finding
from revo_ray.data.sources.published import read_busi, read_leaves
from revo_ray.data.sources.small_classes import without_small_classes
from revo_ray.data.sources.srsmas import read as read_srsmas
from revo_ray.data.sources.tables.csv import read as read_csv
from revo_ray.data.sources.tables.parquet import read as read_parquet
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig
from revo_ray.words import did_you_mean, nearest

READERS: Mapping[str, Callable[[DataConfig], Source]] = {
    "folder": read_folder,
    "csv": read_csv,
    "parquet": read_parquet,
    "ham10000": read_ham10000,
    "busi": read_busi,
    "leaves": read_leaves,
    "srsmas": read_srsmas,
    "fashion-mnist": read_fashion_mnist,
    "digits": read_digits,
}
"""Reader for each value of `data.source`; readers find their files at `data.root`."""

OWN_GROUPS = ("csv", "parquet")
"""Sources that read `data.group_by` themselves, since it may name a column."""


def read_source(config: DataConfig) -> Source:
    """Read the records of the configured source without decoding an image.

    Raises:
        UserError: the source is unknown, `data.root` does not hold its data set, or a key that
            chooses or groups images does not fit it.
    """
    if config.source not in READERS:
        hint = did_you_mean(nearest(config.source, READERS))
        raise UserError(
            f"no source {config.source!r}{hint} (there are {', '.join(READERS)})",
            key="data.source",
        )
    source = READERS[config.source](config)
    if config.exclude:
        source = _without(source, excluder(config.exclude))
    if config.group_by is not None and config.source not in OWN_GROUPS:
        source = replace(source, records=group_records(source.records, config.group_by))
    source = without_small_classes(source, config.min_per_class)
    files = [record for record in source.records if isinstance(record.picture, File)]
    found = [find(files) for find in (group_finding, mask_finding)]
    return with_label_findings(replace(source, warnings=(*source.warnings, *filter(None, found))))


def _without(source: Source, left_out: Callable[[str], bool]) -> Source:
    """Leave out images by their names."""
    return replace(
        source,
        records=tuple(record for record in source.records if not left_out(record.name)),
        problems=tuple(problem for problem in source.problems if not left_out(problem.name)),
    )
