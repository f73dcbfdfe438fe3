"""Hidden tokens: what is added to a block of scores so that no row looks where it must not.

Place on the road: beneath ``packed``. Knows no document and no model.
"""

import torch
from torch import Tensor


class Hidden:
    """Addends that hide tokens: 0 where a row may look, minus infinity where not. Made once per shape."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.known: dict[tuple[int, ...], Tensor] = {}

    def after(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Row r sees columns 0 … r: (rows, columns)."""
        shape = (rows, columns)
        if shape not in self.known:
            full = torch.full(shape, float("-inf"), dtype=dtype, device=self.device)
            self.known[shape] = full.triu_(1)
        return self.known[shape]

    def outside(self, rows: int, columns: int, diagonal: int, window: int, dtype: torch.dtype) -> Tensor:
        """Row r stands at column ``diagonal + r`` and sees itself and ``window - 1`` before it.

        Padding rows may stand behind the last column; they see what it sees, because a row that saw nothing would have
        weights that are no number, and so would the gradients of all.
        """
        shape = (rows, columns, diagonal)
        if shape not in self.known:
            place = (torch.arange(rows, device=self.device)[:, None] + diagonal).clamp_max(columns - 1)
            distance = place - torch.arange(columns, device=self.device)
            addend = torch.zeros((rows, columns), dtype=dtype, device=self.device)
            self.known[shape] = addend.masked_fill_((distance < 0) | (distance >= window), float("-inf"))
        return self.known[shape]
