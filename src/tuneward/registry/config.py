"""Settings of export: how a copy is checked, and from where on it is refused.

Place on the road: ``export:`` in ``tuneward.yaml``, read by ``workflows/export``. Knows no format.
"""

from pydantic import Field

from tuneward.configuration import Section


class ExportConfig(Section):
    """The check that every exported copy goes through: base and adapter against the copy, on held-out answers."""

    rows: int = Field(default=64, ge=1)
    """Most held-out rows that a copy is checked on: the first ones of the test set."""

    tokens: int = Field(default=2048, ge=1)
    """Answer tokens after which no more rows are taken; the check keeps four bytes per token and vocabulary entry on
    disk while it runs."""

    max_mean_kl: float = Field(default=0.02, gt=0, allow_inf_nan=False)
    """Largest mean of KL(adapter ‖ copy) over the answer tokens, in nats."""

    min_agreement: float = Field(default=0.98, ge=0, le=1)
    """Smallest share of answer tokens at which both put the same token first; also, where llama.cpp reads the copy, the
    smallest share of rows that it cuts into the same tokens."""
