"""Terms of rows, withdrawn consents and what they affect, decisions on the licences of bases."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add four tables, and the terms of records and datasets; rows that are there came in under terms not kept."""
    op.add_column("record", sa.Column("terms", sa.Text(), nullable=True))
    op.add_column("dataset", sa.Column("terms", sa.Text(), nullable=True))
    op.create_table(
        "terms",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("consent", sa.Text(), nullable=True),
        sa.Column("rests_on_consent", sa.Boolean(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        _reference("terms", "dataset"),
        sa.PrimaryKeyConstraint("dataset", "id", name=op.f("pk_terms")),
    )
    op.create_index(op.f("ix_terms_consent"), "terms", ["consent"], unique=False)
    op.create_table(
        "withdrawal",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawal")),
    )
    op.create_table(
        "affected",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("withdrawal", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("noun", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("marked_at", sa.Text(), nullable=False),
        _reference("affected", "withdrawal"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_affected")),
    )
    op.create_index(op.f("ix_affected_noun"), "affected", ["noun"], unique=False)
    op.create_index(op.f("ix_affected_withdrawal"), "affected", ["withdrawal"], unique=False)
    op.create_table(
        "licence_decision",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("stated", sa.Text(), nullable=False),
        sa.Column("text_digest", sa.Text(), nullable=True),
        sa.Column("text_known", sa.Boolean(), nullable=True),
        sa.Column("use", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.Text(), nullable=False),
        _reference("licence_decision", "base"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_licence_decision")),
    )
    op.create_index(op.f("ix_licence_decision_base"), "licence_decision", ["base"], unique=False)


def _reference(table: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{target}")
    return sa.ForeignKeyConstraint([target], [f"{target}.id"], name=name, deferrable=True, initially="DEFERRED")
