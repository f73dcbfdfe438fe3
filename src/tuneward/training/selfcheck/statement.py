"""Statement: one thing that must hold, the check that measures it, and how the measurement becomes a line.

Place on the road: beneath every group of checks. Knows no model.
"""

import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tuneward.errors import TunewardError
from tuneward.training.selfcheck.line import Line, Verdict
from tuneward.training.selfcheck.subject import Subject

#: What fp32 results may differ by that were summed in another order: values, and gradients behind all layers or a head
#: whose large terms cancel. A wrong token, weight or factor moves both by a hundredth and more.
VALUES, GRADIENTS = 2e-5, 5e-4


class NotApplicableError(Exception):
    """The statement says nothing about this model, these rows or this machine; the text says why."""


@dataclass(frozen=True)
class Measured:
    """What a check found.

    Attributes:
        difference: how far the two sides are apart.
        on: the part of the model that computed.
        tolerance: the largest difference that passes.
        unit: what ``difference`` counts.
        detail: what differs, in words; shown when the statement fails.
    """

    difference: float
    on: str
    tolerance: float = 0.0
    unit: str = "relative"
    detail: str = ""


@dataclass(frozen=True)
class Statement:
    """One thing that must hold.

    Attributes:
        claim: what must hold.
        compared: what is measured against what.
        check: measures it; raises :class:`NotApplicableError` where there is nothing to measure.
    """

    claim: str
    compared: str
    check: Callable[[Subject], Measured]


def judge(name: str, statement: Statement, subject: Subject) -> Line:
    """Measure one statement. Whatever a check raises, but a fault of the disk, is a line that fails."""
    began = time.monotonic()
    found: Measured | None = None
    verdict: Verdict = "fail"
    try:
        found = statement.check(subject)
        verdict = "pass" if found.difference <= found.tolerance else "fail"  # not a number is no pass
        reason = "" if verdict == "pass" else found.detail or "the two sides differ"
    except NotApplicableError as error:
        verdict, reason = "not applicable", str(error)
    except TunewardError as error:
        reason = "; ".join(f"{fault.code} {fault.message}" for fault in error.faults)
    except OSError:
        raise
    except Exception as error:
        traceback.print_exc()
        reason = f"the check broke off with {type(error).__name__}"
    return Line(
        name=name,
        claim=statement.claim,
        compared=statement.compared,
        on=found.on if found else "",
        measured=found.difference if found and math.isfinite(found.difference) else None,
        tolerance=found.tolerance if found else None,
        unit=found.unit if found else "",
        verdict=verdict,
        reason=reason,
        seconds=round(time.monotonic() - began, 3),
    )


def distance(ours: Tensor | Mapping[str, Tensor], theirs: Tensor | Mapping[str, Tensor]) -> float:
    """Largest difference of two results, against the largest value of the second.

    Of several tensors each is measured against its own largest value, but against no less than a thousandth of the
    largest of all: a gradient that is nothing but rounding has no digits to agree in.

    Returns:
        0 where all is equal, infinity where shapes or names differ or the second result is all zeros, which would prove
        nothing.
    """
    ours, theirs = ({"": x} if isinstance(x, Tensor) else x for x in (ours, theirs))
    if set(ours) != set(theirs) or any(ours[name].shape != theirs[name].shape for name in ours):
        return math.inf
    sizes = {name: _largest(tensor) for name, tensor in theirs.items()}
    floor = 1e-3 * max(sizes.values(), default=0.0)
    if floor == 0:
        return math.inf
    apart = [_largest(ours[n].double() - theirs[n].double()) / max(sizes[n], floor) for n in ours]
    return math.nan if any(math.isnan(x) for x in apart) else max(apart)


def worst(*parts: tuple[float, float, str], on: str) -> Measured:
    """The part that comes nearest to its tolerance, or exceeds it most.

    Args:
        *parts: difference, tolerance, and what differs where it is exceeded.
        on: the part of the model that computed.
    """
    difference, tolerance, told = max(parts, key=lambda part: math.inf if math.isnan(part[0]) else part[0] / part[1])
    return Measured(difference, on, tolerance, detail=f"the {told} differ")


def unequal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """How many numbers are not the same bits; infinity where shapes or names differ."""
    if set(ours) != set(theirs) or any(ours[n].shape != theirs[n].shape for n in ours):
        return math.inf
    return float(sum(int((ours[n] != theirs[n]).sum()) for n in ours))


def probe(states: Tensor) -> Tensor:
    """A scalar whose gradient with respect to ``states`` is a fixed random direction: every row counts, none alike."""
    direction = torch.randn(states.shape, generator=torch.Generator().manual_seed(1))
    return (states * direction).sum()


def _largest(tensor: Tensor) -> float:
    return float(torch.nan_to_num(tensor.detach().double().abs(), nan=math.nan).max()) if tensor.numel() else 0.0
