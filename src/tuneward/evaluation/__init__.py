"""Stage: tuned against its own base, item by item, and the gate."""
