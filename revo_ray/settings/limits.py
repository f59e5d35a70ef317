"""Limits that the configuration and the readers of stored files share."""

LARGEST = 2**31 - 1
"""Largest integer that a key takes."""
LARGEST_SIDE = 4096
"""Largest `data.image_size`, in pixels."""
MAX_PIXELS = 89_478_485
"""Default of `data.max_pixels`: a quarter of a gibibyte as RGB."""
