"""Every act there is. A kind that is not here cannot be accepted, and every step here is crash-tested."""

from __future__ import annotations

from holdfast.control.operations.host.drain import DRAIN
from holdfast.control.operations.server import acts as server
from holdfast.control.operations.server.capture import CAPTURE
from holdfast.control.operations.server.create import CREATE
from holdfast.control.operations.server.delete import DELETE
from holdfast.control.operations.server.evacuate import EVACUATE
from holdfast.control.operations.server.migrate import LIVE_MIGRATE, MIGRATE
from holdfast.control.operations.server.resize import RESIZE, REVERT
from holdfast.control.operations.volume import attach as volume_attach
from holdfast.control.operations.volume import create as volume_create
from holdfast.control.operations.volume import delete as volume_delete
from holdfast.control.operations.volume.extend import EXTEND
from holdfast.control.operations.volume.snapshot import SNAPSHOT_CREATE

ACTS = {
    act.kind: act
    for act in (
        CREATE,
        DELETE,
        EVACUATE,
        MIGRATE,
        LIVE_MIGRATE,
        DRAIN,
        CAPTURE,
        RESIZE,
        REVERT,
        server.STOP,
        server.START,
        server.REBOOT,
        server.PAUSE,
        server.UNPAUSE,
        server.REBUILD,
        volume_create.CREATE,
        volume_delete.DELETE,
        volume_delete.SNAPSHOT_DELETE,
        volume_attach.ATTACH,
        volume_attach.DETACH,
        EXTEND,
        SNAPSHOT_CREATE,
    )
}
