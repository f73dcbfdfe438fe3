"""Beside the road: a person decides over drafts, one by one; what is accepted becomes rows that may be prepared.

Place on the road: between ``draft`` and ``prepare``. Each decision is an event with the draft's id and digests; its
words stand in no log. Accepted rows pass inspection and policy in ``prepare`` like any others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tuneward.data.drafts import Draft, accepted_text, edited, read_drafts
from tuneward.digests import digest_value
from tuneward.errors import ConfigError, Fault
from tuneward.governance.change import change, permit
from tuneward.storage.files import write_atomically
from tuneward.workflows.draft import drafts_path, store_drafts
from tuneward.workflows.workspace import Workspace

Decision = Literal["accepted", "rejected"]
#: Where accepted drafts go, in the project's folder.
ACCEPTED = "drafts-accepted.jsonl"


@dataclass(frozen=True)
class ReviewResult:
    """What was decided, and what waits.

    Attributes:
        accepted: drafts accepted this time.
        rejected: drafts rejected this time.
        skipped: drafts passed over this time.
        waiting: drafts that wait for a decision.
        file: the accepted rows, which ``data.train`` may name; empty where none was ever accepted.
        next: the command that comes next.
    """

    accepted: int
    rejected: int
    skipped: int
    waiting: tuple[Draft, ...]
    file: str
    next: str = "tuneward prepare"


def review_result(workspace: Workspace, *, accepted: int = 0, rejected: int = 0, skipped: int = 0) -> ReviewResult:
    """The state of the project's drafts, with what was decided this time.

    Raises:
        GovernanceError: the actor may not decide over drafts; the refusal is logged.
    """
    waiting, path = tuple(waiting_drafts(workspace)), accepted_path(workspace)
    return ReviewResult(accepted, rejected, skipped, waiting, str(path) if path.exists() else "")


def waiting_drafts(workspace: Workspace) -> Sequence[Draft]:
    """The project's drafts that wait for a decision, in their order.

    Raises:
        GovernanceError: the actor may not decide over drafts; the refusal is logged.
    """
    permit(workspace.office, "draft.accept")
    return [item for item in read_drafts(drafts_path(workspace)) if item.status == "draft"]


def decide_draft(
    workspace: Workspace, draft: str, decision: Decision, *, question: str = "", answer: str = ""
) -> Draft:
    """Accept or reject a draft; ``drafts-accepted.jsonl`` in the project's folder then holds all accepted ones.

    Args:
        workspace: the project.
        draft: its id.
        decision: ``accepted`` or ``rejected``.
        question: other words for its question; blank leaves them.
        answer: other words for its answer; blank leaves them.

    Raises:
        ConfigError: no draft of that id waits.
        GovernanceError: the actor may not decide.
        StorageError: it cannot be written.
    """
    with workspace.site.lock("drafts"):
        drafts = read_drafts(drafts_path(workspace))
        number = next((n for n, item in enumerate(drafts) if item.id == draft and item.status == "draft"), None)
        if number is None:
            cure = "take an id from `tuneward data review --json`"
            raise ConfigError(Fault("TW-CONF-007", f"no draft {draft!r} waits", "ID", cure))
        decided = replace(edited(drafts[number], question, answer), status=decision)
        with change(workspace.office, "draft.accept" if decision == "accepted" else "draft.reject", draft) as c:
            c.note(
                passage=decided.passage.digest,
                document=decided.passage.file_digest,
                row=digest_value([decided.question, decided.answer]),
                base=decided.base,
                edited=decided.edited,
            )
        drafts[number] = decided
        store_drafts(workspace, drafts)
        write_atomically(accepted_path(workspace), accepted_text(drafts), mode=0o600)
    return decided


def accepted_path(workspace: Workspace) -> Path:
    """The file of accepted rows."""
    return workspace.folder / ACCEPTED
