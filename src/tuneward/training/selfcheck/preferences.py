"""Checks of objectives: each loss against its formula on separate sequences, the shared prompt, and the reference.

Place on the road: the part of the self-check about ``training.losses`` and ``reference``. The formulas here are written
from the papers that the losses' files name, in fp64, and share no line with them. To add a loss, write its formula here
too: without one its line fails.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuneward.modeling.base_model import hidden_states
from tuneward.modeling.packed import PackedDocuments
from tuneward.training.batches import Window
from tuneward.training.distributed import ALONE
from tuneward.training.objectives import METHODS, PREFERENCES
from tuneward.training.reference import add_reference
from tuneward.training.rows import IGNORED, Row
from tuneward.training.selfcheck.statement import GRADIENTS, VALUES, Measured, Statement, distance, worst
from tuneward.training.selfcheck.subject import Adapted, Subject

PAIRS = 3


@dataclass(frozen=True)
class Answer:
    """One answer behind its prompt, passed through the model alone.

    Attributes:
        tokens: (tokens,) fp64, log-probability of each of its tokens.
        score_state: (hidden,) the last token's hidden state.
        reference: its log-probability under the reference.
    """

    tokens: Tensor
    score_state: Tensor
    reference: float

    @property
    def total(self) -> Tensor:
        """Its log-probability."""
        return self.tokens.sum()

    @property
    def ratio(self) -> Tensor:
        """Its log-ratio to the reference."""
        return self.total - self.reference


Rowed = Sequence[tuple[Row, Sequence[Answer]]]


def _log_sigmoid(x: Tensor) -> Tensor:
    return -torch.log1p(torch.exp(-x))


def _supervised(rows: Rowed, objective: Any) -> Tensor:
    return -torch.stack([answers[0].total for _, answers in rows]).sum()


def _sft_term(rows: Rowed, objective: Any) -> Tensor:
    return objective.sft_weight * -torch.stack([a[0].tokens.mean() for _, a in rows]).sum()


def _dpo(rows: Rowed, objective: Any) -> Tensor:
    d = objective.beta * torch.stack([chosen.ratio - rejected.ratio for _, (chosen, rejected) in rows])
    e = objective.label_smoothing
    return (-(1 - e) * _log_sigmoid(d) - e * _log_sigmoid(-d)).sum() + _sft_term(rows, objective)


def _ipo(rows: Rowed, objective: Any) -> Tensor:
    mean = [[answer.ratio / len(answer.tokens) for answer in answers] for _, answers in rows]
    d = torch.stack([chosen - rejected for chosen, rejected in mean])
    return ((d - 1 / (2 * objective.beta)) ** 2).sum() + _sft_term(rows, objective)


def _simpo(rows: Rowed, objective: Any) -> Tensor:
    d = torch.stack([chosen.tokens.mean() - rejected.tokens.mean() for _, (chosen, rejected) in rows])
    d, e = objective.beta * d - objective.gamma, objective.label_smoothing
    return (-(1 - e) * _log_sigmoid(d) - e * _log_sigmoid(-d)).sum() + _sft_term(rows, objective)


def _orpo(rows: Rowed, objective: Any) -> Tensor:
    p = torch.exp(torch.stack([torch.stack([answer.tokens.mean() for answer in answers]) for _, answers in rows]))
    odds = p / (1 - p)  # (rows, 2)
    return -objective.beta * _log_sigmoid(torch.log(odds[:, 0] / odds[:, 1])).sum() + _sft_term(rows, objective)


def _kto(rows: Rowed, objective: Any) -> Tensor:
    zero = torch.stack([answers[1].ratio for _, answers in rows]).mean().clamp(min=0).detach()
    losses = []
    for row, answers in rows:
        sign, weight = (1, objective.desirable_weight) if row.desirable else (-1, objective.undesirable_weight)
        losses.append(weight * (1 - 1 / (1 + torch.exp(-sign * objective.beta * (answers[0].ratio - zero)))))
    return torch.stack(losses).sum()


def _reward(rows: Rowed, objective: Any) -> Tensor:
    losses = []
    for row, answers in rows:
        chosen, rejected = (answer.score_state.double() @ objective.score[0].double() for answer in answers)
        losses.append(-_log_sigmoid(chosen - rejected - row.margin) + objective.center * (chosen + rejected) ** 2)
    return torch.stack(losses).sum()


@dataclass(frozen=True)
class Formula:
    """What an objective must compute.

    Attributes:
        settings: of the training section, so chosen that each term is felt.
        computed: the sum over rows, from answers passed alone.
    """

    settings: Mapping[str, Any]
    computed: Callable[[Rowed, Any], Tensor]


def _preference(loss: str, computed: Callable[[Rowed, Any], Tensor], **settings: float) -> Formula:
    return Formula({"method": "dpo", "preference": {"loss": loss, **settings}}, computed)


#: Every objective's name → its formula.
FORMULAS: dict[str, Formula] = {
    "pretrain": Formula({"method": "pretrain"}, _supervised),
    "sft": Formula({"method": "sft"}, _supervised),
    "dpo": _preference("dpo", _dpo, beta=0.3, label_smoothing=0.1, sft_weight=0.5),
    "ipo": _preference("ipo", _ipo, beta=0.4, sft_weight=0.3),
    "simpo": _preference("simpo", _simpo, beta=1.5, gamma=0.4, label_smoothing=0.1),
    "orpo": _preference("orpo", _orpo, beta=0.6),
    "kto": _preference("kto", _kto, beta=0.2, desirable_weight=1.2, undesirable_weight=0.9),
    "reward": Formula({"method": "reward", "reward": {"center": 0.1}}, _reward),
}


def objectives() -> list[str]:
    """Names of all objectives: the methods, and in the place of ``dpo`` each of its losses."""
    return [name for method in METHODS for name in (PREFERENCES if method == "dpo" else [method])]


def loss(subject: Subject, name: str) -> Measured:
    """Loss and gradients of one objective on packed rows, prompts shared, and by its formula on separate sequences."""
    adapted = subject.few
    if name not in FORMULAS:
        return Measured(float("inf"), adapted.on, detail="no independent formula is written for it")
    formula = FORMULAS[name]
    loop = subject.loop(adapted, subject.rows("conversation"), **formula.settings)
    objective = loop.objective
    rows = list(subject.rows(objective.form))[:PAIRS]
    answered = [(row, alone(adapted, row)) for row in rows]
    if objective.needs_reference:
        answered = [(row, [_with_reference(a, i) for i, a in enumerate(answers)]) for row, answers in answered]
    rows = [_referred(row, [a.reference for a in answers]) for row, answers in answered]
    loop.rows = rows
    numbers = range(len(rows))
    objective.survey(iter([loop.look(numbers)]), ALONE.summed)
    ours = loop.loss(Window.pack(rows, branches=objective.branches)).total
    theirs = formula.computed([(row, a) for row, (_, a) in zip(rows, answered, strict=True)], objective)
    gradients = [adapted.gradients(x, objective.parameters) for x in (ours, theirs)]
    parts = (distance(ours.detach(), theirs.detach()), VALUES, "losses"), (distance(*gradients), GRADIENTS, "gradients")
    return worst(*parts, on=adapted.on)


def shared_prompt(subject: Subject) -> Measured:
    """Each token of both answers behind one prompt, and the gradients, against prompt and answer as one sequence."""
    adapted = subject.few
    rows = list(subject.rows("pair"))[:PAIRS]
    window = Window.pack(rows)
    loop = subject.loop(adapted, subject.rows("pair"), method="dpo")
    together = loop.outputs(window).log_probs(window)
    separate = torch.cat([answer.tokens for row in rows for answer in alone(adapted, row)])
    if together.shape != separate.shape:
        told = f"{together.shape[0]} tokens of answers are learned, there are {separate.shape[0]}"
        return Measured(float("inf"), adapted.on, detail=told)
    weights = torch.linspace(0.5, 1.5, len(separate))
    gradients = distance(*(adapted.gradients((x * weights).sum()) for x in (together, separate)))
    tokens = distance(together.detach(), separate.detach())
    return worst((tokens, VALUES, "log-probabilities"), (gradients, GRADIENTS, "gradients"), on=adapted.on)


def reference(subject: Subject) -> Measured:
    """Kept reference log-probabilities against those of the model with its starting adapter, answer by answer."""
    adapted = subject.few
    rows = subject.rows("pair")
    loop = subject.loop(adapted, rows, method="dpo")
    add_reference(
        rows,
        loop.look,
        folder=subject.new_folder(),
        made_from=["selfcheck"],
        window_tokens=max(rows.sizes),
        stop=lambda: False,
        told=lambda done: None,
    )
    with torch.no_grad():
        wanted = torch.stack([torch.stack([a.total for a in alone(adapted, row)]) for row in rows])
    kept, rows.reference = torch.from_numpy(np.array(rows.reference)), None
    told = "the reference is not the model that training begins with"
    return Measured(distance(kept, wanted), adapted.on, VALUES, detail=told)


def alone(adapted: Adapted, row: Row) -> list[Answer]:
    """A row's answers, or what is learned of it, each as one sequence without any packing; plain head, fp64."""
    found = []
    for branch in row.branches or (row.ids[:0],):
        ids = torch.from_numpy(np.concatenate([row.ids, branch]).astype(np.int64)).unsqueeze(0)
        states = hidden_states(adapted.model, ids, PackedDocuments((ids.shape[1],)))[0]
        if row.branches:
            learned = torch.arange(row.ids.size, ids.shape[1])
        else:
            learned = torch.from_numpy(np.flatnonzero(row.labels[1:] != IGNORED)) + 1
        logits = adapted.head.logits(states[learned - 1]).double()
        targets = ids[0, learned]
        tokens = logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)
        found.append(Answer(tokens, states[-1], 0.0))
    return found


def _with_reference(answer: Answer, number: int) -> Answer:
    """A reference near the model but not at it, so that ratios are neither zero nor large."""
    return Answer(answer.tokens, answer.score_state, float(answer.total.detach()) + (0.8, -0.6)[number])


def _referred(row: Row, values: list[float]) -> Row:
    return Row(row.id, row.ids, row.labels, row.branches, row.desirable, row.margin, tuple(values))


STATEMENTS: dict[str, Statement] = {
    "shared prompt": Statement(
        "Two answers behind one shared prompt are two sequences, first answer token included.",
        "log-probability of each answer token and gradients, prompt shared and each pair as two sequences",
        shared_prompt,
    ),
    "reference": Statement(
        "The reference is the model that training begins with, its starting adapter included.",
        "kept reference log-probabilities against base and adapter, answer by answer",
        reference,
    ),
    **{
        f"loss {name}": Statement(
            f"The loss of {name} is its formula.",
            "loss and gradients on packed rows, against the formula on separate sequences",
            partial(loss, name=name),
        )
        for name in objectives()
    },
}
