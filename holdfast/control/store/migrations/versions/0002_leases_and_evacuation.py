"""Leases of hosts, proofs that they are off, former holders; what a move needs to know of disks; priorities."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "host_lease",
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("phase", sa.String(40), nullable=False),
        sa.Column("incarnation", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("enforced", sa.Boolean(), nullable=False),
        sa.Column("renewed_us", sa.BigInteger(), nullable=False),
        sa.Column("fenced_us", sa.BigInteger(), nullable=False),
        sa.Column("fenced_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("host_id", name=op.f("pk_host_lease")),
    )
    op.create_index(op.f("ix_host_lease_phase_until_us"), "host_lease", ["phase", "until_us"])
    op.create_table(
        "fence_proof",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fence_proof")),
    )
    op.create_index(op.f("ix_fence_proof_host_id_at_us"), "fence_proof", ["host_id", "at_us"])
    op.create_table(
        "departed",
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("erase", sa.Boolean(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "host_id", name=op.f("pk_departed")),
    )
    op.create_index(op.f("ix_departed_host_id_revision"), "departed", ["host_id", "revision"])
    op.add_column("host", sa.Column("disk_store", sa.String(), nullable=False, server_default=""))
    op.create_index(op.f("ix_host_disk_store"), "host", ["disk_store"])
    op.add_column("instance", sa.Column("disk_made", sa.Integer(), nullable=False, server_default="0"))
    # whatever ran has its disk; what is being built, or rebuilt, is made once more
    op.execute("UPDATE instance SET disk_made = disk WHERE state = 'ready'")
    op.add_column("operation", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.create_index(
        "ix_operation_evacuations",
        "operation",
        ["priority"],
        sqlite_where=sa.text("state = 'open' AND kind = 'server_evacuate'"),
        postgresql_where=sa.text("state = 'open' AND kind = 'server_evacuate'"),
    )


def downgrade() -> None:
    op.drop_index("ix_operation_evacuations", "operation")
    op.drop_column("operation", "priority")
    op.drop_column("instance", "disk_made")
    op.drop_index(op.f("ix_host_disk_store"), "host")
    op.drop_column("host", "disk_store")
    op.drop_table("departed")
    op.drop_table("fence_proof")
    op.drop_table("host_lease")
