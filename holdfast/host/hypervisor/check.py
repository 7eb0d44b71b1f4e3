"""What a machine must look like before a process is made of it: every word that QEMU would parse."""

from __future__ import annotations

import re

from holdfast.base.errors import BadInput
from holdfast.base.ids import is_id
from holdfast.base.limits import MOVE_KEY_BYTES, VOLUME_SLOTS
from holdfast.host.hypervisor.driver import MachineSpec, Passage, Volume

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_FORMATS = {"raw", "qcow2"}


def check_spec(spec: MachineSpec) -> None:
    """Raise BadInput for a machine that cannot be built as it is written."""
    if not is_id(spec.instance_id):
        raise BadInput("a machine is named by an id")
    if spec.vcpus < 1 or spec.memory_mib < 1:
        raise BadInput("a machine has at least one processor and some memory")
    if any(disk.format not in _FORMATS for disk in spec.disks):
        raise BadInput("a disk is raw or qcow2")
    if not all(_MAC.fullmatch(card.mac) and card.mtu > 0 for card in spec.cards):
        raise BadInput("a card has a MAC address and an MTU")
    for volume in spec.volumes:
        check_volume(volume)


def check_volume(volume: Volume) -> None:
    """Raise BadInput for a volume that cannot be plugged in as it is written."""
    if not is_id(volume.id) or not 0 <= volume.slot < VOLUME_SLOTS:
        raise BadInput(f"a volume is named by an id and has one of {VOLUME_SLOTS} ports")


def check_passage(passage: Passage) -> None:
    """Raise BadInput for a move that cannot be made as it is written."""
    if not is_id(passage.id):
        raise BadInput("a move is named by an id")
    if not re.fullmatch(rf"[0-9a-f]{{{2 * MOVE_KEY_BYTES}}}", passage.key):
        raise BadInput(f"the key of a move is {MOVE_KEY_BYTES} bytes, as lower case hexadecimal digits")
