"""Merging: a base's weights with an adapter's updates added, one tensor in memory at a time.

Place on the road: between ``adapter_files`` and whatever writes a model without its adapter (``safetensors`` here, GGUF
in ``gguf_file``). An update is added in fp32 and rounded once, to the type that is written. Tensors without an update
keep their bytes; so tied weights stay tied. Knows no site and judges nothing: whether the copy says what the adapter
says is ``agreement``'s to measure.

Which stored tensor belongs to which layer is asked of transformers, which (5.23) renames and joins some keys on
loading; ``stored_experts`` asks it how a mixture's experts are joined.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tuneward.errors import Fault, ModelError
from tuneward.modeling.adapter_files import AdapterWeights, check_fits
from tuneward.modeling.folder_check import AGAIN, INDEX, check_room, check_safetensors, read_config, weight_files
from tuneward.modeling.low_rank import merged_weight
from tuneward.modeling.stored_experts import StoredExperts
from tuneward.storage.files import flush

Kept = Literal["bf16", "f16"]
#: Types that a copy may be written in: safetensors' name, config.json's name, torch's.
TYPES: Mapping[Kept, tuple[str, str, torch.dtype]] = {
    "bf16": ("BF16", "bfloat16", torch.bfloat16),
    "f16": ("F16", "float16", torch.float16),
}
FLOATING = frozenset({"F64", "F32", "F16", "BF16"})
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class Stored:
    """A tensor of the base's files.

    Attributes:
        file: name of its file.
        key: its name there.
        parameter: the model's parameter that it fills alone; None where transformers joins or changes it on loading.
        dtype: as safetensors writes it.
        shape: likewise.
        begin: first byte in the file.
        end: the byte after the last.
    """

    file: str
    key: str
    parameter: str | None
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Merged:
    """The tensors of a base with an adapter merged in.

    Args:
        base: folder of the base, or of a fully trained model, in transformers' format.
        weights: the adapter; None gives the base itself.
        beside: folder with tokenizer, template and licence where ``base`` has only weights; ``base`` when left out.

    Attributes:
        config: the base's ``config.json``.
        tensors: every stored tensor, file by file, in the files' order.
        whole: True where an updated layer's weight is stored in another form than the model has it.

    Raises:
        ModelError: the base's weights are quantised, or the adapter does not fit it; every fault.
    """

    def __init__(self, base: Path, weights: AdapterWeights | None, *, beside: Path | None = None) -> None:
        self.base, self.beside, self.config = base, beside or base, read_config(base)
        self._weights = weights
        _refuse_quantised(self.config)
        model = _skeleton(base)
        faults = [] if weights is None else check_fits(weights, model)
        faults += [] if weights is None else _tied(weights, model)
        if faults:
            raise ModelError(faults)
        self.tensors = [tensor for name in weight_files(base) for tensor in _read_header(base, name)]
        names = _parameters(model, [tensor.key for tensor in self.tensors])
        self.tensors = [Stored(**vars(t) | {"parameter": names[t.key]}) for t in self.tensors]
        stored = {tensor.key: tensor.shape for tensor in self.tensors}
        self._experts = StoredExperts(model, weights, stored)
        layers = [] if weights is None else [path for path, (a, _) in weights.pairs.items() if a.ndim == 2]
        updated = {f"{path}.weight": path for path in layers}
        alone = {tensor.parameter: tensor for tensor in self.tensors}
        self.whole = any(name not in alone for name in updated) or bool(self._experts.elsewhere)
        self._paths = {} if self.whole else {alone[name].key: path for name, path in updated.items()}
        self._paths |= {} if self.whole else self._experts.paths
        wrong = [
            _quantised(tensor.key)
            for tensor in self.tensors
            if tensor.key in self._paths and tensor.dtype not in FLOATING
        ]
        if wrong:
            raise ModelError(wrong)

    def updated(self, tensor: Stored) -> bool:
        """Whether the adapter changes it."""
        return tensor.key in self._paths

    def read(self, tensor: Stored) -> Tensor:
        """The tensor as the base has it; in fp32, with its update added, where the adapter changes it."""
        assert not self.whole, "weights that transformers changes on loading are merged in the loaded model"
        with safe_open(self.base / tensor.file, "pt") as handle:
            value: Tensor = handle.get_tensor(tensor.key)
        if self._weights is None or not self.updated(tensor):
            return value
        if tensor.key in self._experts.paths:
            return self._experts.add(tensor.key, value)
        return merge(self._weights, self._paths[tensor.key], value)

    def save(self, into: Path, *, kept: Kept | None = None) -> None:
        """Write a folder that plain transformers loads: weights, configuration, tokenizer, template, licence.

        Args:
            into: an existing folder; files of the base's names are written.
            kept: the type of all floating weights; None for the base's own.

        Raises:
            StorageError: there is less room than the copy needs.
            OSError: the disk refuses to write.
        """
        check_room(into, sum(tensor.end - tensor.begin for tensor in self.tensors))
        self._copy_side_files(into, kept)
        if self.whole:
            self._save_whole(into, kept)
            return
        total = 0
        for name in weight_files(self.base):
            tensors = [tensor for tensor in self.tensors if tensor.file == name]
            total += self._save_file(into / name, tensors, kept)
        if (self.base / INDEX).is_file():
            index = json.loads((self.base / INDEX).read_bytes())
            index["metadata"] = {**index.get("metadata", {}), "total_size": total}
            (into / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def _save_file(self, file: Path, tensors: list[Stored], kept: Kept | None) -> int:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        position = 0
        for tensor in tensors:
            dtype = _written(tensor.dtype, kept)
            size = (tensor.end - tensor.begin) * BYTES.get(dtype, 1) // BYTES.get(tensor.dtype, 1)
            header[tensor.key] = {
                "dtype": dtype,
                "shape": list(tensor.shape),
                "data_offsets": [position, position + size],
            }
            position += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with file.open("xb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for tensor in tensors:
                if self.updated(tensor) or _written(tensor.dtype, kept) != tensor.dtype:
                    value = self.read(tensor).to(DTYPES[_written(tensor.dtype, kept)])
                    out.write(value.contiguous().flatten().view(torch.uint8).numpy().data)
                else:
                    self._copy_bytes(tensor, out)
            flush(out)
        return position

    def _copy_bytes(self, tensor: Stored, out: IO[bytes]) -> None:
        with (self.base / tensor.file).open("rb") as source:
            source.seek(tensor.begin)
            left = tensor.end - tensor.begin
            while left:
                chunk = source.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise ModelError(Fault("TW-BASE-005", "is cut", tensor.file, AGAIN))
                out.write(chunk)
                left -= len(chunk)

    def _save_whole(self, into: Path, kept: Kept | None) -> None:
        """Merge in the loaded model and let transformers write it back in the form in which it is stored."""
        model = AutoModelForCausalLM.from_pretrained(
            self.base, dtype=TYPES[kept][2] if kept else "auto", local_files_only=True, use_safetensors=True
        )
        with torch.no_grad():
            for path, (a, _) in self._weights.pairs.items() if self._weights else ():
                assert self._weights is not None
                if a.ndim == 3:
                    stack = model.get_parameter(path)
                    stack.copy_(stack.float() + self._experts.update(path))
                    continue
                weight: Any = model.get_submodule(path).weight
                weight.copy_(merge(self._weights, path, weight))
        model.save_pretrained(into)
        faults = [fault for name in weight_files(into) for fault in check_safetensors(into / name)]
        if faults:  # transformers' writer does not tell of a full disk
            raise ModelError(faults)

    def _copy_side_files(self, into: Path, kept: Kept | None) -> None:
        for file in sorted(self.beside.iterdir()):
            if file.is_file() and file.suffix != ".safetensors" and file.name not in {INDEX, "config.json"}:
                shutil.copyfile(file, into / file.name)
        config = dict(self.config)
        if kept:
            config.pop("torch_dtype", None)
            config["dtype"] = TYPES[kept][1]
        (into / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


#: Bytes per element and torch's type of what can be rounded.
DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
BYTES: Mapping[str, int] = {name: dtype.itemsize for name, dtype in DTYPES.items()}


def merge(weights: AdapterWeights, path: str, weight: Tensor) -> Tensor:
    """The weight of the layer at ``path`` with its update: (out, in) as the base has it → (out, in), fp32."""
    a, b = weights.pairs[path]
    return merged_weight(weight.float(), a, b, scale=weights.scale, magnitude=weights.magnitudes.get(path))


def _skeleton(base: Path) -> PreTrainedModel:
    """The model without its weights' data, after transformers has laid the files' keys into it."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            base, device_map="meta", local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises whatever its parts raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(Fault("TW-BASE-030", reason, str(base), "pull the base again")) from error
    return model


def _parameters(model: PreTrainedModel, keys: list[str]) -> dict[str, str | None]:
    """Stored key → the parameter that it fills alone, or None where transformers joins or changes tensors."""
    from transformers.core_model_loading import WeightConverter, rename_source_key

    conversions = getattr(model, "_weight_conversions", None) or []
    converters = [entry for entry in conversions if isinstance(entry, WeightConverter)]
    renamings = [entry for entry in conversions if not isinstance(entry, WeightConverter)]
    state = model.state_dict()
    found: dict[str, str | None] = {}
    for key in keys:
        name, converted = rename_source_key(key, renamings, converters, model.base_model_prefix, state)
        found[key] = None if converted else name
    return found


def _read_header(base: Path, name: str) -> Iterator[Stored]:
    """The tensors of one file, in the order of their bytes."""
    faults = check_safetensors(base / name)
    if faults:
        raise ModelError(faults)
    with (base / name).open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        entries = json.loads(handle.read(length))
    entries.pop("__metadata__", None)
    for key, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        yield Stored(name, key, None, entry["dtype"], tuple(entry["shape"]), begin, end)


def _written(dtype: str, kept: Kept | None) -> str:
    return TYPES[kept][0] if kept and dtype in FLOATING else dtype


def _tied(weights: AdapterWeights, model: PreTrainedModel) -> list[Fault]:
    """Updates of a weight that the output head shares: such a head could not stay tied."""
    shared: dict[str, str] = dict(model.all_tied_weights_keys)
    names = {*shared, *shared.values()}
    cure = "train it without the embedding and the head"
    return [
        Fault("TW-BASE-036", "embedding and output head share this weight", path, cure)
        for path in weights.pairs
        if f"{path}.weight" in names
    ]


def _quantised(place: str) -> Fault:
    cure = "pull the unquantised weights of the same model, which the adapter fits as well, and export from those"
    return Fault("TW-BASE-039", "quantised weights take no update: the update is finer than their steps", place, cure)


def _refuse_quantised(config: Mapping[str, Any]) -> None:
    method = (config.get("quantization_config") or {}).get("quant_method")
    if "quantization_config" in config:
        raise ModelError(_quantised(f"config.json: {method or 'quantised'}"))
