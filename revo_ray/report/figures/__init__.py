"""The figures of a report, each a function of what was searched."""
