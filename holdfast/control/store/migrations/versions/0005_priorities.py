"""The priority of the instances that were there before priorities were."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """As domain/instance.priority_of has it now, said here so that a later change of that leaves this as it was."""
    table = sa.table("instance", sa.column("id"), sa.column("flavor"), sa.column("properties"), sa.column("priority"))
    for row in op.get_bind().execute(sa.select(table.c.id, table.c.flavor, table.c.properties)).all():
        of_flavor = _number(json.loads(row[1]).get("extra_specs", {}), 50)
        priority = min(of_flavor, _number(json.loads(row[2]), of_flavor))
        if priority != 50:
            op.execute(sa.update(table).where(table.c.id == row[0]).values(priority=priority))


def _number(words: dict[str, str], otherwise: int) -> int:
    text = words.get("holdfast:priority", "")
    return min(int(text), 100) if text.isascii() and text.isdigit() else otherwise
