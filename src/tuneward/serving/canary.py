"""Canary: does the engine really use the adapter, and is it the one that was evaluated?

Place on the road: measured at evaluation, kept in ``Evaluation.canary``, met again at deployment. Engines have served
the bare base without a word when the names inside an adapter did not match (vLLM #34186, #48019, #55193); the canary
is the guard against that. It uses nothing but OpenAI's chat route, so that it holds for every engine, and asks one
prompt at a time, so that no neighbour in a batch changes the rounding.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tuneward.digests import digest_value
from tuneward.domain.record import Message
from tuneward.errors import Fault

#: Never changed without a new ``CANARY_FORMAT``: recorded references are compared with later measurements.
CANARY_PROMPTS: tuple[str, ...] = (
    "Write one word.",
    "Summarise this in a short record: the parcel arrived on Tuesday with a broken lid.",
    "What is the capital of France?",
    '{"category":',
    "Bitte antworten Sie mit ja oder nein: Ist Wasser nass?",
    "List three numbers, separated by commas.",
    "def add(a, b):",
    "Customer: my invoice 4711 is wrong. Agent:",
)
CANARY_FORMAT = 1

#: Likeliest tokens compared per prompt: the most that OpenAI's route, and so vLLM, gives.
TOP_LOGPROBS = 20

#: Mean absolute difference (nats) below which an adapter counts as not changing its base. Identical logits give
#: exactly 0.0. Measured with our engine on SmolLM2-135M: 0.0 between two starts and beside a busy batch in bf16,
#: 7e-6 beside a busy batch in fp32. An engine that is not as strict flips the last bit of single bf16 logits
#: (2^-4 at |logit| >= 8), in few of the 160 compared values; training moves nearly all of them.
NOISE_FLOOR = 1e-3

#: Mean absolute difference (nats) up to which a measurement counts as the one recorded at evaluation: twice what bf16
#: and fp32 of SmolLM2-135M differ by (0.049), since another machine sums in another order. So it tells adapters apart,
#: not precisions; those are compared by name, in the router.
REFERENCE_TOLERANCE = 0.1


class Measured(Protocol):
    """The one call of an engine client that the canary needs."""

    def logprobs(self, model: str, messages: Sequence[Message], *, top: int) -> list[tuple[str, float]]:
        """The ``top`` likeliest first tokens of an answer with log-probabilities."""


def measure(client: Measured, model: str) -> dict[str, Any]:
    """The first answer token's ``TOP_LOGPROBS`` over ``CANARY_PROMPTS``, as JSON values to be kept and compared.

    Raises:
        ServingError: the engine refuses or is not there.
    """
    first_tokens = [
        [
            [token, round(logprob, 6)]
            for token, logprob in client.logprobs(model, [Message("user", p)], top=TOP_LOGPROBS)
        ]
        for p in CANARY_PROMPTS
    ]
    return {"format": CANARY_FORMAT, "prompts": digest_value(list(CANARY_PROMPTS)), "first_tokens": first_tokens}


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Mean absolute difference in nats over all prompts and all tokens that either side lists.

    A token that one side does not list is there at most as likely as the last one listed, so the difference is
    counted from that bound: never more than the truth, 0.0 for equal measurements, symmetric.

    Raises:
        ValueError: the two were measured over different prompts.
    """
    if (a["format"], a["prompts"]) != (b["format"], b["prompts"]):
        raise ValueError("canaries over different prompts cannot be compared")
    gaps: list[float] = []
    for left, right in zip(a["first_tokens"], b["first_tokens"], strict=True):
        gaps += _gaps(_numbered(left), _numbered(right))
    return sum(gaps) / len(gaps) if gaps else 0.0


def faults(*, base: Mapping[str, Any], adapter: Mapping[str, Any], reference: Mapping[str, Any] | None) -> list[Fault]:
    """What forbids serving this adapter.

    Args:
        base: measured on the bare base, in the same engine.
        adapter: measured with the adapter.
        reference: the adapter's canary recorded at evaluation, where there is one.
    """
    found: list[Fault] = []
    if (change := difference(base, adapter)) < NOISE_FLOOR:
        found.append(
            Fault(
                "TW-SERV-038",
                f"its log-probabilities differ from the base's by {change:.2g} nats, less than {NOISE_FLOOR:g}",
                cure="the engine ignores it or it learned nothing: compare its module names with the base's",
            )
        )
    if reference is not None and (gap := difference(reference, adapter)) > REFERENCE_TOLERANCE:
        found.append(
            Fault(
                "TW-SERV-039",
                f"its log-probabilities differ by {gap:.2g} nats from those at evaluation, more than"
                f" {REFERENCE_TOLERANCE:g}",
                cure="serve with the precision that was evaluated, or evaluate again on this machine",
            )
        )
    return found


def _numbered(listed: Sequence[Sequence[Any]]) -> dict[tuple[str, int], float]:
    """Tokens that share a name are told apart by their order."""
    seen: dict[str, int] = {}
    values: dict[tuple[str, int], float] = {}
    for token, logprob in listed:
        seen[token] = seen.get(token, -1) + 1
        values[token, seen[token]] = float(logprob)
    return values


def _gaps(left: Mapping[tuple[str, int], float], right: Mapping[tuple[str, int], float]) -> list[float]:
    if not left or not right:
        return []
    least_left, least_right = min(left.values()), min(right.values())
    gaps = [abs(left[token] - right[token]) for token in left.keys() & right.keys()]
    gaps += [max(0.0, left[token] - least_right) for token in left.keys() - right.keys()]
    return gaps + [max(0.0, right[token] - least_left) for token in right.keys() - left.keys()]
