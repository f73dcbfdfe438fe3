"""Stage: engine, its client, and what joins an alias to a verified adapter."""
