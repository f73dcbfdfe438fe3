"""Overlap: duplicates, contradictory answers and training rows that also stand in the test set.

Place on the road: ``data.screening`` → here → ``data.lengths``. Equality is that of the normal form, and near-equality
that of shingles (``inspection.near_duplicates``). Exact duplicates within train go, the first stays; what stands in the
test set goes or blocks as the policy says; the rest is counted and named, and removed where the settings say so.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tuneward.data.contamination import Contamination, Hit, Tested, asked, tested_rows
from tuneward.data.faults import Faults
from tuneward.data.quality_config import QualityConfig
from tuneward.domain.policy import Policy
from tuneward.domain.record import Message, Record
from tuneward.inspection.clusters import Clusters
from tuneward.inspection.near_duplicates import Likeness, near_duplicates
from tuneward.inspection.normal_form import normal_form

Pair = tuple[Record, Record]


@dataclass
class Overlap:
    """What was found; of each pair the second stands earlier, or in the test set.

    Attributes:
        kept: training rows that remain.
        clusters: near-duplicates among the prompts of ``kept``, by position.
        repeats: the same, where the answers are near-duplicates, too.
        duplicates: training rows removed, with the row they repeat.
        contaminated: training rows removed, with the test row that asks the same.
        contaminated_near: training rows removed that nearly ask or hold what is tested.
        contradictions: training rows that answer an earlier row's prompt otherwise; of pairs, that turn an earlier
            pair round; of judged answers, that judge the same answer otherwise.
        near_contradictions: training rows whose prompt nearly equals an earlier one's and whose answer does not.
        test_duplicates: test rows that repeat another.
        near: training rows that nearly equal an earlier one's prompt.
        near_test: training rows, kept, whose prompt nearly equals a tested one.
        ngram_test: training rows, kept, that hold half of a tested row's runs of thirteen words or more.
        covered: tested rows of whose runs of words half or more stand in the training rows, with that share.
    """

    kept: list[Record] = field(default_factory=list)
    clusters: Clusters = field(default_factory=lambda: near_duplicates([]))
    repeats: Clusters = field(default_factory=lambda: near_duplicates([]))
    duplicates: list[Pair] = field(default_factory=list)
    contaminated: list[Pair] = field(default_factory=list)
    contaminated_near: list[Hit] = field(default_factory=list)
    contradictions: list[Pair] = field(default_factory=list)
    near_contradictions: list[Pair] = field(default_factory=list)
    test_duplicates: list[Pair] = field(default_factory=list)
    near: list[Pair] = field(default_factory=list)
    near_test: list[Hit] = field(default_factory=list)
    ngram_test: list[Hit] = field(default_factory=list)
    covered: list[tuple[str, float]] = field(default_factory=list)


def find_overlap(
    train: Sequence[Record],
    test: Sequence[Record],
    *,
    policy: Policy,
    faults: Faults,
    config: QualityConfig | None = None,
    suites: Sequence[Tested] = (),
) -> Overlap:
    """Compare all rows with one another in time linear in their text.

    Args:
        train: training rows in file order.
        test: test rows in file order.
        policy: its ``contamination`` says ``drop`` or ``block``.
        faults: receives contaminated rows where the policy blocks.
        config: says from when on prompts are near, and whether near rows count as contaminated.
        suites: items of the suites that the evaluation will use.
    """
    config = config or QualityConfig()
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
    _look_up(result, [*tested_rows(test), *suites], removes=config.contamination == "near")
    _find_near(result, config.likeness)
    if policy.contamination == "block":
        exact = [(record, f"the same prompt is tested at {other.source}") for record, other in result.contaminated]
        near = [(hit.record, f"what it holds is tested at {hit.tested}") for hit in result.contaminated_near]
        for record, message in exact + near:
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


def _look_up(result: Overlap, tested: Sequence[Tested], *, removes: bool) -> None:
    contamination = Contamination(tested)
    contamination.look(result.kept)
    result.covered = contamination.covered()
    if removes:
        result.contaminated_near = contamination.hits
        hit_ids = {hit.record.id for hit in contamination.hits}
        result.kept = [record for record in result.kept if record.id not in hit_ids]
        return
    result.near_test = [hit for hit in contamination.hits if hit.kind == "near"]
    result.ngram_test = [hit for hit in contamination.hits if hit.kind == "ngram"]


def _find_near(result: Overlap, likeness: float) -> None:
    prompts = [asked(record) for record in result.kept]
    like = Likeness(jaccard=likeness)
    result.clusters = near_duplicates(prompts, like=like)
    repeats = np.arange(len(prompts))
    for members in result.clusters.members():
        seen: set[str] = set()
        answers = [_answered(result.kept[position]) for position in members]
        alike = near_duplicates(answers, like=like).first.tolist()
        repeats[members] = [members[place] for place in alike]
        for place, position in enumerate(members):
            pair = (result.kept[position], result.kept[members[0]])
            if place and prompts[position] not in seen:
                result.near.append(pair)
                if alike[place] != 0 and pair[0].form == "conversation":
                    result.near_contradictions.append(pair)
            seen.add(prompts[position])
    result.repeats = Clusters(repeats)


def _answered(record: Record) -> str:
    return normal_form(record.answer)
