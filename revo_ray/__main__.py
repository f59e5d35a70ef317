"""`python -m revo_ray`."""

from revo_ray.cli import main

main()
