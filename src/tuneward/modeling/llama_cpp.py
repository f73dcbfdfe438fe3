"""llama.cpp, where it is installed: what it says after a text, and how it reads the text.

Place on the road: asked by ``agreement``'s caller for a GGUF file's check. ``llama-cpp-python`` is an extra
(``tuneward[gguf-check]``), so it is imported only when asked for. Knows no adapter.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuneward.errors import Fault, ModelError
from tuneward.modeling.agreement import HeldOut
from tuneward.modeling.machine import threads

PACKAGE = "llama_cpp"


def installed() -> bool:
    """Whether llama.cpp can be asked."""
    return importlib.util.find_spec(PACKAGE) is not None


class LlamaCpp:
    """One GGUF file in llama.cpp, on the processor.

    Args:
        file: the file.
        context: longest text, in tokens.

    Raises:
        ModelError: llama.cpp does not load it.
    """

    def __init__(self, file: Path, *, context: int) -> None:
        from llama_cpp import Llama

        try:
            self._model: Any = Llama(
                str(file), n_ctx=context, n_batch=context, n_threads=threads(), logits_all=True, verbose=False
            )
        except (ValueError, RuntimeError) as error:
            cure = "export as safetensors, and report it: the file is not one that llama.cpp takes"
            raise ModelError(Fault("TW-BASE-061", f"llama.cpp does not load it: {error}", file.name, cure)) from error

    def said(self, rows: Sequence[HeldOut]) -> Iterator[Tensor]:
        """What it says at every mark: (marks, vocabulary), fp32, a tensor for each row."""
        for row in rows:
            self._model.reset()
            self._model.eval(list(row.ids))
            yield torch.from_numpy(np.array(self._model.scores[list(row.marks)], dtype=np.float32))

    def reads(self, text: str) -> list[int]:
        """Ids of a text, with control tokens told by their names and nothing added."""
        ids: list[int] = self._model.tokenize(text.encode(), add_bos=False, special=True)
        return ids

    def answer(self, ids: Sequence[int], *, tokens: int) -> list[int]:
        """The next ``tokens`` ids after ``ids``, greedily."""
        written: list[int] = []
        self._model.reset()
        self._model.eval(list(ids))
        while len(written) < tokens:
            written.append(int(np.argmax(self._model.scores[self._model.n_tokens - 1])))
            self._model.eval(written[-1:])
        return written
