"""Records say in which shard they train."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; of rows that were prepared before it is not known."""
    op.add_column("record", sa.Column("shard", sa.Integer(), nullable=True))
