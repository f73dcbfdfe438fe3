"""What is wrong with a text as an example to learn from."""
