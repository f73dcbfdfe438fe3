"""Targets: which weights of a base an adapter's settings mean.

Place on the road: between the settings and ``lora``. A target is a linear layer, by its module's path, or a projection
of a mixture's experts, by its parameter's path. Knows no update.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from torch import nn

from tuneward.errors import Fault, ModelError
from tuneward.modeling.config import ALL_LINEAR, AdapterConfig
from tuneward.modeling.experts import Stack, find_stacks
from tuneward.modeling.low_rank import Frozen
from tuneward.modeling.quantisation import Nf4Linear


def find_targets(model: nn.Module, config: AdapterConfig) -> Iterator[tuple[str, Frozen]]:
    """Linear layers that ``config.targets`` means, in the model's order; never the output head.

    Raises:
        ModelError: one fault per name that matches neither a linear layer nor experts, with the nearest names, or that
            means the output head.
    """
    yield from _find(model, config)[0].items()


def is_linear(module: nn.Module) -> bool:
    """Whether a module computes what a linear layer does; some routers are one by class, and choose experts."""
    return isinstance(module, Nf4Linear) or (
        isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
    )


def is_gate(layer: Frozen) -> bool:
    """Whether a layer answers with one number, as the gate of a shared expert: too little for any rank but 1."""
    return layer.out_features == 1


def find_experts(model: nn.Module, config: AdapterConfig) -> dict[str, Stack]:
    """Projections of experts that ``config.targets`` means, by path, in the model's order.

    Raises:
        ModelError: see :func:`find_targets`.
    """
    return _find(model, config)[1]


def _find(model: nn.Module, config: AdapterConfig) -> tuple[dict[str, Frozen], dict[str, Stack]]:
    head = cast(Any, model).get_output_embeddings()
    every = {path: cast(Frozen, module) for path, module in model.named_modules() if is_linear(module)}
    heads = {path for path, module in model.named_modules() if module is head}  # also one that is no linear layer
    linear = {path: module for path, module in every.items() if path not in heads}
    experts = dict(find_stacks(model))
    if config.targets != ALL_LINEAR:
        known = [*linear, *experts]
        faults = [
            _no_target(name, known, heads) for name in config.targets if not any(_matches(path, name) for path in known)
        ]
        if faults:
            raise ModelError(faults)
        linear = {path: m for path, m in linear.items() if any(_matches(path, name) for name in config.targets)}
        experts = {path: m for path, m in experts.items() if any(_matches(path, name) for name in config.targets)}
    else:
        linear = {path: m for path, m in linear.items() if not is_gate(m)}
    if not linear and not experts:
        raise ModelError(
            Fault("TW-BASE-033", "the model has no linear layer", "training.adapter.targets", "choose another base")
        )
    return linear, experts


def require_plain_experts(experts: Mapping[str, Stack], config: AdapterConfig) -> None:
    """Refuse what is not computed for experts, by PEFT neither.

    Raises:
        ModelError: the settings ask for DoRA or dropout, and some targets are experts.
    """
    asked = [name for name, value in (("dora", config.dora), ("dropout", config.dropout)) if value]
    if not experts or not asked:
        return
    told = f"{' and '.join(asked)} cannot be had for the experts of a mixture"
    cure = f"leave out {' and '.join(asked)}, or name linear layers such as q_proj as targets"
    raise ModelError(Fault("TW-BASE-042", told, "training.adapter", cure))


def _no_target(name: str, paths: Collection[str], heads: set[str]) -> Fault:
    known = sorted({path.rpartition(".")[2] for path in paths})
    if any(_matches(path, name) for path in heads):
        message = f"{name} is the output head, which receives no update"
        return Fault("TW-BASE-038", message, "training.adapter.targets", f"choose among {', '.join(known)}")
    near = difflib.get_close_matches(name, known, n=3) or known
    message, cure = f"no linear layer or expert is named {name}", f"did you mean {', '.join(near)}?"
    return Fault("TW-BASE-033", message, "training.adapter.targets", cure)


def _matches(path: str, name: str) -> bool:
    return path == name or path.endswith("." + name)
