"""NEFTune: uniform noise on the embeddings of what is trained on.

Place on the road: put into a model before training. ``e + U(-1, 1) * alpha / sqrt(L * d)`` (arXiv 2310.05914, section
2), with d the width and L the length of the token's own document, however many documents are packed together. Added
only where gradients are made: measuring, sampling and the reference see the model without it. The noise comes from
torch's generator, which a checkpoint holds. Knows no loss.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuneward.modeling.packed import PackedDocuments


class EmbeddingNoise:
    """Noise on a model's input embeddings.

    Args:
        model: receives hooks; :meth:`remove` takes them away.
        alpha: strength; the paper takes 5 to 15.
    """

    def __init__(self, model: PreTrainedModel, alpha: float) -> None:
        self.alpha = alpha
        self._layout: PackedDocuments | None = None
        backbone: Any = model.base_model
        embedding: Any = model.get_input_embeddings()
        self._hooks = [
            backbone.register_forward_pre_hook(self._enter, with_kwargs=True),
            embedding.register_forward_hook(self._add),
        ]

    def remove(self) -> None:
        """Leave the model as it was."""
        for hook in self._hooks:
            hook.remove()

    def _enter(self, module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        layout = named.get("layout")
        self._layout = layout if isinstance(layout, PackedDocuments) and torch.is_grad_enabled() else None

    def _add(self, module: nn.Module, arguments: tuple[Any, ...], states: Tensor) -> Tensor | None:
        if self._layout is None:
            return None
        lengths = torch.tensor(document_lengths(self._layout), dtype=torch.float32)
        scale = (lengths * states.shape[-1]).rsqrt_().mul_(self.alpha)  # (segments,)
        per_token = scale.repeat_interleave(torch.tensor(self._layout.lengths)).to(states.device)
        noise = torch.empty(states.shape, dtype=torch.float32, device=states.device).uniform_(-1.0, 1.0)
        return states + noise.mul_(per_token[:, None]).to(states.dtype)  # (1, tokens, width)


def document_lengths(layout: PackedDocuments) -> list[int]:
    """For each segment the length of its document; a shared prompt counts with the longest of what continues it."""
    ends = [sum(end - first for first, end in context) for context in layout.contexts]
    for number in reversed(range(len(ends))):
        before = layout.after[number] if layout.after else None
        if before is not None:
            ends[before] = max(ends[before], ends[number])
    return ends
