"""Search spaces, and the optimisers that propose samples of them."""
