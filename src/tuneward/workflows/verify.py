"""Any time: walk the chain of proof backwards, offline, and say of every link whether it holds.

Place on the road: run by people and auditors on an answer, a version or the log; and by ``deploy`` and ``serve`` before
anything is loaded. It reads; it changes nothing. A link that does not hold is named; the walk then goes on, so that
all broken links are seen at once.

What it cannot detect: events that no checkpoint covers, when whoever writes to the database changes, adds or removes
them together with their rows; covered ones, when the site's checkpoints go as well and none was kept elsewhere
(``kept``); and what never entered the log.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tuneward.amounts import counted
from tuneward.data.prepared import fingerprint_of_folder
from tuneward.digests import digest_value
from tuneward.domain.approval import Approval
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.run import Adapter, Run, trained_kind
from tuneward.domain.version import Deployment, ModelVersion
from tuneward.errors import Fault, ProofError
from tuneward.evaluation.gate import judge
from tuneward.evaluation.measure import read_report
from tuneward.governance.audit import check_log, events, newest_events
from tuneward.governance.consent import said, standing
from tuneward.governance.office import Office
from tuneward.governance.row_check import check_rows
from tuneward.registry.versions import Papers, check_version
from tuneward.storage.lineage import Ref
from tuneward.storage.repository import kind_of, latest, sift
from tuneward.workflows.links import Link, broken, found, id_in
from tuneward.workflows.provenance import decision_behind, permission_of, provenance_of

N = TypeVar("N")


@dataclass(frozen=True)
class VerifyResult:
    """The walked chain.

    Attributes:
        subject: what was asked about.
        verified: True when every link holds.
        links: from the answer back to base and log.
        next: the command that comes next.
    """

    subject: str
    verified: bool
    links: tuple[Link, ...]
    next: str


def verify(office: Office, subject: str | None = None, *, kept: Sequence[str] = ()) -> VerifyResult:
    """Walk the chain behind ``subject``.

    Args:
        office: the site.
        subject: an answer (``chatcmpl-…`` or its event's id), a deployment, a version; the newest ended answer, else
            the newest version, when None.
        kept: checkpoints of the log that somebody kept elsewhere, as ``tuneward log --checkpoint`` printed them.

    Raises:
        ProofError: there is nothing to verify, or ``subject`` names nothing known.
    """
    chain = _Chain(office, kept=kept)
    named = subject or chain.newest()
    links = chain.walk(named)
    verified = all(link.holds for link in links)
    return VerifyResult(named, verified, links, next="tuneward status" if verified else "tuneward log")


def check_deployment(office: Office, deployment: Deployment) -> list[Fault]:
    """Everything against serving ``deployment``; empty when its whole chain holds."""
    return [fault for link in _Chain(office).walk(deployment.id) for fault in link.faults]


def check_registered(office: Office, version: ModelVersion) -> list[Fault]:
    """Everything against deploying ``version``; empty when its whole chain holds."""
    return [fault for link in _Chain(office).walk(version.id) for fault in link.faults]


class _Chain:
    """One walk: holds what the log has against any row, and collects links."""

    def __init__(self, office: Office, *, kept: Sequence[str] = ()) -> None:
        self._office = office
        self._kept = kept
        self._artifacts = office.site.artifacts
        self._changed = {fault.place: fault for fault in check_rows(office.site)}

    def newest(self) -> str:
        with self._office.site.database.read() as c:
            ended = newest_events(c, last=1, action="answer.finish")  # one that is still being written has no end yet
            version = latest(c, ModelVersion)
        if ended:
            return ended[0].subject
        if version:
            return version.id
        raise ProofError(
            Fault("TW-PROOF-010", "there is nothing to verify yet", "", "register a version or ask for an answer first")
        )

    def walk(self, subject: str) -> tuple[Link, ...]:
        named = subject.removeprefix("chatcmpl-").removeprefix("cmpl-")
        links: list[Link] = []
        if named.startswith("evt_"):
            link, deployment_id = self._answer(named)
            links.append(link)
            wanted = Ref("deployment", deployment_id)
        elif named.startswith("dep_"):
            wanted = Ref("deployment", named)
        elif named.startswith("ver_"):
            wanted = Ref("version", named)
        else:
            raise ProofError(
                Fault(
                    "TW-PROOF-011",
                    f"{subject!r} names no answer, deployment or version",
                    "",
                    "give an id that starts with chatcmpl-, evt_, dep_ or ver_",
                )
            )
        if wanted.kind == "deployment":
            deployment = self._noun(Deployment, wanted.id)
            if deployment is None:
                return (*links, self._absent(wanted, named), self._register(), self._log())
            links.append(self._link("deployment", deployment, f"serves version {deployment.version}", ()))
            wanted = Ref("version", deployment.version)
        version = self._noun(ModelVersion, wanted.id)
        if version is None:
            return (*links, self._absent(wanted, named), self._register(), self._log())
        links += self._version(version)
        return (*links, *self._consent(version), self._register(), self._log())

    # each link ---------------------------------------------------------------------------------------------------

    def _answer(self, event_id: str) -> tuple[Link, str]:
        with self._office.site.database.read() as c:
            started = next(events(c, id=event_id), None)  # read even where it was edited
            if started and started.action == "answer.finish":
                started = next(events(c, id=started.subject), None)
            finished = any(events(c, action="answer.finish", subject=started.id)) if started else False
        if started is None or started.action != "answer.start":
            raise ProofError(Fault("TW-PROOF-011", f"the log knows no answer {event_id!r}", "", "see `tuneward log`"))
        if started.decision != "done":
            raise ProofError(Fault("TW-PROOF-011", "was refused: there is no answer", event_id, "see `tuneward log`"))
        faults = [] if finished else [broken("answer", event_id, "was started but no outcome was logged")]
        if not isinstance(started.detail, dict):
            faults.append(broken("answer", event_id, "its event is not of the form that was written"))
        deployment = self._noun(Deployment, id_in(started, "deployment"))
        version = self._noun(ModelVersion, deployment.version) if deployment else None
        if version:
            given = tuple(id_in(started, what) for what in ("version", "adapter", "base"))
            if given != (version.id, version.adapter, version.base):
                faults.append(broken("answer", event_id, "another version, adapter or base gave it than is deployed"))
        says = f"event {started.seq}, asked with {started.actor}"
        return Link("answer", started.id, says, tuple(faults)), id_in(started, "deployment")

    def _version(self, version: ModelVersion) -> Iterable[Link]:
        run, dataset = self._noun(Run, version.run), self._noun(Dataset, version.dataset)
        evaluation, base = self._noun(Evaluation, version.evaluation), self._noun(Base, version.base)
        adapter = self._noun(Adapter, version.adapter)
        approval = self._noun(Approval, version.approval) if version.approval else None
        nouns = {"run": run, "dataset": dataset, "evaluation": evaluation, "base": base, "adapter": adapter}
        missing = [Ref(name, getattr(version, name)) for name, noun in nouns.items() if noun is None]
        if version.approval and approval is None:
            missing.append(Ref("approval", version.approval))
        if missing:
            faults = [broken(name, version.id, f"no {name} as it names one can be read") for name, _ in missing]
            yield Link("version", version.id, "", tuple(faults))
            yield from (self._absent(wanted, version.id) for wanted in missing)
            return
        assert run is not None
        assert dataset is not None
        assert evaluation is not None
        assert base is not None
        assert adapter is not None
        papers = found(lambda: self._papers(version, approval, evaluation), "version", version.id)
        yield self._link("version", version, f"number {version.number}, signed with key {version.key_id[:12]}", papers)
        says = f"{adapter.kind}, {adapter.parameters:,} parameters"
        yield self._link("adapter", adapter, says, self._bytes("adapter", adapter.id))
        judged = found(lambda: self._verdict(evaluation, version), "evaluation", evaluation.id)
        yield self._link("evaluation", evaluation, "gate passed", judged)
        if approval:
            says = f"{approval.status} by {approval.decided_by}" + (
                ", who also asked for it" if approval.self_granted else ""
            )
            given = found(lambda: self._permission(approval, run=run, dataset=dataset), "approval", approval.id)
            yield self._link("approval", approval, says, given)
        method = str(run.config.get("method", "sft")) if isinstance(run.config, Mapping) else "unknown"
        says = f"{method}, seed {run.seed}"
        yield self._link("run", run, says, found(lambda: self._training(run, adapter, version), "run", run.id))
        if run.start:
            yield self._start(run.start, base)
        rows = found(lambda: self._rows(dataset), "dataset", dataset.id)
        yield self._link("dataset", dataset, counted(dataset.train_rows, "training row"), rows)
        yield self._link("base", base, base.licence, self._bytes("base", base.id))

    def _start(self, digest: str, base: Base) -> Link:
        """What the run began with: an adapter of the register, or one that came as a folder and has no row."""
        faults = self._bytes("start", digest)
        adapter = self._noun(Adapter, digest)
        if adapter is None:
            return Link("start", digest, "an adapter from outside the site", tuple(faults))
        if adapter.base != base.id:
            faults.append(broken("start", digest, "it belongs to another base"))
        return self._link("start", adapter, f"the adapter of {adapter.run}", faults)

    def _papers(self, version: ModelVersion, approval: Approval | None, evaluation: Evaluation) -> list[Fault]:
        faults = self._bytes("version", version.papers) + self._bytes("evaluation", evaluation.report)
        if faults:
            return faults
        with self._office.site.database.read() as c:
            permission, decision = permission_of(c, version), decision_behind(c, version)
        if permission and (permission.status, digest_value(dict(permission.scope))) != (
            "granted",
            permission.scope_digest,
        ):
            return [broken("approval", permission.id, "the version was registered under it, and it is not granted")]
        provenance = provenance_of(
            self._office,
            evaluation,
            approval,
            permission=permission,
            number=version.number,
            created_at=version.created_at,
            tool_version=version.tool_version,
            decision=decision,
        )
        keys = self._office.keys
        try:
            papers = Papers.read(self._artifacts.tree(version.papers))
        except ProofError as error:
            return list(error.faults)
        return check_version(papers, provenance, public=keys.public, key_id=keys.key_id, version=version)

    def _verdict(self, evaluation: Evaluation, version: ModelVersion) -> list[Fault]:
        faults = self._bytes("evaluation", evaluation.report)
        if faults:
            return faults
        report = read_report(self._artifacts.tree(evaluation.report))
        verdict = judge(report, evaluation.gate)
        if not verdict.passed or not evaluation.passed:
            faults.append(broken("evaluation", evaluation.id, "the gate says no to the figures of its report"))
        if (evaluation.adapter, evaluation.base) != (version.adapter, version.base):
            faults.append(broken("evaluation", evaluation.id, "it measured another adapter or base"))
        return faults

    def _permission(self, approval: Approval, *, run: Run, dataset: Dataset) -> list[Fault]:
        faults = []
        if approval.status != "granted":
            faults.append(broken("approval", approval.id, f"it is {approval.status}, not granted"))
        if digest_value(dict(approval.scope)) != approval.scope_digest:
            faults.append(broken("approval", approval.id, "its scope was changed after the request"))
        asked = (approval.scope["dataset"], approval.scope["base"]["id"], approval.scope["training"])
        if asked != (dataset.fingerprint, run.base, dict(run.config)):
            faults.append(broken("approval", approval.id, "it was given for other data, base or settings"))
        if approval.scope.get("start") != run.start:
            faults.append(broken("approval", approval.id, "it was given for a run that begins elsewhere"))
        if approval.decided_at is None or (run.finished_at or "") < approval.decided_at:
            faults.append(broken("approval", approval.id, "it was given after the run had ended"))
        return faults

    def _training(self, run: Run, adapter: Adapter, version: ModelVersion) -> list[Fault]:
        faults = []
        if (run.adapter, run.base, run.dataset) != (version.adapter, version.base, version.dataset):
            faults.append(broken("run", run.id, "its adapter, base or dataset is not the version's"))
        if run.status != "finished":
            faults.append(broken("run", run.id, f"it is {run.status}, not finished"))
        if (kind := trained_kind(run.config["adapter"])) != adapter.kind:
            faults.append(broken("run", run.id, f"it trained {kind}, not {adapter.kind}"))
        if bool(run.config.get("start")) != bool(run.start):
            faults.append(broken("run", run.id, "its settings and its record differ on what it began with"))
        if run.curve:
            faults += self._bytes("run", run.curve)
        return faults

    def _rows(self, dataset: Dataset) -> list[Fault]:
        faults = self._bytes("dataset", dataset.tree)
        if not faults:
            key = self._office.keys.secret("records")
            if fingerprint_of_folder(self._artifacts.tree(dataset.tree), key) != dataset.fingerprint:
                faults.append(broken("dataset", dataset.id, "its rows do not give its fingerprint"))
        return faults

    def _consent(self, version: ModelVersion) -> Iterator[Link]:
        """The consents that were withdrawn behind a version: the chain holds, and the reader must know."""
        with self._office.site.database.read() as c:
            marks = standing(c, "version", version.id)
        if marks:
            yield Link("consent", version.id, f"AFFECTED: {said(marks)}", affected=True)

    def _log(self) -> Link:
        check = check_log(self._office.site, self._office.keys.public, kept=self._kept)
        signed = counted(check.checkpoints, "signed checkpoint that covers", "signed checkpoints that cover")
        says = f"{counted(check.size, 'event')}, {signed} {check.covered:,} of them"
        return Link("log", check.root, says, check.faults)

    # what every link shares --------------------------------------------------------------------------------------

    def _noun(self, noun: type[N], identifier: str) -> N | None:
        """The row's noun; None where it is not there or cannot be read, which the log's word on it tells apart."""
        with self._office.site.database.read() as c:
            nouns, _ = sift(c, noun, id=identifier)
        return nouns[0] if nouns else None

    def _bytes(self, name: str, digest: str) -> list[Fault]:
        return found(lambda: [broken(name, digest, wrong) for wrong in self._artifacts.check(digest)], name, digest)

    def _link(self, name: str, noun: Any, says: str, faults: Iterable[Fault]) -> Link:
        """A link over a row, which must read as the log last wrote it."""
        changed = self._changed.pop(f"{kind_of(noun)} {noun.id}", None)
        against = tuple(filter(None, (changed, *faults)))
        return Link(name, noun.id, "it was registered as passed" if name == "evaluation" and against else says, against)

    def _absent(self, wanted: Ref, subject: str) -> Link:
        """The link of a row that is not there; an id that was never given to anything is the asker's mistake."""
        removed = self._changed.pop(f"{wanted.kind} {wanted.id}", None)
        if removed is None and wanted.id == subject:
            message = f"the register knows no {wanted.kind} {subject!r}"
            raise ProofError(Fault("TW-PROOF-011", message, "", "see `tuneward status` and `tuneward log`"))
        return Link(wanted.kind, wanted.id, "", (removed or broken(wanted.kind, wanted.id, "is not in the register"),))

    def _register(self) -> Link:
        """All rows that are no link of this chain: the site's other nouns, record entries, findings, lineage."""
        others = tuple(self._changed.values())
        says = "governed rows that are no link above" if others else "every other governed row is as the log wrote it"
        return Link("register", self._office.site.id, says, others)
