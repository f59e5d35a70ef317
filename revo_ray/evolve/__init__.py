"""What to try next: search spaces, and the optimisers that propose samples of them."""
