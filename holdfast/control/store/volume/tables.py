"""The four tables. A unique index gives a volume one attachment, another a machine's port one volume."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from holdfast.control.store.schema import Json, Word, instant, metadata
from holdfast.domain.desired import ImageSource
from holdfast.domain.volume import VolumeState

volume = Table(
    "volume",
    metadata,
    Column("id", String, primary_key=True),
    Column("project_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", Word(VolumeState), nullable=False),
    Column("size_gib", Integer, nullable=False),
    Column("host_id", String, nullable=False),
    Column("zone", String, nullable=False),
    Column("present", Boolean, nullable=False),
    Column("made", Boolean, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("bootable", Boolean, nullable=False),
    Column("image", Json(ImageSource | None)),
    Column("image_words", Json(), nullable=False),
    Column("copy_of", String, nullable=False),
    Column("snapshot_id", String, nullable=False),
    Column("source_id", String, nullable=False),
    Column("properties", Json(), nullable=False),
    Column("fault", Text, nullable=False),
    instant("created_us"),
    instant("updated_us"),
    Index(None, "project_id", "created_us", "id"),
    Index(None, "host_id", "revision"),
    Index(None, "copy_of"),
)

volume_snapshot = Table(
    "volume_snapshot",
    metadata,
    Column("id", String, primary_key=True),
    Column("project_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("volume_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", Word(VolumeState), nullable=False),
    Column("size_gib", Integer, nullable=False),
    Column("host_id", String, nullable=False),
    Column("present", Boolean, nullable=False),
    Column("made", Boolean, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("properties", Json(), nullable=False),
    Column("fault", Text, nullable=False),
    instant("created_us"),
    instant("updated_us"),
    Index(None, "project_id", "created_us", "id"),
    Index(None, "host_id", "revision"),
    Index(None, "volume_id"),
)

volume_attachment = Table(
    "volume_attachment",
    metadata,
    Column("id", String, primary_key=True),
    Column("volume_id", String, nullable=False),
    Column("instance_id", String, nullable=False),
    Column("project_id", String, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("device", String, nullable=False),
    Column("tag", String, nullable=False),
    Column("delete_on_termination", Boolean, nullable=False),
    Column("present", Boolean, nullable=False),
    instant("created_us"),
    instant("attached_us"),
    Index("uq_volume_attachment_volume_id", "volume_id", unique=True),
    Index("uq_volume_attachment_slot", "instance_id", "slot", unique=True),
    Index(None, "project_id", "created_us"),
)

volume_observation = Table(
    "volume_observation",
    metadata,
    Column("volume_id", String, primary_key=True),
    Column("host_id", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("phase", String, nullable=False),
    Column("size_gib", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("code", String, nullable=False),
    Column("retryable", Boolean, nullable=False),
    instant("at_us"),
    Index(None, "host_id"),
)
