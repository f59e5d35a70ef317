"""Readers of the ledger: what people look at."""
