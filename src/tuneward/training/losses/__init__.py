"""Losses, one file each; all stand on the log-probabilities that ``head`` makes. ``objective`` says what a loss is."""
