"""What a model's configuration is called in GGUF: one table of architectures, read by ``gguf_file``.

Place on the road: the other half of ``gguf_file`` beside ``gguf_tokenizer``. Says what llama.cpp computes differently
and how the file makes up for it (source: llama.cpp, src/models); refuses what cannot be made up for. Reads no weights.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gguf import MODEL_ARCH, GGUFWriter, RopeScalingType

from tuneward.errors import Fault, ModelError
from tuneward.modeling.context import longest_row

CURE = "export as safetensors; or serve the adapter with Tuneward, which needs no GGUF"
#: llama.cpp's Gemma 3 with so many layers scales attention by the hidden size per head (src/models/gemma3.cpp).
GEMMA3_27B_LAYERS = 62


@dataclass(frozen=True)
class Flavour:
    """How an architecture of transformers is one of llama.cpp.

    Attributes:
        arch: llama.cpp's architecture.
        pairs_rope: rotary halves lie side by side, so the rows of q and k are reordered.
        norm_offset: added to the weights of norms, which transformers adds when it computes.
        windows: llama.cpp limits attention to a window where the configuration says so.
    """

    arch: MODEL_ARCH
    pairs_rope: bool = False
    norm_offset: float = 0.0
    windows: bool = False


#: ``model_type`` → flavour.
FLAVOURS: Mapping[str, Flavour] = {
    "llama": Flavour(MODEL_ARCH.LLAMA, pairs_rope=True),
    "mistral": Flavour(MODEL_ARCH.LLAMA, pairs_rope=True),
    "qwen2": Flavour(MODEL_ARCH.QWEN2),
    "qwen3": Flavour(MODEL_ARCH.QWEN3),
    "phi3": Flavour(MODEL_ARCH.PHI3),
    "gemma3_text": Flavour(MODEL_ARCH.GEMMA3, norm_offset=1.0, windows=True),
}


def flavour_of(config: Mapping[str, Any]) -> Flavour:
    """The flavour of a configuration.

    Args:
        config: as transformers completes it.

    Raises:
        ModelError: no flavour, or a setting that llama.cpp does not compute; every fault.
    """
    kind = str(config.get("model_type"))
    if kind not in FLAVOURS:
        raise ModelError(_refusal(f"architecture {kind} is not among {', '.join(FLAVOURS)}", "model_type"))
    faults = []
    if (activation := config.get("hidden_act") or config.get("hidden_activation")) not in {"silu", "gelu_pytorch_tanh"}:
        faults.append(_refusal(f"llama.cpp does not compute {kind} with {activation}", "hidden_act"))
    if config.get("attn_logit_softcapping"):
        faults.append(_refusal(f"llama.cpp does not cap the attention of {kind}", "attn_logit_softcapping"))
    rope = _rope(config)
    known = {"default", "linear", *(("llama3",) if kind == "llama" else ()), *(("longrope",) if kind == "phi3" else ())}
    if rope.get("rope_type", "default") not in known:
        faults.append(_refusal(f"positions of {kind} scaled by {rope['rope_type']} are not written", "rope_parameters"))
    if faults:
        raise ModelError(faults)
    return FLAVOURS[kind]


def context_of(config: Mapping[str, Any]) -> int:
    """Most tokens for which llama.cpp computes what transformers computes: where it knows no window, the window."""
    limit, window = longest_row(config), config.get("sliding_window")
    if not window or not config.get("use_sliding_window", True) or FLAVOURS[config["model_type"]].windows:
        return limit
    return min(limit, int(window))


def head_dim(config: Mapping[str, Any]) -> int:
    """Width of an attention head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def query_factor(config: Mapping[str, Any]) -> float:
    """Factor of queries that makes up for another scale of attention in llama.cpp; only Gemma 3 has one."""
    if "query_pre_attn_scalar" not in config:
        return 1.0
    theirs = head_dim(config)
    if config["num_hidden_layers"] == GEMMA3_27B_LAYERS:
        theirs = config["hidden_size"] // config["num_attention_heads"]
    return math.sqrt(theirs / config["query_pre_attn_scalar"])


def write_metadata(writer: GGUFWriter, config: Mapping[str, Any]) -> None:
    """Write sizes, positions and windows of a configuration that :func:`flavour_of` took."""
    writer.add_context_length(context_of(config))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    rope = _rope(config)
    writer.add_rope_dimension_count(int(head_dim(config) * rope.get("partial_rotary_factor", 1.0)))
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if config["model_type"] == "phi3":
        writer.add_rope_scaling_orig_ctx_len(_known_context(config))
        writer.add_sliding_window(0)
    if FLAVOURS[config["model_type"]].windows:
        writer.add_sliding_window(config["sliding_window"])
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config["layer_types"]])
        writer.add_rope_freq_base_swa(config["rope_parameters"]["sliding_attention"]["rope_theta"])


def position_factors(config: Mapping[str, Any]) -> dict[str, list[float]]:
    """Tensor name → divisors of the rotary frequencies, for Llama 3's and Phi 3's scalings; else nothing.

    Of LongRoPE's two lists, rows within :func:`context_of` need the short one. llama.cpp chooses by the memory that it
    was given and not by the row, so it finds the short one under both names.
    """
    rope = _rope(config)
    if rope.get("rope_type") == "llama3":
        return {"rope_freqs.weight": _llama3_factors(config, rope)}
    if rope.get("rope_type") == "longrope":
        return dict.fromkeys(("rope_factors_long.weight", "rope_factors_short.weight"), rope["short_factor"])
    return {}


def attention_factor(config: Mapping[str, Any]) -> float | None:
    """Factor of rotated queries and keys under LongRoPE (arXiv 2402.13753), or None."""
    rope = _rope(config)
    if rope.get("rope_type") != "longrope":
        return None
    if rope.get("attention_factor"):
        return float(rope["attention_factor"])
    known = _known_context(config)
    stretch = config["max_position_embeddings"] / known
    return math.sqrt(1 + math.log(stretch) / math.log(known)) if stretch > 1 else 1.0


def _known_context(config: Mapping[str, Any]) -> int:
    rope = _rope(config)
    known = rope.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    return int(known or config["max_position_embeddings"])


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """How positions enter; of the layers without window where the two kinds differ."""
    rope: Mapping[str, Any] = config["rope_parameters"]
    return rope.get("full_attention", rope)


def _llama3_factors(config: Mapping[str, Any], rope: Mapping[str, Any]) -> list[float]:
    """Long waves are stretched by the factor, short ones not, those between in proportion (Llama 3.1's model code)."""
    width, factor = head_dim(config), rope["factor"]
    low, high, known = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    factors = []
    for index in range(0, width, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (index / width)
        share = min(max((known / wave - low) / (high - low), 0.0), 1.0)  # 0: long waves; 1: short ones
        factors.append(1 / ((1 - share) / factor + share))
    return factors


def _refusal(what: str, place: str) -> Fault:
    return Fault("TW-BASE-061", what, f"config.json: {place}", CURE)
