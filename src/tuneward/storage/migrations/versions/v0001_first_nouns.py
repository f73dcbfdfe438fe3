"""The nouns of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("writes", sa.JSON(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("leaf", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
        sa.UniqueConstraint("seq", name=op.f("uq_audit_event_seq")),
    )
    op.create_index(op.f("ix_audit_event_action"), "audit_event", ["action"], unique=False)
    op.create_index(op.f("ix_audit_event_actor"), "audit_event", ["actor"], unique=False)
    op.create_index(op.f("ix_audit_event_subject"), "audit_event", ["subject"], unique=False)
    op.create_table(
        "base",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("context_tokens", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_base")),
    )
    op.create_index(op.f("ix_base_name"), "base", ["name"], unique=False)
    op.create_table(
        "edge",
        sa.Column("parent_kind", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=False),
        sa.Column("child_kind", sa.Text(), nullable=False),
        sa.Column("child", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("parent_kind", "parent", "child_kind", "child", name=op.f("pk_edge")),
    )
    op.create_index(op.f("ix_edge_child_kind_child"), "edge", ["child_kind", "child"], unique=False)
    op.create_table(
        "log_checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("peaks", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_log_checkpoint")),
    )
    op.create_table(
        "member",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_member")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["member"], ["member.id"], name=op.f("fk_api_key_member"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_key_key_hash")),
    )
    op.create_index(op.f("ix_api_key_member"), "api_key", ["member"], unique=False)
    op.create_table(
        "dataset",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("tree", sa.Text(), nullable=False),
        sa.Column("inputs_digest", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("train_rows", sa.BigInteger(), nullable=False),
        sa.Column("test_rows", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["base"], ["base.id"], name=op.f("fk_dataset_base"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
    )
    op.create_index(op.f("ix_dataset_base"), "dataset", ["base"], unique=False)
    op.create_index(op.f("ix_dataset_inputs_digest"), "dataset", ["inputs_digest"], unique=False)
    op.create_index(op.f("ix_dataset_project"), "dataset", ["project"], unique=False)
    op.create_table(
        "approval",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("scope_digest", sa.Text(), nullable=False),
        sa.Column("justification", sa.Text(), nullable=False),
        sa.Column("risk_class", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("self_granted", sa.Boolean(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset"], ["dataset.id"], name=op.f("fk_approval_dataset"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
    )
    op.create_index(op.f("ix_approval_dataset"), "approval", ["dataset"], unique=False)
    op.create_index(op.f("ix_approval_project"), "approval", ["project"], unique=False)
    op.create_index(op.f("ix_approval_scope_digest"), "approval", ["scope_digest"], unique=False)
    op.create_table(
        "finding",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset"], ["dataset.id"], name=op.f("fk_finding_dataset"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("dataset", "record", "field", "kind", "start", "end", "rule", name=op.f("pk_finding")),
    )
    op.create_table(
        "record",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset"], ["dataset.id"], name=op.f("fk_record_dataset"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("dataset", "id", name=op.f("pk_record")),
    )
    op.create_index(op.f("ix_record_digest"), "record", ["digest"], unique=False)
    op.create_index(op.f("ix_record_id"), "record", ["id"], unique=False)
    op.create_index(op.f("ix_record_subject"), "record", ["subject"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("approval", sa.Text(), nullable=True),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("inputs_digest", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("curve", sa.Text(), nullable=True),
        sa.Column("adapter", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["approval"], ["approval.id"], name=op.f("fk_run_approval"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(["base"], ["base.id"], name=op.f("fk_run_base"), initially="DEFERRED", deferrable=True),
        sa.ForeignKeyConstraint(
            ["dataset"], ["dataset.id"], name=op.f("fk_run_dataset"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_index(op.f("ix_run_adapter"), "run", ["adapter"], unique=False)
    op.create_index(op.f("ix_run_approval"), "run", ["approval"], unique=False)
    op.create_index(op.f("ix_run_base"), "run", ["base"], unique=False)
    op.create_index(op.f("ix_run_dataset"), "run", ["dataset"], unique=False)
    op.create_index(op.f("ix_run_inputs_digest"), "run", ["inputs_digest"], unique=False)
    op.create_index(op.f("ix_run_project"), "run", ["project"], unique=False)
    op.create_table(
        "adapter",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["base"], ["base.id"], name=op.f("fk_adapter_base"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["run"], ["run.id"], name=op.f("fk_adapter_run"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adapter")),
    )
    op.create_index(op.f("ix_adapter_base"), "adapter", ["base"], unique=False)
    op.create_index(op.f("ix_adapter_run"), "adapter", ["run"], unique=False)
    op.create_table(
        "evaluation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("inputs_digest", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("gate", sa.JSON(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("canary", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter"], ["adapter.id"], name=op.f("fk_evaluation_adapter"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["base"], ["base.id"], name=op.f("fk_evaluation_base"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["dataset"], ["dataset.id"], name=op.f("fk_evaluation_dataset"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["run"], ["run.id"], name=op.f("fk_evaluation_run"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
    )
    op.create_index(op.f("ix_evaluation_adapter"), "evaluation", ["adapter"], unique=False)
    op.create_index(op.f("ix_evaluation_base"), "evaluation", ["base"], unique=False)
    op.create_index(op.f("ix_evaluation_dataset"), "evaluation", ["dataset"], unique=False)
    op.create_index(op.f("ix_evaluation_inputs_digest"), "evaluation", ["inputs_digest"], unique=False)
    op.create_index(op.f("ix_evaluation_project"), "evaluation", ["project"], unique=False)
    op.create_index(op.f("ix_evaluation_run"), "evaluation", ["run"], unique=False)
    op.create_table(
        "version",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("approval", sa.Text(), nullable=True),
        sa.Column("evaluation", sa.Text(), nullable=False),
        sa.Column("papers", sa.Text(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("tool_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter"], ["adapter.id"], name=op.f("fk_version_adapter"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["approval"], ["approval.id"], name=op.f("fk_version_approval"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["base"], ["base.id"], name=op.f("fk_version_base"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["dataset"], ["dataset.id"], name=op.f("fk_version_dataset"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["evaluation"], ["evaluation.id"], name=op.f("fk_version_evaluation"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["run"], ["run.id"], name=op.f("fk_version_run"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version")),
        sa.UniqueConstraint("project", "number", name=op.f("uq_version_project_number")),
    )
    op.create_index(op.f("ix_version_adapter"), "version", ["adapter"], unique=False)
    op.create_index(op.f("ix_version_approval"), "version", ["approval"], unique=False)
    op.create_index(op.f("ix_version_base"), "version", ["base"], unique=False)
    op.create_index(op.f("ix_version_dataset"), "version", ["dataset"], unique=False)
    op.create_index(op.f("ix_version_evaluation"), "version", ["evaluation"], unique=False)
    op.create_index(op.f("ix_version_project"), "version", ["project"], unique=False)
    op.create_index(op.f("ix_version_run"), "version", ["run"], unique=False)
    op.create_table(
        "deployment",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=True),
        sa.Column("canary_difference", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version"], ["version.id"], name=op.f("fk_deployment_version"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
    )
    op.create_index(op.f("ix_deployment_alias"), "deployment", ["alias"], unique=False)
    op.create_index(op.f("ix_deployment_project"), "deployment", ["project"], unique=False)
    op.create_index(op.f("ix_deployment_version"), "deployment", ["version"], unique=False)
