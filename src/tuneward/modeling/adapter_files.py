"""Adapters on disk, in PEFT's format: the only file that knows PEFT's names (``r``, ``lora_A``, ``base_model.model``).

Place on the road: training leaves such a folder; evaluation, registry and engine read it; plain ``peft`` loads it.
Reads safetensors only, never a pickle. Knows no model beyond module paths and sizes.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tuneward.errors import Fault, ModelError

#: Name of the module that turns a hidden state into a score, as sequence classifiers of transformers have it.
SCORE = "score"

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_KEY = re.compile(r"^base_model\.model\.(?P<path>.+)\.lora_(?P<side>[AB])\.weight$")
_SCORE_KEY = f"base_model.model.{SCORE}.weight"

#: Settings of PEFT that would change what the two factors mean; anything but these values is refused.
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "use_rslora": (False, None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, [], [SCORE]),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "lora_bias": (False, None),
    "target_parameters": (None, []),
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
        alpha: numerator of the scaling ``alpha / rank``.
        pairs: module path → A (rank, in) and B (out, rank), fp32.
        dropout: as trained; says nothing about use.
        score: (1, hidden) fp32: what turns the last token's hidden state into a score; None but for a reward model.
    """

    rank: int
    alpha: float
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    dropout: float = 0.0
    score: Tensor | None = None

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        score = 0 if self.score is None else self.score.numel()
        return score + sum(a.numel() + b.numel() for a, b in self.pairs.values())


def save_adapter(weights: AdapterWeights, folder: Path, *, base_name: str) -> None:
    """Write ``weights`` as a PEFT folder; the same weights give the same bytes.

    Args:
        weights: what to write.
        folder: created if missing.
        base_name: how the adapter names its base; a name or digest, never a path of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": weights.rank,
        "lora_alpha": weights.alpha,
        "lora_dropout": weights.dropout,
        # exact module paths: "q_proj" alone could match more than was trained
        "target_modules": sorted(weights.pairs),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "use_dora": False,
        "use_rslora": False,
    }
    tensors = {}
    for path, (a, b) in weights.pairs.items():
        tensors[f"base_model.model.{path}.lora_A.weight"] = a.detach().float().cpu().contiguous()
        tensors[f"base_model.model.{path}.lora_B.weight"] = b.detach().float().cpu().contiguous()
    if weights.score is not None:
        config |= {"task_type": "SEQ_CLS", "modules_to_save": [SCORE]}
        tensors[_SCORE_KEY] = weights.score.detach().float().cpu().contiguous()
    (folder / WEIGHTS_FILE).write_bytes(save(tensors, metadata={"format": "pt"}))  # `save_file` hides a full disk
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


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
    if config.get("peft_type") != "LORA" or not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
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
    sides: dict[str, dict[str, Tensor]] = {}
    score = tensors.pop(_SCORE_KEY, None)
    if (score is not None) != bool(config.get("modules_to_save")) or (score is not None and score.shape[0] != 1):
        faults.append(Fault("TW-BASE-035", f"{SCORE} is no single score", place, "train it again"))
    for name, tensor in tensors.items():
        match = _KEY.match(name)
        if match is None:
            faults.append(Fault("TW-BASE-035", f"unknown tensor {name}", place, "train a plain LoRA adapter"))
        else:
            sides.setdefault(match["path"], {})[match["side"]] = tensor.float()
    for path, pair in sides.items():
        fits = set(pair) == {"A", "B"} and all(t.ndim == 2 for t in pair.values())
        if not fits or pair["A"].shape[0] != rank or pair["B"].shape[1] != rank:
            faults.append(Fault("TW-BASE-035", f"{path}: A and B do not have rank {rank}", place, "train it again"))
        elif not all(bool(torch.isfinite(t).all()) for t in pair.values()):
            faults.append(Fault("TW-BASE-035", f"{path} holds numbers that are not finite", place, "train it again"))
    if not sides:
        faults.append(Fault("TW-BASE-035", "the adapter is empty", place, "train it again"))
    if faults:
        raise ModelError(faults)
    pairs = {path: (pair["A"], pair["B"]) for path, pair in sides.items()}
    return AdapterWeights(rank, float(alpha), pairs, float(config.get("lora_dropout") or 0.0), score)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS_FILE)
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
        layer = modules.get(path)
        weight = getattr(layer, "weight", None)
        if layer is not None and layer is head:  # it sees the last tokens only, not the call's
            faults.append(
                Fault("TW-BASE-036", "an update of the output head is not computed", path, "train it without the head")
            )
        elif not isinstance(weight, Tensor) or weight.ndim != 2:
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
