"""Datasets that are being entered are marked, so that nobody reads half of one; each says what inspected it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add table and column; every dataset of before is whole, and it is not known by what it was inspected."""
    op.add_column("dataset", sa.Column("inspector", sa.Text(), nullable=True))
    op.create_table(
        "entering",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("began_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset"],
            ["dataset.id"],
            name=op.f("fk_entering_dataset"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("dataset", name=op.f("pk_entering")),
    )
