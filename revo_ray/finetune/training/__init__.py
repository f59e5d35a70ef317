"""One fine-tuning: the loop and its parts."""
