"""The image table: decoded images of one size, prepared once on disk."""
