"""Choose the images that train, validate and test."""
