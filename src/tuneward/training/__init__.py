"""Stage: from records and a base to an adapter. Runs as a process of its own."""
