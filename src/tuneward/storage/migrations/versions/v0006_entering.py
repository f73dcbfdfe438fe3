"""Datasets that are being entered are marked, so that nobody reads half of one."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table; every dataset of before is whole."""
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
