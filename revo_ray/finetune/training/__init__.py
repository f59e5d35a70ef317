"""One fine-tuning: the training loop and its parts."""
