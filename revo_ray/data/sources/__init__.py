"""Sources of images: each module reads one kind of data set into image records."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from revo_ray.data.image_records import Source
from revo_ray.data.sources.csv import read as read_csv
from revo_ray.data.sources.digits import read as read_digits
from revo_ray.data.sources.fashion_mnist import read as read_fashion_mnist
from revo_ray.data.sources.folder import read as read_folder
from revo_ray.data.sources.ham10000 import read as read_ham10000
from revo_ray.data.sources.label_findings import with_label_findings
from revo_ray.data.sources.parquet import read as read_parquet
from revo_ray.data.sources.published import read_busi, read_leaves
from revo_ray.data.sources.srsmas import read as read_srsmas
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

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


def read_source(config: DataConfig) -> Source:
    """Read the records of the configured source without decoding an image.

    Raises:
        UserError: the source is unknown, or `data.root` does not hold its data set.
    """
    if config.source not in READERS:
        close = difflib.get_close_matches(config.source, READERS, n=1, cutoff=0)
        raise UserError(
            f"no source {config.source!r}; did you mean {close[0]}? "
            f"(there are {', '.join(READERS)})",
            key="data.source",
        )
    return with_label_findings(READERS[config.source](config))
