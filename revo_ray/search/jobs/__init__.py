"""Searches as Ray jobs."""
