"""Splits: which images train, validate and test."""
