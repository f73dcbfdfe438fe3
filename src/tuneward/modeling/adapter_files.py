"""Adapters on disk, in PEFT's format: the only file that knows PEFT's names (``r``, ``lora_A``, ``base_model.model``).

Place on the road: training leaves such a folder; evaluation, registry and engine read it; plain ``peft`` loads it.
Reads safetensors only, never a pickle. Knows no model beyond module paths and sizes. How PEFT writes down updates of a
mixture's experts is ``expert_files``' to know.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tuneward.errors import Fault, ModelError
from tuneward.modeling.config import ADAPTER_CONFIG, ADAPTER_WEIGHTS, update_scale
from tuneward.modeling.expert_files import as_stacks, as_tensors
from tuneward.modeling.experts import Stack, stacks_of
from tuneward.modeling.targets import is_linear

#: Name of the module that turns a hidden state into a score, as sequence classifiers of transformers have it.
SCORE = "score"

_KEY = re.compile(r"^base_model\.model\.(?P<path>.+)\.(?:lora_(?P<side>[AB])\.weight|lora_(?P<m>m)agnitude_vector)$")
_SCORE_KEY = f"base_model.model.{SCORE}.weight"

#: Settings of PEFT that would change what the tensors mean; anything but these values is refused.
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, [], [SCORE]),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "lora_bias": (False, None),
    # variants of PEFT 0.21 whose tensors have plain LoRA's names
    "alora_invocation_tokens": (None,),
    "use_qalora": (False, None),
    "use_bdlora": (None, False),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
}


@dataclass(frozen=True)
class AdapterWeights:
    """A LoRA adapter in memory.

    Attributes:
        rank: rank of every pair.
        alpha: numerator of the scaling.
        pairs: module path → A (rank, in) and B (out, rank), fp32; of a mixture's experts parameter path → A (experts,
            rank, in) and B (experts, out, rank).
        dropout: as trained; says nothing about use.
        rslora: whether the scaling is ``alpha / sqrt(rank)`` instead of ``alpha / rank``.
        magnitudes: module path → length of each row (out,), fp32; all paths with DoRA, empty without.
        score: (1, hidden) fp32: what turns the last token's hidden state into a score; None but for a reward model.
    """

    rank: int
    alpha: float
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    dropout: float = 0.0
    rslora: bool = False
    magnitudes: Mapping[str, Tensor] = field(default_factory=dict)
    score: Tensor | None = None

    @property
    def scale(self) -> float:
        """The factor of the update; see :func:`~tuneward.modeling.config.update_scale`."""
        return update_scale(self.rank, self.alpha, rslora=self.rslora)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        pairs = sum(a.numel() + b.numel() for a, b in self.pairs.values())
        score = 0 if self.score is None else self.score.numel()
        return pairs + sum(magnitude.numel() for magnitude in self.magnitudes.values()) + score


def save_adapter(weights: AdapterWeights, folder: Path, *, base_name: str) -> None:
    """Write ``weights`` as a PEFT folder; the same weights give the same bytes.

    Args:
        weights: what to write.
        folder: created if missing.
        base_name: how the adapter names its base; a name or digest, never a path of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    experts = {path: pair for path, pair in weights.pairs.items() if pair[0].ndim == 3}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": weights.rank,
        "lora_alpha": weights.alpha,
        "lora_dropout": weights.dropout,
        # exact module paths: "q_proj" alone could match more than was trained
        "target_modules": sorted(weights.pairs.keys() - experts.keys()),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "use_dora": bool(weights.magnitudes),
        "use_rslora": weights.rslora,
    }
    if experts:
        config["target_parameters"] = sorted(experts)
    tensors = {}
    flat = {path: pair for path, pair in weights.pairs.items() if path not in experts} | as_tensors(experts)
    for path, (a, b) in flat.items():
        tensors[f"base_model.model.{path}.lora_A.weight"] = a.detach().float().cpu().contiguous()
        tensors[f"base_model.model.{path}.lora_B.weight"] = b.detach().float().cpu().contiguous()
    for path, magnitude in weights.magnitudes.items():
        tensors[f"base_model.model.{path}.lora_magnitude_vector"] = magnitude.detach().float().cpu().contiguous()
    if weights.score is not None:
        config |= {"task_type": "SEQ_CLS", "modules_to_save": [SCORE]}
        tensors[_SCORE_KEY] = weights.score.detach().float().cpu().contiguous()
    (folder / ADAPTER_WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))  # `save_file` hides a full disk
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / ADAPTER_CONFIG).write_text(text, encoding="utf-8")


def load_adapter(folder: Path) -> AdapterWeights:
    """Read a PEFT folder.

    Raises:
        ModelError: files are missing or damaged, keys or sizes disagree, or the adapter is of a kind that is not plain
            LoRA; all faults at once.
    """
    config, tensors = _read(folder)
    place = str(folder)
    faults = []
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if config.get("peft_type") != "LORA" or type(rank) is not int or rank < 1 or not isinstance(alpha, int | float):
        raise ModelError(
            Fault(
                "TW-BASE-035", "not a LoRA adapter (peft_type, r, lora_alpha)", place, "train it with Tuneward or peft"
            )
        )
    for key, plain in _PLAIN.items():
        if config.get(key) not in plain:
            faults.append(
                Fault("TW-BASE-035", f"{key} = {config[key]!r} is not supported", place, "train a plain LoRA adapter")
            )
    rslora, dora = bool(config.get("use_rslora")), bool(config.get("use_dora"))
    score = tensors.pop(_SCORE_KEY, None)
    if (score is not None) != bool(config.get("modules_to_save")) or (score is not None and score.shape[0] != 1):
        faults.append(Fault("TW-BASE-035", f"{SCORE} is no single score", place, "train it again"))
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _KEY.match(name)
        if match is None:
            faults.append(Fault("TW-BASE-035", f"unknown tensor {name}", place, "train a LoRA or DoRA adapter"))
        else:
            found.setdefault(match["path"], {})[match["side"] or "m"] = tensor.float()
    named = config.get("target_parameters") or []
    named = [str(name) for name in named] if isinstance(named, list) else [str(named)]
    experts, told_of = as_stacks(found, named, rank=rank)
    faults += [Fault("TW-BASE-035", told, place, "train linear layers and experts only") for told in told_of]
    for path, parts in found.items():
        if (told := _misfit(parts, rank=rank, dora=dora)) is not None:
            faults.append(Fault("TW-BASE-035", f"{path} {told}", place, "train it again"))
    if not found and not experts:
        faults.append(Fault("TW-BASE-035", "the adapter is empty", place, "train it again"))
    if faults:
        raise ModelError(faults)
    return AdapterWeights(
        rank=rank,
        alpha=float(alpha),
        pairs={path: (parts["A"], parts["B"]) for path, parts in found.items()} | experts,
        dropout=float(config.get("lora_dropout") or 0.0),
        rslora=rslora,
        magnitudes={path: parts["m"] for path, parts in found.items()} if dora else {},
        score=score,
    )


def _misfit(parts: Mapping[str, Tensor], *, rank: int, dora: bool) -> str | None:
    """What is wrong with the tensors of one layer, or None."""
    a, b, magnitude = (parts.get(part) for part in ("A", "B", "m"))
    if a is None or b is None or a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
        return f"has no A and B of rank {rank}"
    if (magnitude is not None) != dora or (magnitude is not None and magnitude.shape != b.shape[:1]):
        return "has no magnitude for each output" if dora else "has a magnitude, but use_dora is not set"
    if not all(bool(torch.isfinite(tensor).all()) for tensor in parts.values()):
        return "holds numbers that are not finite"
    return None


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        if not isinstance(config, dict):
            raise ValueError("adapter_config.json holds no object")
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            Fault("TW-BASE-035", f"{type(error).__name__}: {error}", str(folder), "copy or train the adapter again")
        ) from None
    return config, tensors


def check_fits(weights: AdapterWeights, model: nn.Module) -> list[Fault]:
    """Every way in which ``weights`` do not belong to ``model``; empty when they do."""
    faults = []
    modules = dict(model.named_modules())
    head = cast(Any, model).get_output_embeddings()
    for path, (a, b) in weights.pairs.items():
        if a.ndim == 3:
            faults += _experts_misfit(path, a, b, modules)
            continue
        layer = modules.get(path)
        weight = getattr(layer, "weight", None)
        if layer is not None and layer is head:  # it sees the last tokens only, not the call's
            faults.append(
                Fault("TW-BASE-036", "an update of the output head is not computed", path, "train it without the head")
            )
        elif (
            not isinstance(weight, Tensor)
            or weight.ndim != 2
            or (isinstance(layer, nn.Linear) and not is_linear(layer))
        ):
            faults.append(Fault("TW-BASE-036", "the base has no such linear layer", path, "use the adapter's own base"))
        elif (weight.shape[0], weight.shape[1]) != (b.shape[0], a.shape[1]):
            told = f"the adapter maps {a.shape[1]} to {b.shape[0]}, the base {weight.shape[1]} to {weight.shape[0]}"
            faults.append(Fault("TW-BASE-036", told, path, "use the adapter's own base"))
    if weights.score is not None:
        cure = "load it as a sequence classifier; serve an adapter that was trained to answer"
        faults.append(Fault("TW-BASE-036", "the adapter scores answers and writes none", SCORE, cure))
    if not math.isfinite(weights.alpha):
        faults.append(Fault("TW-BASE-036", "alpha is no finite number", "lora_alpha", "train it again"))
    return faults


def _experts_misfit(path: str, a: Tensor, b: Tensor, modules: Mapping[str, nn.Module]) -> list[Fault]:
    owner, _, name = path.rpartition(".")
    stack: Stack | None = stacks_of(modules[owner]).get(name) if owner in modules else None
    cure = "use the adapter's own base"
    if stack is None:
        return [Fault("TW-BASE-036", "the base has no such experts", path, cure)]
    has = (stack.count, stack.in_features, stack.out_features)
    asks = (a.shape[0], a.shape[2], b.shape[1])
    if has == asks:
        return []
    told = "the adapter has {} experts that map {} to {}".format(*asks) + ", the base {} that map {} to {}".format(*has)
    return [Fault("TW-BASE-036", told, path, cure)]
