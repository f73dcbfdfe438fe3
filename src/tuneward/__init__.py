"""Tuneward: private fine-tuning with proof.

The package front is empty on purpose: import from the module that defines a name
(``from tuneward.workflows.train import train``), so that nothing heavy loads unasked.
"""

__version__ = "0.1.0"
