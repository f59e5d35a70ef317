"""The configuration: its schema, its presets, and reading it from YAML files and overrides."""
