"""Doors for the terminal: parse, call one workflow, print."""
