"""Adapters of other kinds than LoRA, and runs that begin at an adapter."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add two columns; what is there was trained as LoRA, from the base."""
    op.add_column("adapter", sa.Column("kind", sa.Text(), nullable=False, server_default="lora"))
    op.add_column("run", sa.Column("start", sa.Text(), nullable=True))
