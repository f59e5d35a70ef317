"""How splits are drawn: the images to draw from, and whole groups near each share."""
