"""The prepared image table on disk."""
