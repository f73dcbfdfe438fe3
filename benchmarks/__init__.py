"""Benchmarks: one script per claim. Each pairs Tuneward with a named peer in one run and prints the ratio last."""
