"""Overlap: duplicates, contradictory answers and training rows that also stand in the test set.

Place on the road: ``data.screening`` → here → ``data.lengths``. Equality is that of the normal form, and near-equality
that of shingles (``inspection.duplicates``). Exact duplicates within train go, the first stays; what stands in the test
set goes or blocks as the policy says; the rest is counted and named, never removed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from tuneward.data.faults import Faults
from tuneward.domain.policy import Policy
from tuneward.domain.record import Message, Record
from tuneward.inspection.duplicates import NearDuplicates, normal_form

Pair = tuple[Record, Record]


@dataclass
class Overlap:
    """What was found; of each pair the second stands earlier, or in the test set.

    Attributes:
        kept: training rows that remain.
        duplicates: training rows removed, with the row they repeat.
        contaminated: training rows removed, with the test row that asks the same.
        contradictions: training rows that answer an earlier row's prompt otherwise; of pairs, that turn an earlier
            pair round; of judged answers, that judge the same answer otherwise.
        test_duplicates: test rows that repeat another.
        near: training rows that nearly equal an earlier one's prompt.
        near_test: training rows whose prompt nearly equals a test row's.
    """

    kept: list[Record] = field(default_factory=list)
    duplicates: list[Pair] = field(default_factory=list)
    contaminated: list[Pair] = field(default_factory=list)
    contradictions: list[Pair] = field(default_factory=list)
    test_duplicates: list[Pair] = field(default_factory=list)
    near: list[Pair] = field(default_factory=list)
    near_test: list[Pair] = field(default_factory=list)


def find_overlap(train: Sequence[Record], test: Sequence[Record], *, policy: Policy, faults: Faults) -> Overlap:
    """Compare all rows with one another in time linear in their text.

    Args:
        train: training rows in file order.
        test: test rows in file order.
        policy: its ``contamination`` says ``drop`` or ``block``.
        faults: receives contaminated rows where the policy blocks.
    """
    result = Overlap()
    asked_in_test: dict[bytes, Record] = {}
    seen_test: dict[bytes, Record] = {}
    for record in test:
        prompts, whole, _ = _digests(record)
        asked_in_test.setdefault(prompts[-1], record)
        if (first := seen_test.setdefault(whole, record)) is not record:
            result.test_duplicates.append((record, first))
    seen: dict[bytes, Record] = {}
    claimed: dict[bytes, Record] = {}
    for record in train:
        prompts, whole, (claim, counter) = _digests(record)
        hit = next((asked_in_test[prompt] for prompt in prompts if prompt in asked_in_test), None)
        if hit:
            result.contaminated.append((record, hit))
        elif (first := seen.setdefault(whole, record)) is not record:
            result.duplicates.append((record, first))
        else:
            result.kept.append(record)
            if counter in claimed:
                result.contradictions.append((record, claimed[counter]))
            claimed.setdefault(claim, record)
    _find_near(result, test)
    if policy.contamination == "block":
        for record, other in result.contaminated:
            message = f"the same prompt is tested at {other.source}"
            cure = f"delete one of the two (policy `{policy.name}` blocks contamination)"
            faults.add("TW-DATA-025", message, place=str(record.source), cure=cure)
    return result


def _digests(record: Record) -> tuple[list[bytes], bytes, tuple[bytes, bytes]]:
    """What was said before every answer; the whole row; what the row claims, and which claim contradicts it.

    System messages do not count. A document's prompt is its text: what is tested must not be trained.
    """
    state = hashlib.blake2b(digest_size=16)
    if record.tools:
        state.update(b"tools " + record.tools.encode())
    prompts = []
    for message in record.messages:
        if message.role == "system":
            continue
        if message.role == "assistant":
            prompts.append(state.digest())
            before = state.copy()
        _add(state, message)
    whole = state.digest()
    if record.rejected:
        _add(before, record.rejected)
        other = before.digest()
        return prompts, _joined(whole, other), (_joined(whole, other), _joined(other, whole))
    if record.desirable is not None:
        verdicts = [whole + bytes([verdict]) for verdict in (record.desirable, not record.desirable)]
        return prompts, verdicts[0], (verdicts[0], verdicts[1])
    if not prompts:
        return [whole], whole, (whole, b"")
    return prompts, whole, (prompts[-1], prompts[-1])


def _add(state: "hashlib.blake2b", message: Message) -> None:
    text = normal_form(message.content).encode("utf-8", "surrogatepass")
    state.update(b"%s %d " % (message.role.encode(), len(text)) + text)
    if message.tool_calls:
        state.update(b"calls " + message.tool_calls.encode())


def _joined(one: bytes, other: bytes) -> bytes:
    return one + b" over " + other


def _find_near(result: Overlap, test: Sequence[Record]) -> None:
    index = NearDuplicates()
    rows = [*test, *result.kept]
    exact: dict[str, int] = {}
    for position, record in enumerate(rows):
        asked = record.messages if record.form == "document" else record.prompt
        text = normal_form("\n".join(m.content for m in asked if m.role != "system"))
        if exact.setdefault(text, position) != position:
            continue
        earlier = index.first_like(position, text)
        if earlier is None or position < len(test):
            continue
        (result.near_test if earlier < len(test) else result.near).append((record, rows[earlier]))
