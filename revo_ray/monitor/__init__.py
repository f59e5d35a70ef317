"""Readers of a ledger that still grows: progress, watch and TensorBoard."""
