"""Images: sources, the table of decoded images, and splits."""
