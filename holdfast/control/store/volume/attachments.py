"""Which server has which volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from holdfast.control.store.database import Tx
from holdfast.control.store.volume.tables import volume, volume_attachment
from holdfast.domain.desired import AttachedVolume
from holdfast.domain.volume import AttachedView, Attachment

COLUMNS = [volume_attachment.c[name] for name in Attachment.__struct_fields__]
_A = volume_attachment.c
_OF_INSTANCES = select(*COLUMNS).where(_A.instance_id.in_(bindparam("ids", expanding=True))).order_by(_A.slot)
_OF_MACHINES = (
    select(_A.instance_id, _A.volume_id, _A.slot, volume.c.size_gib)
    .join(volume, volume.c.id == _A.volume_id)
    .where(_A.instance_id.in_(bindparam("ids", expanding=True)), _A.present)
    .order_by(_A.slot)
)


def attachment_insert(tx: Tx, row: Attachment) -> None:
    """Add the one that a volume may have."""
    tx.run(insert(volume_attachment), {name: getattr(row, name) for name in Attachment.__struct_fields__})


def attachment_update(tx: Tx, row: Attachment, **changes: Any) -> Attachment:
    tx.run(update(volume_attachment).where(_A.id == row.id).values(**changes))
    return msgspec.structs.replace(row, **changes)


def attachment_delete(tx: Tx, row: Attachment) -> None:
    tx.run(delete(volume_attachment).where(_A.id == row.id))


def attachment_fetch(tx: Tx, attachment_id: str) -> Attachment | None:
    return tx.struct(Attachment, select(*COLUMNS).where(_A.id == attachment_id))


def attachment_of(tx: Tx, volume_id: str) -> Attachment | None:
    """The attachment of a volume."""
    return tx.struct(Attachment, select(*COLUMNS).where(_A.volume_id == volume_id))


def attachments_of_volumes(tx: Tx, volume_ids: Sequence[str]) -> dict[str, Attachment]:
    """By volume."""
    rows = tx.structs(Attachment, select(*COLUMNS).where(_A.volume_id.in_(volume_ids))) if volume_ids else []
    return {row.volume_id: row for row in rows}


def attachments_of_instances(tx: Tx, instance_ids: Sequence[str]) -> list[Attachment]:
    """In the order of their ports."""
    if not instance_ids:
        return []
    return tx.structs(Attachment, _OF_INSTANCES, {"ids": list(instance_ids)})


def attachments_list(tx: Tx, project_id: str, volume_id: str = "", instance_id: str = "") -> list[Attachment]:
    """Those of a project (empty: all), in the order in which they were made."""
    statement = select(*COLUMNS)
    wanted = ((_A.project_id, project_id), (_A.volume_id, volume_id), (_A.instance_id, instance_id))
    for column, value in wanted:
        if value:
            statement = statement.where(column == value)
    return tx.structs(Attachment, statement.order_by(_A.created_us, _A.id))


def machine_volumes(tx: Tx, instance_ids: Sequence[str]) -> dict[str, tuple[AttachedVolume, ...]]:
    """What each machine is to have, for its host."""
    if not instance_ids:
        return {}
    found: dict[str, tuple[AttachedVolume, ...]] = {}
    for instance_id, *words in tx.all(_OF_MACHINES, {"ids": list(instance_ids)}):
        found[instance_id] = (*found.get(instance_id, ()), AttachedVolume(*words))
    return found


def volumes_of_servers(tx: Tx, instance_ids: Sequence[str]) -> dict[str, tuple[AttachedView, ...]]:
    """What the views of servers say."""
    found: dict[str, tuple[AttachedView, ...]] = {}
    for row in attachments_of_instances(tx, instance_ids):
        view = AttachedView(row.volume_id, row.delete_on_termination)
        found[row.instance_id] = (*found.get(row.instance_id, ()), view)
    return found
