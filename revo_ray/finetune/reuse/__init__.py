"""Reuse of features that frozen units compute."""
