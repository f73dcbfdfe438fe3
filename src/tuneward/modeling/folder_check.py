"""Checks of a model folder before it is taken in: whole files, weights that fit the configuration, tokenizer that fits.

Place on the road: the last step of ``pull``. Reads headers, never tensor data. Does not know where the files came from.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneward.errors import Fault, ModelError, StorageError
from tuneward.modeling.chat import Chat
from tuneward.modeling.context import longest_row

#: Bytes per element of each data type of the format (github.com/huggingface/safetensors, "Format").
BITS = {
    **dict.fromkeys(("F64", "I64", "U64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
}
INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library
AGAIN = "fetch the model again"


@dataclass(frozen=True)
class Facts:
    """What a checked folder holds.

    Attributes:
        architecture: class that transformers builds.
        parameters: number of parameters, tied ones once.
        context_tokens: longest row that the model computes rightly.
    """

    architecture: str
    parameters: int
    context_tokens: int


def check_folder(folder: Path) -> Facts:
    """Prove that the folder is one complete, usable model.

    Raises:
        ModelError: with every fault found: missing or cut files, code that would have to be run, an architecture that
            transformers does not build as a causal language model, weights or vocabulary that do not fit, no chat.
    """
    faults: list[Fault] = []
    config = read_config(folder)
    for file in weight_files(folder):
        faults.extend(check_safetensors(folder / file))
    try:
        architecture = _architecture(config)
        parameters = 0 if faults else _fit(folder)
    except ModelError as error:
        faults.extend(error.faults)
    try:
        chat = Chat.load(folder)
    except ModelError as error:
        faults.extend(error.faults)
    else:
        faults.extend(_vocabulary(config.get("text_config") or config, chat))
    context = longest_row(config.get("text_config") or config)
    if context <= 0:
        faults.append(Fault("TW-BASE-007", "max_position_embeddings is missing", "config.json", AGAIN))
    if faults:
        raise ModelError(faults)
    return Facts(architecture=architecture, parameters=parameters, context_tokens=context)


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model folder.

    Raises:
        ModelError: missing or not a JSON object.
    """
    file = folder / "config.json"
    if not file.is_file():
        cure = "name a folder or repository in the format of transformers' save_pretrained"
        raise ModelError(Fault("TW-BASE-006", "config.json is missing", str(folder), cure))
    return read_json(file)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file of a model folder.

    Raises:
        ModelError: something else stands there.
    """
    try:
        value = json.loads(file.read_bytes())
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ModelError(Fault("TW-BASE-005", "is not a JSON object", file.name, AGAIN))
    return value


def weight_files(folder: Path) -> list[str]:
    """Names of the safetensors files that make up the model: those of the index, else ``model.safetensors``.

    Raises:
        ModelError: none, one of the index is missing, or the index names something else than files beside it.
    """
    if not (folder / INDEX).is_file():
        if (folder / "model.safetensors").is_file():
            return ["model.safetensors"]
        cure = "save the model with safetensors (transformers' save_pretrained does); pickle files are never read"
        raise ModelError(Fault("TW-BASE-006", "there are no safetensors weights", str(folder), cure))
    files = index_files(read_json(folder / INDEX))
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise ModelError(Fault("TW-BASE-006", f"weights are missing: {', '.join(missing)}", str(folder), AGAIN))
    return files


def index_files(index: Mapping[str, Any]) -> list[str]:
    """Names of the shards in an index.

    Raises:
        ModelError: the index names no shards, or files that are not safetensors beside it.
    """
    shards = index.get("weight_map")
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    if not names or any("/" in name or "\\" in name or not name.endswith(".safetensors") for name in names):
        raise ModelError(Fault("TW-BASE-005", "the index names no safetensors files beside it", INDEX, AGAIN))
    return names


def check_safetensors(file: Path) -> list[Fault]:
    """Faults of one file's header and size, by the format's own rules."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 10 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            return [Fault("TW-BASE-005", "is cut or is no safetensors file", file.name, AGAIN)]
        header = handle.read(length)
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        end = _walk(entries)
    except (ValueError, KeyError, TypeError, AttributeError):
        return [Fault("TW-BASE-005", "has a header that makes no sense", file.name, AGAIN)]
    if 8 + length + end != size:
        message = f"is {size} bytes long where its header asks for {8 + length + end}"
        return [Fault("TW-BASE-005", message, file.name, AGAIN)]
    return []


def check_room(folder: Path, needed: int) -> None:
    """Refuse before work begins that would fill the disk of ``folder``; ``needed`` in bytes.

    Raises:
        StorageError: less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = f"{needed / 1e6:,.1f} MB are needed, {free / 1e6:,.1f} MB are free"
        raise StorageError(Fault("TW-BASE-011", message, str(folder), "make room, or put the site on a larger disk"))


def _walk(entries: dict[str, Any]) -> int:
    """End of the last tensor; ValueError unless the tensors fill the data without gap or overlap."""
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: tuple(entry["data_offsets"])):
        begin, stop = entry["data_offsets"]
        bits = BITS[entry["dtype"]]
        for length in entry["shape"]:
            bits *= length
        if begin != end or (stop - begin) * 8 != bits:
            raise ValueError
        end = stop
    return end


def _vocabulary(config: Mapping[str, Any], chat: Chat) -> list[Fault]:
    rows = int(config.get("vocab_size") or 0)
    if chat.vocabulary > rows:
        message = f"the tokenizer gives ids up to {chat.vocabulary - 1}, the embedding has {rows} rows"
        return [Fault("TW-BASE-008", message, "tokenizer.json", "take tokenizer and weights of one model")]
    stray = sorted(i for i in (*chat.stop_ids, chat.pad_id) if not 0 <= i < rows)
    if stray:
        message = f"end or padding ids {stray} lie outside the embedding's {rows} rows"
        return [Fault("TW-BASE-008", message, "generation_config.json", AGAIN)]
    return []


def _architecture(config: Mapping[str, Any]) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    name = str((config.get("architectures") or [""])[0])
    if "quantization_config" in config:
        message, cure = "the weights are quantised", "take the unquantised weights of the same model"
    elif name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return name
    elif "auto_map" in config:
        message, cure = f"{name} needs code of its own, which is never run", "take a model that transformers knows"
    else:
        message = f"{name or 'no architecture'} is no causal language model that transformers builds"
        cure = "take a text model, or a newer transformers"
    raise ModelError(Fault("TW-BASE-010", message, "config.json", cure))


def _fit(folder: Path) -> int:
    """Number of parameters, after transformers laid the weights into the model without reading their data."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            device_map="meta",
            output_loading_info=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except Exception as error:  # foreign configurations make transformers raise anything
        message = f"transformers cannot build the model: {type(error).__name__}: {error}"[:300]
        raise ModelError(Fault("TW-BASE-007", message, "config.json", AGAIN)) from error
    finally:
        logging.set_verbosity(before)
    faults = []
    for kind, keys in (
        ("are missing", sorted(set(info["missing_keys"]) - set(model.all_tied_weights_keys))),
        ("do not belong to this architecture", sorted(info["unexpected_keys"])),
        ("have another shape than config.json says", sorted(key for key, *_ in info["mismatched_keys"])),
    ):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            message = f"weights {kind}: {', '.join(keys[:3])}{more}"
            faults.append(
                Fault("TW-BASE-007", message, "model.safetensors", "take config.json and weights of one model")
            )
    if faults:
        raise ModelError(faults)
    return int(model.num_parameters())
