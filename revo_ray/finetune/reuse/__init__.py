"""Reuse of the features of a frozen prefix."""
