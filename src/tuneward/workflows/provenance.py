"""Provenance from the records: everything that stands behind a version, gathered from the site.

Place on the road: under ``register``, which signs it, and ``verify``, which gathers it again and compares.
"""

from typing import cast

from sqlalchemy import Connection

from tuneward import __version__
from tuneward.domain.approval import Approval
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.law import LicenceDecision
from tuneward.domain.run import Adapter, Run
from tuneward.domain.version import ModelVersion
from tuneward.evaluation.measure import read_report
from tuneward.governance.change import Office
from tuneward.licences import Use, duties
from tuneward.registry.provenance import Provenance
from tuneward.storage.lineage import parents
from tuneward.storage.repository import require


def provenance_of(
    office: Office,
    evaluation: Evaluation,
    approval: Approval | None,
    *,
    permission: Approval | None,
    number: int,
    created_at: str,
    tool_version: str = __version__,
    decision: LicenceDecision | None = None,
) -> Provenance:
    """Gather what stands behind an evaluated run.

    Args:
        office: the site.
        evaluation: the evaluation; it names run, adapter, base and dataset.
        approval: the permission under which the run started, or None where the policy asks for none.
        permission: the permission of the registering, whose purpose and use the papers tell; the same one, or a later
            one where the words changed and the weights did not.
        number: the version's number.
        created_at: UTC, ISO 8601.
        tool_version: version of Tuneward that registers (or registered) it.
        decision: on the base's licence, in force when it is (or was) registered.

    Raises:
        StorageError: a row that the evaluation names is missing.
    """
    artifacts = office.site.artifacts
    with office.site.database.read() as c:
        base, dataset = require(c, Base, evaluation.base), require(c, Dataset, evaluation.dataset)
        run, adapter = require(c, Run, evaluation.run), require(c, Adapter, evaluation.adapter)
        permitted = require(c, Dataset, permission.dataset) if permission else dataset  # the same rows, today's terms
    law = permitted.counts.get("law") or {}
    use = str(permission.scope["use"]) if permission else "internal"
    purpose = str(permission.scope["purpose"]) if permission else ""
    return Provenance(
        number=number,
        purpose=purpose,
        base=base,
        dataset=dataset,
        run=run,
        adapter=adapter,
        approval=approval,
        evaluation=evaluation,
        report=read_report(artifacts.tree(evaluation.report)),
        created_at=created_at,
        tool_version=tool_version,
        duties=duties(decision.licence if decision else base.licence, cast(Use, use)),
        adapter_files=artifacts.manifest(adapter.id),
        decision=decision,
        law=law,
    )


def decision_behind(connection: Connection, version: ModelVersion) -> LicenceDecision | None:
    """The decision on the base's licence under which a version was registered, or None.

    Raises:
        StorageError: a decision that its lineage names is missing.
    """
    linked = [parent.id for parent in parents(connection, "version", version.id) if parent.kind == "licence_decision"]
    return require(connection, LicenceDecision, linked[0]) if linked else None


def permission_of(connection: Connection, version: ModelVersion) -> Approval | None:
    """The permission under which a version was registered: its run's, or the later one that it is linked to.

    Raises:
        StorageError: an approval that its lineage names is missing.
    """
    linked = {parent.id for parent in parents(connection, "version", version.id) if parent.kind == "approval"}
    later = linked - {version.approval}
    name = later.pop() if later else version.approval
    return require(connection, Approval, name) if name else None
