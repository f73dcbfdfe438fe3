"""A merged model as one GGUF file, the format of llama.cpp and of what is built on it.

Place on the road: takes the tensors of ``merge`` one by one, names and numbers from ``gguf_metadata``, the tokenizer
from ``gguf_tokenizer``. Matrices get the type that is asked for, vectors stay fp32; each is rounded once, from fp32.
``conversion`` goes the other way. Format: github.com/ggml-org/ggml, docs/gguf.md.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, get_tensor_name_map
from gguf.constants import GGML_QUANT_SIZES, GGML_QUANT_VERSION, MODEL_ARCH_NAMES
from gguf.quants import quant_shape_to_byte_shape, quantize
from torch import Tensor
from transformers import AutoConfig, LlamaConfig

from tuneward.errors import Fault, ModelError
from tuneward.modeling.conversion import convert_weights
from tuneward.modeling.folder_check import check_room
from tuneward.modeling.gguf_metadata import (
    CURE,
    Flavour,
    attention_factor,
    context_of,
    flavour_of,
    position_factors,
    query_factor,
    write_metadata,
)
from tuneward.modeling.gguf_tokenizer import write_tokenizer
from tuneward.modeling.merge import Merged, Stored

Kind = Literal["bf16", "f16", "q8_0"]
#: Type of the matrices → its number in a tensor's entry and in ``general.file_type``.
KINDS: dict[Kind, tuple[GGMLQuantizationType, LlamaFileType]] = {
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}


def write_gguf(merged: Merged, file: Path, kind: Kind, *, name: str = "", licence: str = "") -> int:
    """Write a model with its tokenizer and template into one file that does not exist yet.

    Args:
        merged: base and adapter.
        file: to be written.
        kind: type of the matrices.
        name: the model's name, as llama.cpp shows it.
        licence: of the base.

    Returns:
        The longest row, in tokens, for which the file computes what the model computes.

    Raises:
        ModelError: llama.cpp has no such architecture or tokenizer; nothing is written then.
        StorageError: there is less room than the file needs.
        OSError: the disk refuses to write.
    """
    config: dict[str, Any] = AutoConfig.from_pretrained(merged.base, local_files_only=True).get_text_config().to_dict()
    flavour = flavour_of(config)
    writer = GGUFWriter(None, MODEL_ARCH_NAMES[flavour.arch])
    if name:
        writer.add_name(name)
    if licence:
        writer.add_license(licence)
    writer.add_file_type(KINDS[kind][1])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    write_metadata(writer, config)
    if (factor := attention_factor(config)) is not None:
        writer.add_rope_scaling_attn_factors(factor)
    write_tokenizer(writer, merged.beside, rows=config["vocab_size"])
    layout = _layout(merged, flavour, config, kind)
    extra = {name: np.array(values, dtype=np.float32) for name, values in position_factors(config).items()}
    for name, values in extra.items():
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
    for name, (tensor, written) in layout.items():
        shape = quant_shape_to_byte_shape(tensor.shape, written) if written is not GGMLQuantizationType.F32 else None
        size = int(np.prod(shape)) if shape else 4 * int(np.prod(tensor.shape))
        kept = np.dtype(np.uint8 if shape else np.float32)
        writer.add_tensor_info(name, shape or tensor.shape, kept, size, raw_dtype=written)
    check_room(file.parent, sum(info.nbytes for part in writer.tensors for info in part.values()))
    writer.write_header_to_file(file)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    try:
        for data in (*extra.values(), *_data(merged, layout, flavour, config)):
            writer.write_tensor_data(data)
        writer.flush()
    finally:
        writer.close()
    return context_of(config)


def read_back(file: Path, base: Path, into: Path) -> None:
    """Write what a GGUF file of ours holds, dequantised, as a folder that transformers loads.

    The file's weights and names go through transformers' own reader. The configuration is the base's, as llama.cpp
    computes it: that reader does not take over every setting that the file carries.

    Args:
        file: as :func:`write_gguf` left it.
        base: folder of the base.
        into: an existing folder.
    """
    config: Any = AutoConfig.from_pretrained(base, local_files_only=True).get_text_config()
    if config.model_type == "mistral":  # llama.cpp's llama, as long as rows are no longer than the window
        llama = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        config = LlamaConfig.from_dict(config.to_dict() | llama)
    if hasattr(config, "query_pre_attn_scalar"):
        config.query_pre_attn_scalar = round(config.query_pre_attn_scalar * query_factor(config.to_dict()) ** 2)
    convert_weights(file, into, config=config, exact=True)


Layout = dict[str, tuple[Stored, GGMLQuantizationType]]


def _layout(merged: Merged, flavour: Flavour, config: dict[str, Any], kind: Kind) -> Layout:
    """GGUF name → tensor and type, in the order of the base's files.

    Raises:
        ModelError: a tensor has no name in this architecture; every one.
    """
    names = get_tensor_name_map(flavour.arch, config["num_hidden_layers"])
    layout: Layout = {}
    faults = []
    for tensor in merged.tensors:
        parameter = tensor.parameter or tensor.key
        if config.get("tie_word_embeddings") and parameter == "lm_head.weight":
            continue  # llama.cpp takes the embedding where there is no head
        name = names.get_name(parameter, try_suffixes=(".weight", ".bias"))
        if name is None or tensor.parameter is None:
            faults.append(Fault("TW-BASE-061", "this tensor has no name in GGUF", parameter, CURE))
        else:
            layout[name] = (tensor, _type(tensor, KINDS[kind][0]))
    if faults:
        raise ModelError(faults)
    return layout


def _type(tensor: Stored, asked: GGMLQuantizationType) -> GGMLQuantizationType:
    if len(tensor.shape) < 2:
        return GGMLQuantizationType.F32
    block = GGML_QUANT_SIZES[asked][0]
    return asked if tensor.shape[-1] % block == 0 else GGMLQuantizationType.F16


def _data(merged: Merged, layout: Layout, flavour: Flavour, config: dict[str, Any]) -> Iterator[np.ndarray[Any, Any]]:
    for tensor, written in layout.values():
        value = _as_llama_cpp_has_it(str(tensor.parameter), merged.read(tensor).float(), flavour, config).contiguous()
        yield value.numpy() if written is GGMLQuantizationType.F32 else _rounded(value, written)


def _rounded(value: Tensor, written: GGMLQuantizationType) -> np.ndarray[Any, Any]:
    if written is GGMLQuantizationType.F16:
        return value.half().numpy().view(np.uint8)
    if written is GGMLQuantizationType.BF16:
        return value.bfloat16().view(torch.uint8).numpy()
    done: np.ndarray[Any, Any] = quantize(value.numpy(), written)
    return done


def _as_llama_cpp_has_it(parameter: str, value: Tensor, flavour: Flavour, config: dict[str, Any]) -> Tensor:
    """The tensor in llama.cpp's order of rows, norms' offsets and attention's scale included."""
    layer = parameter.rpartition(".")[0].rpartition(".")[2]
    if flavour.pairs_rope and layer in {"q_proj", "k_proj"}:
        heads = config["num_attention_heads" if layer == "q_proj" else "num_key_value_heads"]
        halves = value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])  # (heads, 2, half, …)
        return halves.transpose(1, 2).reshape(value.shape)
    if flavour.norm_offset and layer.endswith("norm"):
        value = value + flavour.norm_offset
        return value * query_factor(config) if layer == "q_norm" else value
    return value
