"""The state of a search, without Ray."""
