"""Doors for HTTP: parse, call one workflow, answer. Loads no torch."""
