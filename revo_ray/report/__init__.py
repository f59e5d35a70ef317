"""Readers of the ledger: what people look at."""

from revo_ray.report.own_matplotlib import import_matplotlib

import_matplotlib()
