"""Readers of a ledger that still grows: progress lines, `revo-ray watch` and TensorBoard."""
