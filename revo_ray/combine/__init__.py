"""Combines the models of one search, by the predictions that it stored."""
