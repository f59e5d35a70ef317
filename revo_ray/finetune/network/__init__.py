"""Pretrained networks, their weights and their units."""
