"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "allocation",
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_allocation")),
    )
    with op.batch_alter_table("allocation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_allocation_host_id"), ["host_id"], unique=False)

    op.create_table(
        "console",
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "number", name=op.f("pk_console")),
    )
    op.create_table(
        "flavor",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("ephemeral_gib", sa.Integer(), nullable=False),
        sa.Column("swap_mib", sa.Integer(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("extra_specs", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flavor")),
        sa.UniqueConstraint("name", name=op.f("uq_flavor_name")),
    )
    op.create_table(
        "flavor_access",
        sa.Column("flavor_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("flavor_id", "project_id", name=op.f("pk_flavor_access")),
    )
    op.create_table(
        "host",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("token_digest", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=False),
        sa.Column("capabilities", sa.Text(), nullable=True),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.Column("unknown", sa.Text(), nullable=False),
        sa.Column("images", sa.Text(), nullable=False),
        sa.Column("desired_version", sa.BigInteger(), nullable=False),
        sa.Column("disk_free_gib", sa.Integer(), nullable=False),
        sa.Column("reported_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host")),
        sa.UniqueConstraint("name", name=op.f("uq_host_name")),
    )
    op.create_table(
        "idempotency",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "identity_role",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("domain_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_role")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_identity_role_domain_id_name")),
    )
    op.create_table(
        "image",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("visibility", sa.String(), nullable=False),
        sa.Column("disk_format", sa.String(), nullable=False),
        sa.Column("container_format", sa.String(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("upload", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("virtual_bytes", sa.BigInteger(), nullable=False),
        sa.Column("md5", sa.String(), nullable=False),
        sa.Column("sha512", sa.String(), nullable=False),
        sa.Column("min_disk_gib", sa.Integer(), nullable=False),
        sa.Column("min_ram_mib", sa.Integer(), nullable=False),
        sa.Column("protected", sa.Boolean(), nullable=False),
        sa.Column("hidden", sa.Boolean(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "status <> 'active' or (sha512 <> '' and upload <> '' and content <> '')", name=op.f("ck_image_bytes")
        ),
        sa.CheckConstraint(
            "status in ('queued', 'saving', 'active', 'killed', 'deactivated')", name=op.f("ck_image_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
    )
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_image_name"), ["name"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_project_id"), ["project_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_visibility"), ["visibility"], unique=False)

    op.create_table(
        "instance",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("hostname", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("power", sa.String(length=40), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("last_host_id", sa.String(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("boot", sa.Integer(), nullable=False),
        sa.Column("soft", sa.Boolean(), nullable=False),
        sa.Column("disk", sa.Integer(), nullable=False),
        sa.Column("flavor", sa.Text(), nullable=False),
        sa.Column("flavor_id", sa.String(), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("old_flavor", sa.Text(), nullable=True),
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("key_name", sa.String(), nullable=False),
        sa.Column("key_public", sa.Text(), nullable=False),
        sa.Column("user_data", sa.Text(), nullable=False),
        sa.Column("config_drive", sa.Boolean(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("zone_asked", sa.String(), nullable=False),
        sa.Column("access_ipv4", sa.String(), nullable=False),
        sa.Column("access_ipv6", sa.String(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("security_groups", sa.Text(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("locked", sa.String(), nullable=False),
        sa.Column("is_locked", sa.Boolean(), nullable=False),
        sa.Column("reservation_id", sa.String(), nullable=False),
        sa.Column("launch_index", sa.Integer(), nullable=False),
        sa.Column("capture_image_id", sa.String(), nullable=False),
        sa.Column("launched_us", sa.BigInteger(), nullable=False),
        sa.Column("terminated_us", sa.BigInteger(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
    )
    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_instance_created_us_id"), ["created_us", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_instance_group_id"), ["group_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_instance_host_id_revision"), ["host_id", "revision"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_instance_project_id_created_us_id"), ["project_id", "created_us", "id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_instance_updated_us"), ["updated_us"], unique=False)
        batch_op.create_index(
            "ix_instance_usage",
            ["project_id", "vcpus", "memory_mib"],
            unique=False,
            sqlite_where=sa.text("state != 'deleted'"),
            postgresql_where=sa.text("state != 'deleted'"),
        )

    op.create_table(
        "keypair",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "name", name=op.f("pk_keypair")),
    )
    op.create_table(
        "network",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("admin_state_up", sa.Boolean(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("external", sa.Boolean(), nullable=False),
        sa.Column("mtu", sa.Integer(), nullable=False),
        sa.Column("port_security", sa.Boolean(), nullable=False),
        sa.Column("network_type", sa.String(), nullable=False),
        sa.Column("physical_network", sa.String(), nullable=False),
        sa.Column("vni", sa.Integer(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network")),
        sa.UniqueConstraint("vni", name=op.f("uq_network_vni")),
    )
    with op.batch_alter_table("network", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_network_name"), ["name"], unique=False)
        batch_op.create_index(batch_op.f("ix_network_project_id"), ["project_id"], unique=False)

    op.create_table(
        "network_tag",
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("object_id", "tag", name=op.f("pk_network_tag")),
    )
    op.create_table(
        "observation",
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("boot", sa.Integer(), nullable=False),
        sa.Column("disk", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("retryable", sa.Boolean(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("volumes", sa.Text(), nullable=True),
        sa.Column("volume_problem", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_observation")),
    )
    with op.batch_alter_table("observation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_observation_host_id"), ["host_id"], unique=False)

    op.create_table(
        "operation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at_us", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.Column("deadline_us", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=False),
        sa.Column("waiting_for", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation")),
    )
    with op.batch_alter_table("operation", schema=None) as batch_op:
        batch_op.create_index(
            "ix_operation_due",
            ["next_at_us"],
            unique=False,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )
        batch_op.create_index(
            batch_op.f("ix_operation_resource_id_created_us"), ["resource_id", "created_us"], unique=False
        )
        batch_op.create_index(
            "uq_operation_open",
            ["resource_id"],
            unique=True,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )

    op.create_table(
        "operation_event",
        sa.Column("operation_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("operation_id", "number", name=op.f("pk_operation_event")),
    )
    op.create_table(
        "project",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("domain_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("is_domain", sa.Boolean(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_project_domain_id_name")),
    )
    with op.batch_alter_table("project", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_project_parent_id"), ["parent_id"], unique=False)

    op.create_table(
        "quota",
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "resource", name=op.f("pk_quota")),
    )
    op.create_table(
        "revision",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_revision")),
    )
    op.create_table(
        "revocation",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_revocation")),
    )
    with op.batch_alter_table("revocation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_revocation_number"), ["number"], unique=False)

    op.create_table(
        "router",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("admin_state_up", sa.Boolean(), nullable=False),
        sa.Column("external_network_id", sa.String(), nullable=False),
        sa.Column("snat", sa.Boolean(), nullable=False),
        sa.Column("routes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_router")),
    )
    with op.batch_alter_table("router", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_router_external_network_id"), ["external_network_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_router_name"), ["name"], unique=False)
        batch_op.create_index(batch_op.f("ix_router_project_id"), ["project_id"], unique=False)

    op.create_table(
        "security_group",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("stateful", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_group")),
    )
    with op.batch_alter_table("security_group", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_security_group_name"), ["name"], unique=False)
        batch_op.create_index(batch_op.f("ix_security_group_project_id"), ["project_id"], unique=False)
        batch_op.create_index(
            "uq_security_group_default",
            ["project_id"],
            unique=True,
            sqlite_where=sa.text("is_default"),
            postgresql_where=sa.text("is_default"),
        )

    op.create_table(
        "server_group",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("max_per_host", sa.Integer(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server_group")),
    )
    with op.batch_alter_table("server_group", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_server_group_project_id_created_us"), ["project_id", "created_us"], unique=False
        )

    op.create_table(
        "subnetpool",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("ip_version", sa.Integer(), nullable=False),
        sa.Column("prefixes", sa.Text(), nullable=False),
        sa.Column("min_prefixlen", sa.Integer(), nullable=False),
        sa.Column("max_prefixlen", sa.Integer(), nullable=False),
        sa.Column("default_prefixlen", sa.Integer(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subnetpool")),
    )
    with op.batch_alter_table("subnetpool", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_subnetpool_name"), ["name"], unique=False)
        batch_op.create_index(batch_op.f("ix_subnetpool_project_id"), ["project_id"], unique=False)

    op.create_table(
        "volume",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("bootable", sa.Boolean(), nullable=False),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("image_words", sa.Text(), nullable=False),
        sa.Column("copy_of", sa.String(), nullable=False),
        sa.Column("snapshot_id", sa.String(), nullable=False),
        sa.Column("source_id", sa.String(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume")),
    )
    with op.batch_alter_table("volume", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_volume_copy_of"), ["copy_of"], unique=False)
        batch_op.create_index(batch_op.f("ix_volume_host_id_revision"), ["host_id", "revision"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_volume_project_id_created_us_id"), ["project_id", "created_us", "id"], unique=False
        )

    op.create_table(
        "volume_attachment",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("delete_on_termination", sa.Boolean(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("attached_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume_attachment")),
    )
    with op.batch_alter_table("volume_attachment", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_volume_attachment_project_id_created_us"), ["project_id", "created_us"], unique=False
        )
        batch_op.create_index("uq_volume_attachment_slot", ["instance_id", "slot"], unique=True)
        batch_op.create_index("uq_volume_attachment_volume_id", ["volume_id"], unique=True)

    op.create_table(
        "volume_observation",
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("retryable", sa.Boolean(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("volume_id", name=op.f("pk_volume_observation")),
    )
    with op.batch_alter_table("volume_observation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_volume_observation_host_id"), ["host_id"], unique=False)

    op.create_table(
        "volume_snapshot",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("properties", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume_snapshot")),
    )
    with op.batch_alter_table("volume_snapshot", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_volume_snapshot_host_id_revision"), ["host_id", "revision"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_volume_snapshot_project_id_created_us_id"), ["project_id", "created_us", "id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_volume_snapshot_volume_id"), ["volume_id"], unique=False)

    op.create_table(
        "floating_ip",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("port_id", sa.String(), nullable=False),
        sa.Column("fixed", sa.String(), nullable=False),
        sa.Column("router_id", sa.String(), nullable=False),
        sa.Column("auto_for_instance", sa.Boolean(), nullable=False),
        sa.Column("request_key", sa.String(), nullable=False),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_floating_ip_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_floating_ip")),
        sa.UniqueConstraint("network_id", "address", name=op.f("uq_floating_ip_network_id_address")),
    )
    with op.batch_alter_table("floating_ip", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_floating_ip_address"), ["address"], unique=False)
        batch_op.create_index(batch_op.f("ix_floating_ip_port_id"), ["port_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_floating_ip_project_id"), ["project_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_floating_ip_router_id"), ["router_id"], unique=False)
        batch_op.create_index(
            "uq_floating_ip_port_id_fixed",
            ["port_id", "fixed"],
            unique=True,
            sqlite_where=sa.text("port_id != ''"),
            postgresql_where=sa.text("port_id != ''"),
        )
        batch_op.create_index(
            "uq_floating_ip_project_id_request_key",
            ["project_id", "request_key"],
            unique=True,
            sqlite_where=sa.text("request_key != ''"),
            postgresql_where=sa.text("request_key != ''"),
        )

    op.create_table(
        "identity_group",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("domain_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["project.id"], name=op.f("fk_identity_group_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_group")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_identity_group_domain_id_name")),
    )
    op.create_table(
        "identity_user",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("domain_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("default_project_id", sa.String(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["project.id"], name=op.f("fk_identity_user_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_user")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_identity_user_domain_id_name")),
    )
    op.create_table(
        "image_member",
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_image_member_image_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("image_id", "project_id", name=op.f("pk_image_member")),
    )
    with op.batch_alter_table("image_member", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_image_member_project_id"), ["project_id"], unique=False)

    op.create_table(
        "image_word",
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_image_word_image_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("image_id", "name", "value", name=op.f("pk_image_word")),
    )
    op.create_table(
        "port",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("admin_state_up", sa.Boolean(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("device_owner", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("auto_for_instance", sa.Boolean(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("up", sa.Boolean(), nullable=False),
        sa.Column("vnic_type", sa.String(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("port_security", sa.Boolean(), nullable=False),
        sa.Column("allowed_pairs", sa.Text(), nullable=False),
        sa.Column("dns_name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_port_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_port")),
        sa.UniqueConstraint("network_id", "mac", name=op.f("uq_port_network_id_mac")),
    )
    with op.batch_alter_table("port", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_port_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_port_host_id"), ["host_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_port_instance_id"), ["instance_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_port_name"), ["name"], unique=False)
        batch_op.create_index(batch_op.f("ix_port_project_id"), ["project_id"], unique=False)

    op.create_table(
        "role_assignment",
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("target_id", sa.String(), nullable=False),
        sa.Column("role_id", sa.String(), nullable=False),
        sa.Column("inherited", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["identity_role.id"], name=op.f("fk_role_assignment_role_id")),
        sa.PrimaryKeyConstraint(
            "actor", "actor_id", "target", "target_id", "role_id", "inherited", name=op.f("pk_role_assignment")
        ),
    )
    with op.batch_alter_table("role_assignment", schema=None) as batch_op:
        batch_op.create_index("ix_role_assignment_role_id", ["role_id"], unique=False)
        batch_op.create_index("ix_role_assignment_target_id", ["target_id"], unique=False)

    op.create_table(
        "security_group_rule",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("ethertype", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("protocol_shown", sa.String(), nullable=False),
        sa.Column("port_min", sa.Integer(), nullable=False),
        sa.Column("port_max", sa.Integer(), nullable=False),
        sa.Column("remote_cidr", sa.String(), nullable=False),
        sa.Column("remote_group", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["security_group.id"], name=op.f("fk_security_group_rule_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_group_rule")),
        sa.UniqueConstraint(
            "group_id",
            "direction",
            "ethertype",
            "protocol",
            "port_min",
            "port_max",
            "remote_cidr",
            "remote_group",
            name="uq_security_group_rule_same",
        ),
    )
    with op.batch_alter_table("security_group_rule", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_security_group_rule_project_id"), ["project_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_security_group_rule_remote_group"), ["remote_group"], unique=False)

    op.create_table(
        "subnet",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("ip_version", sa.Integer(), nullable=False),
        sa.Column("cidr", sa.String(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("dhcp", sa.Boolean(), nullable=False),
        sa.Column("nameservers", sa.Text(), nullable=False),
        sa.Column("routes", sa.Text(), nullable=False),
        sa.Column("ipv6_address_mode", sa.String(), nullable=False),
        sa.Column("ipv6_ra_mode", sa.String(), nullable=False),
        sa.Column("subnetpool_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_subnet_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subnet")),
    )
    with op.batch_alter_table("subnet", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_subnet_name"), ["name"], unique=False)
        batch_op.create_index(batch_op.f("ix_subnet_network_id"), ["network_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_subnet_project_id"), ["project_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_subnet_subnetpool_id"), ["subnetpool_id"], unique=False)

    op.create_table(
        "application_credential",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("role_ids", sa.Text(), nullable=False),
        sa.Column("unrestricted", sa.Boolean(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("parent_id", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_application_credential_project_id")),
        sa.ForeignKeyConstraint(["user_id"], ["identity_user.id"], name=op.f("fk_application_credential_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application_credential")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_application_credential_user_id_name")),
    )
    with op.batch_alter_table("application_credential", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_application_credential_parent_id"), ["parent_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_application_credential_project_id"), ["project_id"], unique=False)

    op.create_table(
        "ec2_credential",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("access", sa.String(), nullable=False),
        sa.Column("secret_sealed", sa.Text(), nullable=False),
        sa.Column("application_credential_id", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_ec2_credential_project_id")),
        sa.ForeignKeyConstraint(["user_id"], ["identity_user.id"], name=op.f("fk_ec2_credential_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ec2_credential")),
        sa.UniqueConstraint("access", name=op.f("uq_ec2_credential_access")),
    )
    with op.batch_alter_table("ec2_credential", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_ec2_credential_application_credential_id"), ["application_credential_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_ec2_credential_project_id"), ["project_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_ec2_credential_user_id"), ["user_id"], unique=False)

    op.create_table(
        "identity_group_member",
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["identity_group.id"], name=op.f("fk_identity_group_member_group_id")),
        sa.ForeignKeyConstraint(["user_id"], ["identity_user.id"], name=op.f("fk_identity_group_member_user_id")),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_identity_group_member")),
    )
    with op.batch_alter_table("identity_group_member", schema=None) as batch_op:
        batch_op.create_index("ix_identity_group_member_user_id", ["user_id"], unique=False)

    op.create_table(
        "port_security_group",
        sa.Column("port_id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["security_group.id"], name=op.f("fk_port_security_group_group_id")),
        sa.ForeignKeyConstraint(
            ["port_id"], ["port.id"], name=op.f("fk_port_security_group_port_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("port_id", "group_id", name=op.f("pk_port_security_group")),
    )
    with op.batch_alter_table("port_security_group", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_port_security_group_group_id"), ["group_id"], unique=False)

    op.create_table(
        "subnet_address",
        sa.Column("subnet_id", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("port_id", sa.String(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("recycled", sa.Boolean(), nullable=False),
        sa.Column("released_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["port_id"], ["port.id"], name=op.f("fk_subnet_address_port_id")),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnet.id"], name=op.f("fk_subnet_address_subnet_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("subnet_id", "address", name=op.f("pk_subnet_address")),
    )
    with op.batch_alter_table("subnet_address", schema=None) as batch_op:
        batch_op.create_index("ix_subnet_address_address", ["address"], unique=False)
        batch_op.create_index(batch_op.f("ix_subnet_address_port_id"), ["port_id"], unique=False)
        batch_op.create_index(
            "ix_subnet_address_resting",
            ["subnet_id", "released_us"],
            unique=False,
            sqlite_where=sa.text("port_id IS NULL"),
            postgresql_where=sa.text("port_id IS NULL"),
        )

    op.create_table(
        "subnet_pool",
        sa.Column("subnet_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("first", sa.String(), nullable=False),
        sa.Column("last", sa.String(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnet.id"], name=op.f("fk_subnet_pool_subnet_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("subnet_id", "position", name=op.f("pk_subnet_pool")),
    )


def downgrade() -> None:

    op.drop_table("subnet_pool")
    with op.batch_alter_table("subnet_address", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_subnet_address_resting",
            sqlite_where=sa.text("port_id IS NULL"),
            postgresql_where=sa.text("port_id IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_subnet_address_port_id"))
        batch_op.drop_index("ix_subnet_address_address")

    op.drop_table("subnet_address")
    with op.batch_alter_table("port_security_group", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_port_security_group_group_id"))

    op.drop_table("port_security_group")
    with op.batch_alter_table("identity_group_member", schema=None) as batch_op:
        batch_op.drop_index("ix_identity_group_member_user_id")

    op.drop_table("identity_group_member")
    with op.batch_alter_table("ec2_credential", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ec2_credential_user_id"))
        batch_op.drop_index(batch_op.f("ix_ec2_credential_project_id"))
        batch_op.drop_index(batch_op.f("ix_ec2_credential_application_credential_id"))

    op.drop_table("ec2_credential")
    with op.batch_alter_table("application_credential", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_application_credential_project_id"))
        batch_op.drop_index(batch_op.f("ix_application_credential_parent_id"))

    op.drop_table("application_credential")
    with op.batch_alter_table("subnet", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_subnet_subnetpool_id"))
        batch_op.drop_index(batch_op.f("ix_subnet_project_id"))
        batch_op.drop_index(batch_op.f("ix_subnet_network_id"))
        batch_op.drop_index(batch_op.f("ix_subnet_name"))

    op.drop_table("subnet")
    with op.batch_alter_table("security_group_rule", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_security_group_rule_remote_group"))
        batch_op.drop_index(batch_op.f("ix_security_group_rule_project_id"))

    op.drop_table("security_group_rule")
    with op.batch_alter_table("role_assignment", schema=None) as batch_op:
        batch_op.drop_index("ix_role_assignment_target_id")
        batch_op.drop_index("ix_role_assignment_role_id")

    op.drop_table("role_assignment")
    with op.batch_alter_table("port", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_port_project_id"))
        batch_op.drop_index(batch_op.f("ix_port_name"))
        batch_op.drop_index(batch_op.f("ix_port_instance_id"))
        batch_op.drop_index(batch_op.f("ix_port_host_id"))
        batch_op.drop_index(batch_op.f("ix_port_device_id"))

    op.drop_table("port")
    op.drop_table("image_word")
    with op.batch_alter_table("image_member", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_image_member_project_id"))

    op.drop_table("image_member")
    op.drop_table("identity_user")
    op.drop_table("identity_group")
    with op.batch_alter_table("floating_ip", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_floating_ip_project_id_request_key",
            sqlite_where=sa.text("request_key != ''"),
            postgresql_where=sa.text("request_key != ''"),
        )
        batch_op.drop_index(
            "uq_floating_ip_port_id_fixed",
            sqlite_where=sa.text("port_id != ''"),
            postgresql_where=sa.text("port_id != ''"),
        )
        batch_op.drop_index(batch_op.f("ix_floating_ip_router_id"))
        batch_op.drop_index(batch_op.f("ix_floating_ip_project_id"))
        batch_op.drop_index(batch_op.f("ix_floating_ip_port_id"))
        batch_op.drop_index(batch_op.f("ix_floating_ip_address"))

    op.drop_table("floating_ip")
    with op.batch_alter_table("volume_snapshot", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_volume_snapshot_volume_id"))
        batch_op.drop_index(batch_op.f("ix_volume_snapshot_project_id_created_us_id"))
        batch_op.drop_index(batch_op.f("ix_volume_snapshot_host_id_revision"))

    op.drop_table("volume_snapshot")
    with op.batch_alter_table("volume_observation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_volume_observation_host_id"))

    op.drop_table("volume_observation")
    with op.batch_alter_table("volume_attachment", schema=None) as batch_op:
        batch_op.drop_index("uq_volume_attachment_volume_id")
        batch_op.drop_index("uq_volume_attachment_slot")
        batch_op.drop_index(batch_op.f("ix_volume_attachment_project_id_created_us"))

    op.drop_table("volume_attachment")
    with op.batch_alter_table("volume", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_volume_project_id_created_us_id"))
        batch_op.drop_index(batch_op.f("ix_volume_host_id_revision"))
        batch_op.drop_index(batch_op.f("ix_volume_copy_of"))

    op.drop_table("volume")
    with op.batch_alter_table("subnetpool", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_subnetpool_project_id"))
        batch_op.drop_index(batch_op.f("ix_subnetpool_name"))

    op.drop_table("subnetpool")
    with op.batch_alter_table("server_group", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_server_group_project_id_created_us"))

    op.drop_table("server_group")
    with op.batch_alter_table("security_group", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_security_group_default", sqlite_where=sa.text("is_default"), postgresql_where=sa.text("is_default")
        )
        batch_op.drop_index(batch_op.f("ix_security_group_project_id"))
        batch_op.drop_index(batch_op.f("ix_security_group_name"))

    op.drop_table("security_group")
    with op.batch_alter_table("router", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_router_project_id"))
        batch_op.drop_index(batch_op.f("ix_router_name"))
        batch_op.drop_index(batch_op.f("ix_router_external_network_id"))

    op.drop_table("router")
    with op.batch_alter_table("revocation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_revocation_number"))

    op.drop_table("revocation")
    op.drop_table("revision")
    op.drop_table("quota")
    with op.batch_alter_table("project", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_project_parent_id"))

    op.drop_table("project")
    op.drop_table("operation_event")
    with op.batch_alter_table("operation", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_operation_open", sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'")
        )
        batch_op.drop_index(batch_op.f("ix_operation_resource_id_created_us"))
        batch_op.drop_index(
            "ix_operation_due", sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'")
        )

    op.drop_table("operation")
    with op.batch_alter_table("observation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_observation_host_id"))

    op.drop_table("observation")
    op.drop_table("network_tag")
    with op.batch_alter_table("network", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_network_project_id"))
        batch_op.drop_index(batch_op.f("ix_network_name"))

    op.drop_table("network")
    op.drop_table("keypair")
    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_instance_updated_us"))
        batch_op.drop_index(batch_op.f("ix_instance_project_id_created_us_id"))
        batch_op.drop_index(batch_op.f("ix_instance_host_id_revision"))
        batch_op.drop_index(batch_op.f("ix_instance_group_id"))
        batch_op.drop_index(batch_op.f("ix_instance_created_us_id"))

    op.drop_table("instance")
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_image_visibility"))
        batch_op.drop_index(batch_op.f("ix_image_project_id"))
        batch_op.drop_index(batch_op.f("ix_image_name"))

    op.drop_table("image")
    op.drop_table("identity_role")
    op.drop_table("idempotency")
    op.drop_table("host")
    op.drop_table("flavor_access")
    op.drop_table("flavor")
    op.drop_table("console")
    with op.batch_alter_table("allocation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_allocation_host_id"))

    op.drop_table("allocation")
