"""Cut: a base with a few of its layers, as a folder of its own.

Place on the road: made by ``subject`` for the statements that would take too long on all layers. Embeddings, head,
tokenizer, template and the layers' weights are the base's own; each kind of layer that the base has is there.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from tuneward.modeling.base_model import Precision, load_base
from tuneward.modeling.folder_check import INDEX, read_config

LAYERS = 2


@dataclass(frozen=True)
class Cut:
    """A base with a few of its layers.

    Attributes:
        folder: the base's own where nothing is cut.
        told: which layers, in words.
    """

    folder: Path
    told: str


def cut(base: Path, into: Path) -> Cut:
    """Write a base with its first layers of each kind, at least ``LAYERS``, into a new folder.

    Raises:
        ModelError: the base cannot be loaded.
    """
    written = read_config(base)
    text = written.get("text_config") or written
    stored = text.get("dtype") or text.get("torch_dtype") or written.get("dtype") or written.get("torch_dtype")
    precision: Precision = "bf16" if stored == "bfloat16" else "fp32"  # files of that type are mapped, not copied
    model = load_base(base, precision=precision)
    config: Any = model.config.get_text_config()
    count = int(config.num_hidden_layers)
    found = _layers(model, count)
    kept = _kept(list(getattr(config, "layer_types", None) or [""] * count))
    if found is None or len(kept) == count:
        return Cut(base, f"all {count} layers")
    owner, name = found
    setattr(owner, name, nn.ModuleList([getattr(owner, name)[i] for i in kept]))
    for key, value in vars(config).items():  # a value for each layer, such as the kind of its attention
        if isinstance(value, list) and len(value) == count:
            setattr(config, key, [value[i] for i in kept])
    config.num_hidden_layers = len(kept)
    into.mkdir()
    model.save_pretrained(into)
    for file in base.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and file.name not in {INDEX, "config.json"}:
            shutil.copyfile(file, into / file.name)
    numbers = [str(i + 1) for i in kept]
    return Cut(into, f"layers {', '.join(numbers[:-1])} and {numbers[-1]} of {count}")


def _kept(kinds: list[str]) -> list[int]:
    """Numbers of the layers to keep: the first of each kind, and the first ones up to ``LAYERS``."""
    firsts = {kinds.index(kind) for kind in dict.fromkeys(kinds)}
    others = [i for i in range(len(kinds)) if i not in firsts]
    return sorted([*firsts, *others[: max(0, LAYERS - len(firsts))]])


def _layers(model: PreTrainedModel, count: int) -> tuple[nn.Module, str] | None:
    """Where the list of ``count`` layers hangs."""
    for owner in model.modules():
        for name, child in owner.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == count:
                return owner, name
    return None
