"""The self-check: the training core's promises, each proved on a user's own model and rows, line by line."""
