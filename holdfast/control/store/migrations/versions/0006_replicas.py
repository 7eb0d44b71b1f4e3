"""Several control replicas: marks of commits, and the keys and the directory of images that they share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "commit_mark",
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("mark", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_commit_mark")),
    )
    op.create_table(
        "sealing_key",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "number", name=op.f("pk_sealing_key")),
    )
    op.create_table(
        "image_directory",
        sa.Column("mark", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_image_directory")),
    )
