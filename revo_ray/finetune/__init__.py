"""One evaluation: a pretrained model, its units, and a fine-tuning under a plan."""
