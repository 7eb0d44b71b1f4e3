"""What a host should be, computed from the store: everything that is newer than what its agent has."""

from __future__ import annotations

import msgspec

from holdfast.base.ec2_ids import ec2_id
from holdfast.control.operations.network.hosts import machine_interfaces, network_state
from holdfast.control.operations.volume.desired import volume_files_since
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_lease import departed_since
from holdfast.control.store.host import host_addresses
from holdfast.control.store.instance import instances_fetch, instances_of_host_since
from holdfast.control.store.placement.passage import passages_of, passages_to
from holdfast.control.store.revision import revision_now
from holdfast.control.store.volume.attachments import machine_volumes
from holdfast.domain.desired import (
    AttachedVolume,
    HostUpdate,
    ImageSource,
    Interface,
    Machine,
    Metadata,
    Move,
    MoveRole,
    Power,
)
from holdfast.domain.host import Passage, PassageKind
from holdfast.domain.instance import Instance, priority_of
from holdfast.domain.lease import Departed


class BootSources(msgspec.Struct, frozen=True):
    """What an instance boots from, as resolved when it was asked for; kept in its row."""

    disk: ImageSource
    kernel: ImageSource | None = None
    ramdisk: ImageSource | None = None
    kernel_arguments: str = ""
    virtual_bytes: int = 0


def host_update_since(tx: Tx, host_id: str, since: int) -> HostUpdate | None:
    """Return what changed after a version; None when nothing did. 0 asks for everything."""
    newest, network = revision_now(tx, host_id)
    if since and since >= newest:
        return None
    rows = instances_of_host_since(tx, host_id, since)
    files = volume_files_since(tx, host_id, since)
    gone, coming = departed_since(tx, host_id, since), passages_to(tx, host_id, since)
    if since and not rows and not files and not gone and not coming and network <= since:
        return None
    guests = instances_fetch(tx, [held.instance_id for held in coming])
    ids = [*(row.id for row in rows), *guests]
    cards, volumes, ways = machine_interfaces(tx, ids), machine_volumes(tx, ids), passages_of(tx, ids)
    address = host_addresses(tx, [host_id]).get(host_id, "") if coming else ""
    return HostUpdate(
        version=newest,
        full=since == 0,
        machines=(
            *(_own(_machine(row, cards.get(row.id, ()), volumes.get(row.id, ())), ways.get(row.id)) for row in rows),
            *(
                _coming(_machine(row, cards.get(row.id, ()), volumes.get(row.id, ())), ways[row.id], address)
                for row in guests.values()
            ),
            *map(_departed, gone),
        ),
        network=network_state(tx, host_id) if since == 0 or network > since else None,
        volumes=files,
    )


def _machine(row: Instance, interfaces: tuple[Interface, ...], volumes: tuple[AttachedVolume, ...]) -> Machine:
    sources = msgspec.convert(row.image, BootSources)
    return Machine(
        instance_id=row.id,
        name=row.name,
        generation=row.generation,
        present=row.present,
        power=row.power,
        boot=row.boot,
        soft=row.soft,
        disk=row.disk,
        disk_made=row.disk_made,
        vcpus=row.flavor.vcpus,
        memory_mib=row.flavor.memory_mib,
        disk_gib=row.flavor.disk_gib,
        capture_image_id=row.capture_image_id,
        image=sources.disk,
        kernel=sources.kernel,
        ramdisk=sources.ramdisk,
        kernel_arguments=sources.kernel_arguments,
        interfaces=interfaces,
        config_drive=row.config_drive,
        metadata=_metadata(row, interfaces),
        volumes=volumes,
        priority=priority_of(row),
    )


def _own(machine: Machine, held: Passage | None) -> Machine:
    """The record of the owner, whose instance may be on its way to another host."""
    if held is None or held.kind is PassageKind.RETURN or not machine.present:
        return machine
    if held.kind is PassageKind.COLD:
        return msgspec.structs.replace(machine, present=False, keep_disk=True, soft=True)
    move = Move(held.id, MoveRole.SEND, held.key, held.copy, end=held.target_end)
    return msgspec.structs.replace(machine, move=move)


def _coming(machine: Machine, held: Passage, address: str) -> Machine:
    """The record of the host that an instance is on its way to."""
    move = Move(held.id, MoveRole.RECEIVE, held.key, held.copy, address)
    return msgspec.structs.replace(machine, generation=held.generation, present=True, move=move)


def _departed(row: Departed) -> Machine:
    """What has to end here. Nothing else is said of it: it is another host's, or nobody's."""
    return Machine(
        instance_id=row.instance_id,
        name="",
        generation=row.generation,
        present=False,
        power=Power.STOPPED,
        boot=0,
        soft=False,
        disk=0,
        vcpus=0,
        memory_mib=0,
        disk_gib=0,
        capture_image_id="",
        image=ImageSource("", "", 0, ""),
        kernel=None,
        ramdisk=None,
        kernel_arguments="",
        interfaces=(),
        config_drive=False,
        metadata=Metadata(row.instance_id, "", "", "", "", "", "", "", "", (), (), (), 0),
        keep_disk=not row.erase,
    )


def _metadata(row: Instance, interfaces: tuple[Interface, ...]) -> Metadata:
    groups = {name for card in interfaces for name in card.port.security_groups}
    return Metadata(
        instance_id=row.id,
        ec2_instance_id=ec2_id("i", row.id),
        ec2_image_id=ec2_id("ami", row.image_id),
        instance_type=row.flavor.name,
        name=row.name,
        hostname=row.hostname,
        project_id=row.project_id,
        availability_zone=row.zone,
        user_data=row.user_data,
        keys=((row.key_name, row.key_public),) if row.key_public else (),
        properties=tuple(sorted(row.properties.items())),
        security_groups=tuple(row.security_groups or sorted(groups)),
        created_us=row.created_us,
    )
