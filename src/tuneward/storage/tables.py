"""Tables: one for every noun that the site keeps, a column for every field of the noun's dataclass.

Place on the road: under every step. ``repository`` turns nouns into rows of these; ``migrations`` brings a database to
them (a test holds the two equal). Knows no query.

References between rows are checked at commit, so that the order of writes inside a change does not matter.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _text(name: str, *, optional: bool = False, index: bool = False) -> Column[str]:
    return Column(name, Text, nullable=optional, index=index)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _json(name: str) -> "Column[object]":
    return Column(name, JSON, nullable=False)


def _to(name: str, target: str, *, optional: bool = False) -> Column[str]:
    reference = ForeignKey(f"{target}.id", deferrable=True, initially="DEFERRED")
    return Column(name, Text, reference, nullable=optional, index=True)


base = Table(
    "base",
    metadata,
    _id(),
    _text("name", index=True),
    _json("source"),
    _text("licence"),
    _text("architecture"),
    _number("parameters"),
    _number("context_tokens"),
    _text("created_at"),
)

dataset = Table(
    "dataset",
    metadata,
    _id(),
    _text("project", index=True),
    _text("fingerprint"),
    _text("tree"),
    _text("inputs_digest", index=True),
    _to("base", "base"),
    _number("train_rows"),
    _number("test_rows"),
    _json("counts"),
    _text("created_at"),
    _text("terms", optional=True),
    _text("inspector", optional=True),
)

#: Datasets whose rows are on their way in: they and their rows are not there for any reader yet; see
#: ``governance.entering``. No noun: nobody is told of it.
entering = Table(
    "entering",
    metadata,
    Column("dataset", Text, ForeignKey("dataset.id", deferrable=True, initially="DEFERRED"), primary_key=True),
    _text("began_at"),
)

record = Table(
    "record",
    metadata,
    Column("dataset", Text, ForeignKey("dataset.id", deferrable=True, initially="DEFERRED"), primary_key=True),
    Column("id", Text, primary_key=True, index=True),
    _number("position"),
    _text("split"),
    _text("subject", optional=True, index=True),
    _text("digest", index=True),
    _text("source"),
    _text("terms", optional=True),
    Column("shard", Integer, nullable=True),
)

terms = Table(
    "terms",
    metadata,
    Column("dataset", Text, ForeignKey("dataset.id", deferrable=True, initially="DEFERRED"), primary_key=True),
    Column("id", Text, primary_key=True),
    _text("consent", optional=True, index=True),
    Column("rests_on_consent", Boolean, nullable=False),
    _json("terms"),
)

finding = Table(
    "finding",
    metadata,
    Column("dataset", Text, ForeignKey("dataset.id", deferrable=True, initially="DEFERRED"), primary_key=True),
    Column("record", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("end", BigInteger, primary_key=True),
    Column("confidence", Double, nullable=False),
    Column("rule", Text, primary_key=True),
    _text("action"),
    Column("view", Text, nullable=False, server_default="raw"),
)

approval = Table(
    "approval",
    metadata,
    _id(),
    _text("project", index=True),
    _to("dataset", "dataset"),
    _json("scope"),
    _text("scope_digest", index=True),
    _text("justification"),
    _text("risk_class"),
    _text("requested_by"),
    _text("requested_at"),
    _text("status"),
    _text("decided_by", optional=True),
    _text("decided_at", optional=True),
    _text("reason", optional=True),
    Column("self_granted", Boolean, nullable=False),
    _text("policy", optional=True),
)

run = Table(
    "run",
    metadata,
    _id(),
    _text("project", index=True),
    _to("dataset", "dataset"),
    _to("approval", "approval", optional=True),
    _to("base", "base"),
    _json("config"),
    _text("inputs_digest", index=True),
    _number("seed"),
    _text("status"),
    _text("started_at"),
    _text("finished_at", optional=True),
    _json("figures"),
    _text("curve", optional=True),
    _text("adapter", optional=True, index=True),  # the adapter references the run; a circle cannot be created in order
    _text("start", optional=True),  # an adapter of the register, or one that came as a folder
)

adapter = Table(
    "adapter",
    metadata,
    _id(),
    _to("run", "run"),
    _to("base", "base"),
    _number("rank"),
    Column("alpha", Double, nullable=False),
    _number("parameters"),
    _text("created_at"),
    Column("kind", Text, nullable=False, server_default="lora"),
)

evaluation = Table(
    "evaluation",
    metadata,
    _id(),
    _text("project", index=True),
    _to("run", "run"),
    _to("adapter", "adapter"),
    _to("base", "base"),
    _to("dataset", "dataset"),
    _text("inputs_digest", index=True),
    _text("report"),
    _json("gate"),
    Column("passed", Boolean, nullable=False),
    _json("reasons"),
    _json("canary"),
    _text("created_at"),
)

version = Table(
    "version",
    metadata,
    _id(),
    _text("project", index=True),
    _number("number"),
    _to("adapter", "adapter"),
    _to("base", "base"),
    _to("dataset", "dataset"),
    _to("run", "run"),
    _to("approval", "approval", optional=True),
    _to("evaluation", "evaluation"),
    _text("papers"),
    _text("statement"),
    _text("key_id"),
    _text("tool_version"),
    _text("created_at"),
    UniqueConstraint("project", "number"),
)

deployment = Table(
    "deployment",
    metadata,
    _id(),
    _text("project", index=True),
    _text("alias", index=True),
    _to("version", "version"),
    _text("status"),
    _text("system", optional=True),
    Column("canary_difference", Double, nullable=False),
    _text("created_at"),
)

api_key = Table(
    "api_key",
    metadata,
    _id(),
    _text("name"),
    _to("member", "member"),
    _text("key_hash"),
    _text("created_at"),
    _text("revoked_at", optional=True),
    UniqueConstraint("key_hash"),
)

member = Table(
    "member",
    metadata,
    _id(),
    _json("roles"),
    _text("created_at"),
)

withdrawal = Table(
    "withdrawal",
    metadata,
    _id(),
    _text("reason"),
    _text("recorded_by"),
    _text("recorded_at"),
)

affected = Table(
    "affected",
    metadata,
    _id(),
    _to("withdrawal", "withdrawal"),
    _text("kind"),
    _text("noun", index=True),
    _number("rows"),
    _text("marked_at"),
)

licence_decision = Table(
    "licence_decision",
    metadata,
    _id(),
    _to("base", "base"),
    _text("licence"),
    _text("stated"),
    _text("text_digest", optional=True),
    Column("text_known", Boolean, nullable=True),
    _text("use"),
    _text("reason"),
    _text("decided_by"),
    _text("decided_at"),
)

audit_event = Table(
    "audit_event",
    metadata,
    _id(),
    Column("seq", BigInteger, nullable=False),
    _text("at"),
    _text("actor", index=True),
    _text("action", index=True),
    _text("subject", index=True),
    _text("decision"),
    _text("policy"),
    _json("writes"),
    _json("detail"),
    _text(
        "leaf"
    ),  # hash of the event's canonical JSON: names the event that was changed, where a root only says "some"
    UniqueConstraint("seq"),
)

log_checkpoint = Table(
    "log_checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    _text("root"),
    _text("note"),
    _json("peaks"),
    _text("created_at"),
)

edge = Table(
    "edge",
    metadata,
    Column("parent_kind", Text, primary_key=True),
    Column("parent", Text, primary_key=True),
    Column("child_kind", Text, primary_key=True),
    Column("child", Text, primary_key=True),
    Index(None, "child_kind", "child"),
)
