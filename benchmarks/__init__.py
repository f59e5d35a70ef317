"""Programs that measure; each prints one JSON line, and the README quotes them."""
