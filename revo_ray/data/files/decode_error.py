"""The error of images that are not decoded."""

from __future__ import annotations


class DecodeError(ValueError):
    """An image that is not decoded, for the reason given in one clause."""
