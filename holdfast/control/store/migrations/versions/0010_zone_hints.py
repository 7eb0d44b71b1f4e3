"""The zones that networks and routers were asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("network", "router"):
        op.add_column(table, sa.Column("zone_hints", sa.Text(), nullable=False, server_default="[]"))
