"""`python -m revo_ray`."""

from revo_ray.cli import run

run()
