"""Updates of a mixture's experts, cut as the base's files are cut: most hold one tensor per expert and projection.

Place on the road: beneath ``merge``, so that a mixture is merged one tensor at a time like any other base. How stacks
are made of stored tensors is asked of transformers (5.23), which writes a loaded model back in its files' form: what it
does with a weight it does with an update, because cutting and joining leave sums alone. Knows no adapter's files.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuneward.modeling.adapter_files import AdapterWeights
from tuneward.modeling.experts import Stack, find_stacks

#: Stacks whose updates are held at a time: files mix a layer's two projections, expert by expert.
_HELD = 2


class StoredExperts:
    """The updates of experts by the stored tensors that they change.

    Args:
        model: the base without data, as transformers has laid the files into it.
        weights: an adapter that fits it, or None.
        stored: key → shape of the files' tensors.

    Attributes:
        paths: stored key → path of the stack that it is a part of, of the stacks that the adapter changes.
        elsewhere: paths of such stacks that the files hold in another form.
    """

    def __init__(
        self, model: PreTrainedModel, weights: AdapterWeights | None, stored: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._model, self._weights = model, weights
        pairs = {} if weights is None else weights.pairs
        self._stacks: dict[str, Stack] = {path: stack for path, stack in find_stacks(model) if path in pairs}
        self._known: dict[str, dict[str, Tensor]] = {}
        self.paths: dict[str, str] = {}
        self.elsewhere: set[str] = set()
        for path, stack in self._stacks.items():
            parts = self._cut(path, torch.empty_like(stack.weight, device="meta"))
            if all(stored.get(key) == tuple(part.shape) for key, part in parts.items()):
                self.paths |= dict.fromkeys(parts, path)
            else:
                self.elsewhere.add(path)

    def add(self, key: str, value: Tensor) -> Tensor:
        """The stored tensor with its part of the update, in fp32."""
        path = self.paths[key]
        if path not in self._known:
            while len(self._known) >= _HELD:
                self._known.pop(next(iter(self._known)))
            self._known[path] = self._cut(path, self.update(path))
        return value.float() + self._known[path][key]

    def update(self, path: str) -> Tensor:
        """``s B A`` of every expert of a stack in fp32, in the form in which the model has the stack."""
        assert self._weights is not None, "there are stacks"
        a, b = self._weights.pairs[path]
        change = torch.bmm(b.float(), a.float()).mul_(self._weights.scale)
        return change.mT.contiguous() if self._stacks[path].transposed else change

    def _cut(self, path: str, stack: Tensor) -> dict[str, Tensor]:
        from transformers.core_model_loading import revert_weight_conversion

        return dict(revert_weight_conversion(self._model, {path: stack}))
