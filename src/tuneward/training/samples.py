"""Samples: what the model answers to a few held-out prompts while it learns.

Place on the road: beside validation. Greedy answers through the engine's own decoder, as JSON lines in the run's
folder. They hold content of rows: they go nowhere else, into no event and no tracker. Several processes, each of which
holds a part of the model, answer together, and rank 0 writes. Knows no loss.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from tuneward.modeling.generate import Answering, generate
from tuneward.storage.files import write_atomically
from tuneward.training.distributed import ALONE, Group
from tuneward.training.rows import IGNORED, Row

FILE = "samples.jsonl"

#: Of a document, this many tokens at most are the prompt.
OPENING_TOKENS = 64


class Speaker(Protocol):
    """Turns token ids into text; ``modeling.chat.Chat`` does."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``."""


class Samples:
    """Prompts that are answered again and again.

    Args:
        rows: whose prompts.
        model: as the loop trains it.
        speaker: tokenizer and ends of answers.
        folder: the run's; receives ``samples.jsonl``.
        tokens: most tokens of an answer.
        group: the processes that train together; each of them must ask.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        model: Answering,
        speaker: Speaker,
        *,
        folder: Path,
        tokens: int,
        group: Group = ALONE,
    ) -> None:
        self.group = group
        self.model, self.speaker, self.path, self.tokens = model, speaker, folder / FILE, tokens
        self.names = [row.id for row in rows]
        self.parts = [prompt_and_answer(row) for row in rows]

    def answer(self, step: int) -> None:
        """Append one line per prompt: step, row, prompt, answer, and what the row itself answers."""
        prompts = [prompt for prompt, _ in self.parts]
        alone = self.group.size == 1
        answers = generate(
            self.model,
            prompts,
            max_tokens=self.tokens,
            stop_ids=self.speaker.stop_ids,
            # layers that are put together meanwhile stay as they are and are trained with
            quiet=torch.inference_mode if alone else torch.no_grad,
            agree=lambda tokens: tokens if alone else self.group.gather(tokens)[0],
        )
        if self.group.rank:
            return
        with self.path.open("a", encoding="utf-8") as handle:
            for name, (prompt, wanted), said in zip(self.names, self.parts, answers, strict=True):
                texts = {
                    kind: self.speaker.decode(ids)
                    for kind, ids in (("prompt", prompt), ("answer", said), ("reference", wanted))
                }
                handle.write(json.dumps({"step": step, "row": name, **texts}, ensure_ascii=False) + "\n")

    def cut(self, upto: int) -> None:
        """Leave out what a resumed run answers again; rank 0 alone asks."""
        kept = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    if json.loads(line)["step"] > upto:
                        break
                except (ValueError, KeyError, TypeError):
                    break
                kept.append(line + "\n")
        write_atomically(self.path, "".join(kept).encode())


def prompt_and_answer(row: Row) -> tuple[list[int], list[int]]:
    """Ids to go on from and ids that the row goes on with.

    Of a pair, prompt and better answer; of a conversation, its last answer and all before; where all tokens are
    learned nothing tells prompt from answer, and the first half, or its beginning, is the prompt.
    """
    if row.branches:
        return row.ids.tolist(), row.branches[0].tolist()
    learned = np.nonzero(row.labels != IGNORED)[0]
    last = int(learned[-1])
    silent = np.nonzero(row.labels[:last] == IGNORED)[0]
    at = int(silent[-1]) + 1 if silent.size else max(1, min(OPENING_TOKENS, row.ids.size // 2))
    return row.ids[:at].tolist(), row.ids[at : last + 1].tolist()


def with_room(rows: Sequence[Row], count: int, *, tokens: int, context_tokens: int) -> list[Row]:
    """The first ``count`` rows whose prompt leaves room for an answer in the model's context."""
    fitting = (row for row in rows if len(prompt_and_answer(row)[0]) + tokens <= context_tokens)
    return [row for row, _ in zip(fitting, range(count), strict=False)]
