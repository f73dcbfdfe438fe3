"""Findings say in which view of a text they were seen."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; what was found before was found in the text as it stands."""
    op.add_column("finding", sa.Column("view", sa.Text(), nullable=False, server_default="raw"))
