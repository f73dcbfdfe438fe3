"""The nouns: frozen dataclasses without I/O. A change is a new value inside a ``governance.change``."""
