"""Images in, tensors out: sources, the decoded table, splits and augmentation."""
