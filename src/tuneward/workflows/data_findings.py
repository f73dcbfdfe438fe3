"""Any time after ``prepare``: what inspection found in the rows of a dataset and what the policy did, never the text.

Place on the road: between ``prepare`` and ``train``. Findings name rows and places in them, so a role must permit it
(the action ``dataset.show``); it changes nothing.
"""

from collections import Counter
from dataclasses import dataclass

from tuneward.data.stored import stored_findings
from tuneward.governance.change import permit
from tuneward.workflows.road import survey
from tuneward.workflows.train import require_dataset
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class FindingCount:
    """Findings of one sort.

    Attributes:
        kind: what was found.
        rule: the detector's rule that matched.
        action: what the policy did.
        findings: how many.
        rows: in how many rows.
    """

    kind: str
    rule: str
    action: str
    findings: int
    rows: int


@dataclass(frozen=True)
class FoundPlace:
    """One finding.

    Attributes:
        record: the row's id; the row itself may have left.
        split: ``train`` or ``test``.
        source: its file and line.
        field: which text of the row.
        kind: what was found.
        start: first character in the text as it was read.
        end: one past the last character.
        confidence: 0 to 1.
        rule: the detector's rule that matched.
        action: what the policy did.
    """

    record: str
    split: str
    source: str
    field: str
    kind: str
    start: int
    end: int
    confidence: float
    rule: str
    action: str


@dataclass(frozen=True)
class FindingsResult:
    """What was found in the current dataset.

    Attributes:
        dataset: its id.
        counts: findings by kind, rule and action, those of which there are most first.
        places: the first of them, in the order of the rows.
        of: how many the filters leave.
        rows: in how many rows.
        next: the command that comes next.
    """

    dataset: str
    counts: tuple[FindingCount, ...]
    places: tuple[FoundPlace, ...]
    of: int
    rows: int
    next: str = "tuneward data show --finding KIND"


def data_findings(
    workspace: Workspace,
    *,
    kind: str | None = None,
    file: str | None = None,
    action: str | None = None,
    limit: int = 20,
) -> FindingsResult:
    """Count what was found in the current dataset, and name the first places.

    Args:
        workspace: the project.
        kind: only findings of this kind.
        file: only those in rows of this file, as the project names it.
        action: only those that the policy met so.
        limit: how many places are named.

    Raises:
        GovernanceError: the actor may not see rows; the refusal is logged.
        DataError: there is no current dataset.
    """
    permit(workspace.office, "dataset.show")
    dataset = require_dataset(survey(workspace))
    folder = workspace.site.artifacts.tree(dataset.tree)
    counts: Counter[tuple[str, str, str]] = Counter()
    rows_of: dict[tuple[str, str, str], set[str]] = {}
    places: list[FoundPlace] = []
    for item in stored_findings(folder):
        found = FoundPlace(**{name: item[name] for name in FoundPlace.__dataclass_fields__})
        if kind not in (None, found.kind) or action not in (None, found.action):
            continue
        if file is not None and found.source.rpartition(":")[0] != file:
            continue
        sort = (found.kind, found.rule, found.action)
        counts[sort] += 1
        rows_of.setdefault(sort, set()).add(found.record)
        if len(places) < limit:
            places.append(found)
    ordered = sorted(counts, key=lambda sort: (-counts[sort], sort))
    return FindingsResult(
        dataset=dataset.id,
        counts=tuple(FindingCount(*sort, counts[sort], len(rows_of[sort])) for sort in ordered),
        places=tuple(places),
        of=counts.total(),
        rows=len(set().union(*rows_of.values())),
    )
