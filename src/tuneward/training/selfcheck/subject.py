"""Subject: the model and rows that the self-check looks at.

Place on the road: between a base's folder and the checks; makes each thing once, when it is asked for. Everything
computes in fp32 on the CPU, where two ways to one result can be told from rounding.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuneward.domain.record import Form, Record
from tuneward.modeling.base_model import OutputHead, load_base
from tuneward.modeling.chat import Chat
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.folder_check import weight_files
from tuneward.modeling.fused import fuse
from tuneward.modeling.generate import context_tokens
from tuneward.modeling.lora import Update, add_lora
from tuneward.modeling.machine import available_memory_bytes
from tuneward.training.batches import Step, plan_steps
from tuneward.training.checkpoint import Checkpoints
from tuneward.training.config import TrainingConfig
from tuneward.training.loop import Emit, Loop
from tuneward.training.objectives import make_objective
from tuneward.training.rows import Row, Rows
from tuneward.training.selfcheck.cut import Cut, cut
from tuneward.training.selfcheck.sample import Sample, built_in, write
from tuneward.training.tokenising import read_rows
from tuneward.training.trainable import LoraTrainable

#: Spread of B's start values here: the update is then a fair part of the weight, and what is wrong with it is seen.
SPREAD = 0.05
#: Tokens that pass through all layers in one statement; longer rows give way to the built-in ones.
WHOLE_TOKENS = 120
#: Weights above which all layers would take minutes on a CPU.
WHOLE_WEIGHTS = 2e9


@dataclass(frozen=True)
class Adapted:
    """A model with an adapter that changes it.

    Attributes:
        model: the base with its adapter, in evaluation mode.
        layers: the adapter's layers and updates of experts by path.
        config: what they were made from.
        on: which of the base's layers it has.
    """

    model: PreTrainedModel
    layers: Mapping[str, Update]
    config: AdapterConfig
    on: str

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return dict(LoraTrainable(self.layers, self.config).parameters)

    @property
    def head(self) -> OutputHead:
        """The output head."""
        return OutputHead.of(self.model)

    def gradients(self, total: Tensor, more: Mapping[str, nn.Parameter] | None = None) -> dict[str, Tensor]:
        """Gradient of a scalar with respect to what is trained, ``more`` included; the graph is kept."""
        known = {**self.parameters, **(more or {})}
        made = torch.autograd.grad(total, list(known.values()), retain_graph=True, allow_unused=True)
        return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(known.items(), made, strict=True)}


class Subject:
    """What the checks are given.

    Args:
        base: folder of the base.
        sample: records to check with.
        adapter: the adapter that the project trains.
        folder: an empty folder for whatever is written; the caller removes it.
    """

    def __init__(self, base: Path, sample: Sample, adapter: AdapterConfig, folder: Path) -> None:
        self.base, self.sample, self.folder = base, sample, folder
        kept = {"rank", "alpha", "targets", "rslora", "dora"} if adapter.kind != "full" else set()
        #: the project's, without dropout and beside a base in fp32; a small one where the project trains every weight
        self.adapter = AdapterConfig(**adapter.model_dump(include=kept)) if kept else AdapterConfig(rank=8, alpha=16)
        self._known: dict[tuple[str, bool], Rows] = {}
        self._folders = 0

    @cached_property
    def chat(self) -> Chat:
        """Tokenizer and template, as training uses them."""
        return Chat.load(self.base)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer as its file has it, for who compares."""
        return Tokenizer.from_file(str(self.base / "tokenizer.json"))

    @cached_property
    def cut(self) -> Cut:
        """The base with few layers."""
        return cut(self.base, self.new_folder() / "base")

    @cached_property
    def few(self) -> Adapted:
        """Few layers with an adapter; whoever changes it takes :meth:`fresh` instead."""
        return self.fresh()

    @cached_property
    def whole(self) -> Adapted:
        """All layers with an adapter; few where all need more memory or time than there is. Not to be changed."""
        weights = sum((self.base / name).stat().st_size for name in weight_files(self.base)) / 2
        if weights > WHOLE_WEIGHTS or 9 * weights + 2**30 > available_memory_bytes():
            return self.few
        return self._adapted(self.base, self.adapter, "whole model")

    def fresh(self, *, filled: bool = True, seed: int = 0) -> Adapted:
        """Few layers with an adapter of one's own.

        Args:
            filled: whether it changes the model; else it begins as training begins.
            seed: of its start values.
        """
        return self._adapted(self.cut.folder, self.adapter, self.cut.told, filled=filled, seed=seed)

    def _adapted(self, folder: Path, config: AdapterConfig, on: str, *, filled: bool = True, seed: int = 0) -> Adapted:
        model = load_base(folder, precision="fp32")
        fuse(model)
        adapted = Adapted(model, add_lora(model, config, seed=seed), config, on)
        if filled:
            fill(adapted.layers.values())
        return adapted

    def rows(self, form: Form, *, own: bool = True) -> Rows:
        """The sample, tokenised as training does it; the built-in rows only when not ``own``."""
        if (form, own) not in self._known:
            self._known[form, own] = self._read(form, own)
        return self._known[form, own]

    def _read(self, form: Form, own: bool) -> Rows:
        records = self.records(form, own=own)
        folder = self.new_folder()
        model = self.few.model
        embedding: Any = model.get_input_embeddings()
        return read_rows(
            write(records, folder / "train.jsonl"),
            self.chat,
            cache=folder / "tokens",
            context_tokens=context_tokens(model),
            vocabulary=embedding.weight.shape[0],
            form=form,
        )

    def records(self, form: Form, *, own: bool = True) -> list[Record]:
        """The records behind :meth:`rows`."""
        sample = self.sample if own else Sample(tuple(built_in()), ())
        forms: dict[Form, Callable[[], Iterable[Record]]] = {
            "document": lambda: sample.records,
            "conversation": lambda: sample.conversations,
            "pair": lambda: sample.pairs,
            "judged": lambda: sample.judged,
        }
        return list(forms[form]())

    def short_rows(self) -> list[Row]:
        """At least two conversations of no more than ``WHOLE_TOKENS`` together, for all layers."""
        for own in (True, False):
            taken: list[Row] = []
            for row in sorted(self.rows("conversation", own=own), key=lambda row: row.size):
                if len(taken) < 2 or sum(r.size for r in taken) + row.size <= WHOLE_TOKENS:
                    taken.append(row)
            if sum(row.size for row in taken) <= WHOLE_TOKENS:
                break
        return taken

    def loop(
        self,
        adapted: Adapted,
        rows: Rows,
        *,
        emit: Emit = lambda event: None,
        stop: Callable[[], bool] = lambda: False,
        folder: Path | None = None,
        **settings: Any,
    ) -> Loop:
        """Training as a run does it.

        Args:
            adapted: the model and what of it is trained.
            rows: what is learned from.
            emit: receives the loop's events.
            stop: asked before each window.
            folder: where checkpoints lie; a new one when None.
            **settings: of the training section.
        """
        config = TrainingConfig(precision="fp32", adapter=adapted.config, **settings)
        hidden: Any = adapted.model.config.get_text_config()
        objective = make_objective(config, hidden=hidden.hidden_size)
        return Loop(
            adapted.model,
            LoraTrainable(adapted.layers, adapted.config),
            objective,
            rows=rows,
            steps=course(rows, config, objective.weigh),
            config=config,
            checkpoints=Checkpoints((folder or self.new_folder()) / "checkpoints", "selfcheck"),
            emit=emit,
            stop=stop,
        )

    def new_folder(self) -> Path:
        """An empty folder."""
        self._folders += 1
        folder = self.folder / str(self._folders)
        folder.mkdir()
        return folder


def course(rows: Rows, config: TrainingConfig, weigh: Callable[[Row], float]) -> list[Step]:
    """The steps of a run, as a job plans them."""
    return plan_steps(
        rows,
        epochs=config.epochs,
        batch_tokens=config.batch_tokens,
        batch_rows=config.batch_rows,
        window_tokens=config.window_tokens,
        seed=config.seed,
        weigh=weigh,
    )


@torch.no_grad()
def fill(layers: Iterable[Update]) -> None:
    """Give an adapter values that change its base, the same at each call."""
    generator = torch.Generator().manual_seed(11)
    for layer in layers:
        layer.b.normal_(std=SPREAD, generator=generator)
        if layer.magnitude is not None:
            layer.magnitude.mul_(1 + SPREAD * torch.randn(layer.magnitude.shape, generator=generator))
