"""Attention of ours, plugged into every causal model of transformers under the name ``tuneward``.

Place on the road: below the model in training and in the engine. The caller hands a *layout* through
``model(..., layout=layout)``; the layout says which token may see which, and computes. Here lives the layout of
training, :class:`PackedDocuments`; the engine brings its own with a cache. The registered function knows neither.

No mask tensor exists: transformers builds none for an attention that is registered here and not in its mask table.
An architecture that does not pass the layout down, or asks for attention that a layout cannot do, is refused.
"""

from dataclasses import dataclass
from typing import Any, Protocol, cast

from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tuneward.errors import Fault, ModelError

NAME = "tuneward"

#: Arguments with which some architectures change the attention's numbers in ways that no layout of ours computes.
FOREIGN = ("s_aux", "sinks", "position_bias", "head_mask", "indices_for_attention")


@dataclass(frozen=True)
class Scoring:
    """What an architecture asks of one layer's scores.

    Attributes:
        scaling: factor of the scores.
        window: a token sees itself and the ``window - 1`` tokens before it; None for all before it.
        softcap: scores become ``softcap * tanh(score / softcap)``; None for none (Gemma 2, arXiv 2408.00118).
    """

    scaling: float
    window: int | None
    softcap: float | None


class Layout(Protocol):
    """Which token sees which, and the computation of attention under that rule."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """Attention of one layer over the tokens of one call.

        Args:
            layer: the layer's number, 0-based.
            query: (1, heads, tokens, head_dim), rotated.
            key: (1, kv_heads, tokens, head_dim), rotated; ``heads`` is a multiple of ``kv_heads``.
            value: (1, kv_heads, tokens, head_dim).
            scoring: scaling, sliding window and softcap.

        Returns:
            (1, tokens, heads, head_dim)
        """
        ...


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    layout: Layout | None = None,
    is_causal: bool | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls in each layer: finds the layout and hands over.

    Raises:
        ModelError: the layout never arrived, or the architecture asks for what a layout does not compute.
    """
    name = type(module).__name__
    if layout is None:
        raise ModelError(
            Fault(
                "TW-BASE-031",
                f"{name} was called without a layout, so documents could see one another",
                name,
                "this architecture does not pass model arguments to its attention; choose another base",
            )
        )
    odd = [key for key in FOREIGN if rest.get(key) is not None]
    if attention_mask is not None:
        odd.append("attention_mask")
    if is_causal is False or getattr(module, "is_causal", True) is False:
        odd.append("attention to later tokens")
    if dropout:
        odd.append("attention dropout")
    if odd:
        raise ModelError(
            Fault("TW-BASE-032", f"{name} asks for {', '.join(odd)}", name, "choose a base with plain causal attention")
        )
    scoring = Scoring(query.shape[-1] ** -0.5 if scaling is None else scaling, sliding_window, softcap)
    return layout.attend(int(cast(Any, module).layer_idx), query, key, value, scoring), None


ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
