"""Models to take away: train, load, export, predict."""
