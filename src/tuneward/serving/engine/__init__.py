"""The inference engine: a process of its own that knows nothing about policy."""
