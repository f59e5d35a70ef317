"""Near-duplicates: hashes that find them, the pairs, and how splits and tables treat them."""
