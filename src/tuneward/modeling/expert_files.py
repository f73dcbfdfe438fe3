"""Updates of a mixture's experts as PEFT writes them down, and back.

Place on the road: beneath ``adapter_files``. PEFT (0.21, ``ParamWrapper``) keeps the factors of all experts of a
projection in two matrices: A (experts x rank, in), expert by expert, and B (out, rank x experts), rank by rank. It
wraps a module once for each of its parameters, the last one outermost, and names a tensor by how deep its wrapper lies:
``experts.lora_A`` is the last parameter's, ``experts.base_layer.lora_A`` that of the one before. Knows no model: which
projections a module has, and in which order, is the library's interface (``experts``).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tuneward.modeling.experts import PROJECTIONS

_DEEPER = ".base_layer"

Pair = tuple[Tensor, Tensor]


def as_tensors(experts: Mapping[str, Pair]) -> dict[str, Pair]:
    """Parameter path → A (experts, rank, in) and B (experts, out, rank), as PEFT's path → two matrices."""
    flat = {}
    for owner, names in _by_module(experts).items():
        for depth, name in enumerate(reversed(names)):
            a, b = experts[f"{owner}.{name}"]
            flat[owner + _DEEPER * depth] = a.flatten(0, 1), b.permute(1, 2, 0).flatten(1)
    return flat


def as_stacks(
    found: dict[str, dict[str, Tensor]], targets: Sequence[str], *, rank: int
) -> tuple[dict[str, Pair], list[str]]:
    """Take the updates of experts out of what a folder holds.

    Args:
        found: PEFT's path → its tensors (``A``, ``B``); those of experts are taken out.
        targets: the folder's ``target_parameters``.
        rank: of every update.

    Returns:
        Parameter path → A (experts, rank, in) and B (experts, out, rank), and what is wrong, in words.
    """
    faults = [
        f"target_parameters names {target}, which is no projection of experts ({', '.join(PROJECTIONS)})"
        for target in targets
        if target.rpartition(".")[2] not in PROJECTIONS
    ]
    if faults or not targets:
        return {}, faults
    experts = {}
    owners = {path.removesuffix(_DEEPER) for path, parts in found.items() if _of_experts(path, parts, targets, rank)}
    for owner in sorted(owners):
        names = [name for name in PROJECTIONS if _named(f"{owner}.{name}", targets)]
        for depth, name in enumerate(reversed(names)):
            parts = found.pop(owner + _DEEPER * depth, {})
            a, b = parts.get("A"), parts.get("B")
            if (told := _misfit(a, b, rank=rank)) is not None or len(parts) != 2:
                faults.append(f"{owner}.{name} {told or 'has more than A and B'}")
            elif a is not None and b is not None:
                experts[f"{owner}.{name}"] = (
                    a.unflatten(0, (-1, rank)).contiguous(),
                    b.unflatten(1, (rank, -1)).permute(2, 0, 1).contiguous(),
                )
    return experts, faults


def _misfit(a: Tensor | None, b: Tensor | None, *, rank: int) -> str | None:
    if a is None or b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or a.shape[0] % rank:
        return f"has no A and B of rank {rank} per expert"
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return "holds numbers that are not finite"
    return None


def _of_experts(path: str, parts: Mapping[str, Tensor], targets: Sequence[str], rank: int) -> bool:
    """Whether the tensors at a path are of experts; ends of names, which PEFT allows, may mean linear layers too."""
    mine = [f"{path.removesuffix(_DEEPER)}.{name}" for name in PROJECTIONS]
    if any(name in targets for name in mine):
        return True
    stacked = path.endswith(_DEEPER) or ("A" in parts and parts["A"].shape[:1] != (rank,))
    return stacked and any(_named(name, targets) for name in mine)


def _named(path: str, targets: Sequence[str]) -> bool:
    """PEFT's rule: the whole path or an end of it."""
    return any(path == target or path.endswith(f".{target}") for target in targets)


def _by_module(paths: Mapping[str, Pair]) -> dict[str, list[str]]:
    """Module path → names of its parameters, in the order in which the module has them."""
    modules: dict[str, list[str]] = {}
    for path in paths:
        owner, _, name = path.rpartition(".")
        modules.setdefault(owner, []).append(name)
    return {owner: sorted(names, key=PROJECTIONS.index) for owner, names in modules.items()}
