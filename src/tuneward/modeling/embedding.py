"""Embeddings: texts as unit vectors, by a sentence model in a local folder.

Place on the road: handed into ``data.dataset.build`` where ``data.quality.embeddings`` names a folder. Mean of the last
hidden states over the text's tokens, then length one, as sentence-transformers' MiniLM models are used (Reimers and
Gurevych 2019). Nothing is downloaded and no code from the folder is run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from tuneward.errors import Fault, ModelError

_TOKENS: Final = 256
_BATCH: Final = 64


class Embedder:
    """A sentence model in memory.

    Args:
        folder: holds ``config.json``, weights and tokenizer.

    Raises:
        ModelError: the folder holds no such model.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self._model: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            ).eval()
        except Exception as error:  # transformers raises whatever its parts raise
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            cure = "name a folder with config.json, model.safetensors and a tokenizer, or leave `embeddings` out"
            raise ModelError(Fault("TW-BASE-060", reason, str(folder), cure)) from error

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape ``(texts, width)``; the first 256 tokens of a text count."""
        order = sorted(range(len(texts)), key=lambda position: len(texts[position]))
        parts = [
            self._batch([texts[i] for i in order[begin : begin + _BATCH]]) for begin in range(0, len(order), _BATCH)
        ]
        if not parts:
            return np.zeros((0, self._model.config.hidden_size), dtype=np.float32)
        vectors = np.concatenate(parts)
        restored = np.empty_like(vectors)
        restored[order] = vectors
        return restored

    def _batch(self, texts: list[str]) -> NDArray[np.float32]:
        inputs = self._tokenizer(texts, padding=True, truncation=True, max_length=_TOKENS, return_tensors="pt")
        hidden = self._model(**inputs).last_hidden_state  # (batch, tokens, width)
        seen = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * seen).sum(dim=1) / seen.sum(dim=1).clamp_min(1.0)
        return np.asarray(torch.nn.functional.normalize(mean, dim=1).numpy(), dtype=np.float32)
