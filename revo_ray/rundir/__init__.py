"""Run directories: the names and the formats of their files."""
