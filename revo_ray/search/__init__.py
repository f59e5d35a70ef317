"""The Ray floor: searches as Ray Tune experiments."""
