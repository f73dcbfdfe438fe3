"""Loading a base model, and the proof that it computes what Tuneward assumes.

Place on the road: from the pulled folder to a frozen model in memory, for training and the engine alike. Knows no
adapter and no data.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from tuneward.errors import Fault, ModelError
from tuneward.modeling import attention
from tuneward.modeling.config import Quantisation
from tuneward.modeling.machine import cpu_multiplies_bf16
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.quantisation import Nf4Matrix, import_bitsandbytes, quantise, release_files
from tuneward.modeling.quantised_ends import head_product, quantise_ends

Precision = Literal["bf16", "fp32"]
DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp32": torch.float32}


def best_precision(device: str = "cpu") -> Precision:
    """``bf16`` where the device multiplies bf16 natively, else ``fp32``."""
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if cpu_multiplies_bf16() else "fp32"  # without native support bf16 on a CPU is slower than fp32


def load_base(
    folder: Path,
    *,
    precision: Precision,
    device: str = "cpu",
    quantisation: Quantisation = "none",
) -> PreTrainedModel:
    """Load a base model: frozen, in evaluation mode, with Tuneward's attention.

    Where the files hold ``precision``, they are mapped: with ``quantisation`` one layer at a time is read, put into
    four bits on ``device`` and forgotten, so that neither memory ever holds the whole model in ``precision``.

    Args:
        folder: a Hugging Face folder (config.json and safetensors).
        precision: type of the weights and activations; of what is not quantised.
        device: ``cpu`` or ``cuda``.
        quantisation: which matrices are kept in four bits; see :func:`~tuneward.modeling.quantisation.quantise` and,
            of embedding and output head, :func:`~tuneward.modeling.quantised_ends.quantise_ends`.

    Raises:
        ModelError: missing or damaged files, weights that do not fill the architecture, code in the folder.
        MachineError: bitsandbytes is needed and not installed.
    """
    if quantisation != "none":
        import_bitsandbytes()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if not (folder / "config.json").is_file():
        raise ModelError(Fault("TW-BASE-030", "config.json is missing", str(folder), "pull the base again"))
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=DTYPES[precision],
            attn_implementation=attention.NAME,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises whatever its parts raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(Fault("TW-BASE-030", reason, str(folder), "pull the base again, or choose another")) from error
    missing = sorted([*report["missing_keys"], *(str(item) for item in report["mismatched_keys"])])
    if missing:
        raise ModelError(
            Fault(
                "TW-BASE-030", f"weights are missing or misshapen: {', '.join(missing[:5])}", str(folder), "pull again"
            )
        )
    model.requires_grad_(False)
    if quantisation != "none":
        quantise(model, device=torch.device(device))
        if quantisation == "nf4-all":
            quantise_ends(model, device=torch.device(device))
        release_files(model)
    return model.eval().to(device)


@dataclass(frozen=True)
class OutputHead:
    """The product that turns hidden states into logits.

    Attributes:
        weight: (vocabulary, hidden), frozen; in four bits where the head is kept so.
        bias: (vocabulary,) or None.
        multiplier: factor of the logits; 1 for most architectures.
        softcap: logits become ``softcap * tanh(logit / softcap)``; None for none (Gemma 2, arXiv 2408.00118).
    """

    weight: Tensor | Nf4Matrix
    bias: Tensor | None
    multiplier: float
    softcap: float | None

    @classmethod
    def of(cls, model: PreTrainedModel) -> "OutputHead":
        """The head of ``model``, with what its config says about scaling."""
        head: Any = model.get_output_embeddings()
        config: Any = model.config.get_text_config()
        divisor = getattr(config, "logits_scaling", None) or 1.0
        multiplier = (getattr(config, "logit_scale", None) or 1.0) / divisor
        softcap = getattr(config, "final_logit_softcapping", None)
        return cls(head.weight, getattr(head, "bias", None), float(multiplier), softcap)

    def logits(self, hidden: Tensor) -> Tensor:
        """(rows, hidden) → (rows, vocabulary), in the hidden states' type."""
        logits = head_product(hidden, self.weight, self.bias)
        if self.multiplier != 1.0:
            logits = logits * self.multiplier
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


@torch.no_grad()
def prove(model: PreTrainedModel, *, tokens: int = 24) -> None:
    """Compare Tuneward's way through ``model`` with transformers' own, on random tokens, before work starts.

    Three statements are checked on the very model: attention of ours equals transformers' eager attention; a document
    packed behind another equals the same document alone; the output head equals the model's own logits.

    Raises:
        ModelError: one of them does not hold; this architecture cannot be trained or served rightly.
    """
    config: Any = model.config
    generator = torch.Generator().manual_seed(0)
    vocabulary = config.get_text_config().vocab_size
    ids = torch.randint(0, vocabulary, (2, tokens), generator=generator).to(model.device)
    alone = hidden_states(model, ids[1:], PackedDocuments((tokens,)))
    packed = hidden_states(model, ids.reshape(1, -1), PackedDocuments((tokens, tokens)))[:, tokens:]
    model.set_attn_implementation("eager")
    try:
        theirs = model(input_ids=ids[1:], use_cache=False).logits
    finally:
        model.set_attn_implementation(attention.NAME)
    ours = OutputHead.of(model).logits(alone[0])
    tolerance = 2e-4 if model.dtype == torch.float32 else 0.1
    name = type(model).__name__
    faults = []
    if not _near(packed, alone, tolerance):
        faults.append(
            Fault("TW-BASE-037", f"{name}: a packed document differs from the same alone", name, "choose another base")
        )
    if not _near(ours, theirs[0], tolerance):
        faults.append(
            Fault("TW-BASE-032", f"{name}: logits differ from those of transformers", name, "choose another base")
        )
    if faults:
        raise ModelError(faults)


def hidden_states(model: PreTrainedModel, ids: Tensor, layout: PackedDocuments) -> Tensor:
    """The last hidden states of packed documents, normalised as the head expects them: (1, tokens, hidden)."""
    backbone: Any = model.base_model
    positions = layout.position_ids(ids.device)
    return backbone(input_ids=ids, position_ids=positions, use_cache=False, layout=layout).last_hidden_state


def _near(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Whether the difference is small against the spread of the values (root mean squares)."""
    difference, spread = (left - right).float().pow(2).mean().sqrt(), right.float().pow(2).mean().sqrt()
    return bool(difference <= tolerance * spread)
