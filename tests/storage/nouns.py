"""One made-up noun of every kind, in an order in which each names only those before it."""

from tuneward.domain.approval import Approval
from tuneward.domain.audit import AuditEvent, Edge, LogCheckpoint
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset, RecordEntry
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.finding import FindingEntry
from tuneward.domain.law import Affected, LicenceDecision, TermsEntry, Withdrawal
from tuneward.domain.policy import Member
from tuneward.domain.run import Adapter, Run
from tuneward.domain.version import ApiKey, Deployment, ModelVersion

AT = "2026-11-22T00:00:00.000000+00:00"
BASE = Base("b" * 64, "smol", {"kind": "folder"}, "Apache-2.0", "LlamaForCausalLM", 9_000_000_000, 2048, AT)
DATASET = Dataset(
    "dat_1", "claims", "f" * 64, "t" * 64, "i" * 64, BASE.id, 2, 1, {"read": 3, "kinds": {"email": 1}}, AT
)
RECORDS = [
    RecordEntry("rec_1", DATASET.id, 0, "train", "s" * 64, "1" * 64, "a.jsonl:1"),
    RecordEntry("rec_2", DATASET.id, 1, "train", None, "2" * 64, "a.jsonl:2"),
    RecordEntry("rec_3", DATASET.id, 0, "test", None, "3" * 64, "b.jsonl:1"),
]
FINDING = FindingEntry(DATASET.id, "rec_1", "messages[0]", "email", 3, 17, 0.99, "email", "redact")
APPROVAL = Approval("apr_1", "claims", DATASET.id, {"purpose": "x"}, "c" * 64, "because", "minimal", "ann", AT)
RUN = Run("run_1", "claims", DATASET.id, APPROVAL.id, BASE.id, {"rank": 16, "rate": 1e-3}, "r" * 64, 0, "running", AT, None, {}, None, None)  # fmt: skip  # noqa: E501
ADAPTER = Adapter("a" * 64, RUN.id, BASE.id, 16, 32.0, 1000, AT)
EVALUATION = Evaluation("evl_1", "claims", RUN.id, ADAPTER.id, BASE.id, DATASET.id, "e" * 64, "p" * 64, {"x": {"min": 0.6}}, True, ("x: 0.7 >= 0.6",), {}, AT)  # fmt: skip  # noqa: E501
VERSION = ModelVersion("ver_1", "claims", 1, ADAPTER.id, BASE.id, DATASET.id, RUN.id, APPROVAL.id, EVALUATION.id, "p" * 64, "s" * 64, "k" * 64, "0.1.0", AT)  # fmt: skip  # noqa: E501
DEPLOYMENT = Deployment("dep_1", "claims", "claims", VERSION.id, "active", None, 0.5, AT)
MEMBER = Member("ann", ("engineer", "owner"), AT)
KEY = ApiKey("key_1", "notebook", MEMBER.id, "h" * 64, AT, None)
TERMS = TermsEntry(DATASET.id, "d" * 64, "con_1", True, {"consent": "con_1", "purpose": "claims"})
WITHDRAWAL = Withdrawal("con_1", "asked", MEMBER.id, AT)
AFFECTED = Affected("con_1>run:run_1", WITHDRAWAL.id, "run", RUN.id, 2, AT)
DECISION = LicenceDecision("lic_1", BASE.id, "MIT", "other", None, None, "internal", "read it", MEMBER.id, AT)
EVENT = AuditEvent("evt_1", 0, AT, "ann", "run.start", RUN.id, "done", "solo@1", ({"kind": "run", "id": RUN.id, "digest": "d"},), {"n": 1})  # fmt: skip  # noqa: E501
CHECKPOINT = LogCheckpoint(3, "0" * 64, "note\n", ((1, "1" * 64), (0, "2" * 64)), AT)
EDGE = Edge("dataset", DATASET.id, "run", RUN.id)
ALL = [BASE, DATASET, *RECORDS, FINDING, APPROVAL, RUN, ADAPTER, EVALUATION, VERSION, DEPLOYMENT, MEMBER, KEY]
ALL += [TERMS, WITHDRAWAL, AFFECTED, DECISION]
WITH_ID = [noun for noun in ALL if noun not in RECORDS and noun not in (FINDING, TERMS)]
