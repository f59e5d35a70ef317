"""Pretrained networks, their weights and their units."""

UNIT_RULES = 2
"""Version of the rules that divide a network into units: a search can be resumed only under the one
that it was started with."""
