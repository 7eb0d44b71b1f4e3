"""Make an image of a server's disk: the host sends the disk into an image that waits for it.

    capture  the server's record names the image; its host uploads the disk; the image becomes active

The image exists from the beginning, queued. If the host says that it cannot, or the time is over, the image
is removed and the server is as it was.
"""

from __future__ import annotations

from holdfast.base.errors import HoldfastError
from holdfast.base.limits import CAPTURE_DEADLINE_S
from holdfast.control.operations.act import NEXT, Act, Outcome, Step, Work, wait
from holdfast.control.operations.image import image_create_from_host, image_remove
from holdfast.control.store.database import Tx
from holdfast.control.store.image import image_fetch
from holdfast.control.store.instance import instance_capturing, instance_change
from holdfast.control.store.operation import operation_fail, operation_insert, operation_open_of
from holdfast.domain.credentials import Credentials
from holdfast.domain.image import Status
from holdfast.domain.instance import Instance, require_idle


def _capture(work: Work) -> Outcome:
    image = image_fetch(work.tx, work.data["image_id"])
    if image is not None and image.status is not Status.ACTIVE:
        return wait(f"host {work.data['host_id']} to send the disk")
    _stop_capturing(work)
    return NEXT


def _stop_capturing(work: Work) -> None:
    row = work.instance()
    if row.capture_image_id:
        instance_change(work.tx, row, capture_image_id="")


def _fail(work: Work, err: HoldfastError) -> None:
    """The server goes on as it was."""
    capture_dropped(work.tx, work.data["image_id"])


def capture_dropped(tx: Tx, image_id: str) -> None:
    """An image that never got its bytes is no image."""
    image = image_fetch(tx, image_id)
    if image is not None and image.status is not Status.ACTIVE:
        image_remove(tx, image)


CAPTURE = Act("server_capture", (Step("capture", _capture, _stop_capturing),), _fail, CAPTURE_DEADLINE_S)


def server_capture_begin(
    tx: Tx, row: Instance, name: str, properties: dict[str, str], credentials: Credentials, request_id: str
) -> str:
    """Accept a capture; returns the id of the image, which is queued until the host has sent the disk."""
    require_idle(row, "createImage")
    words = {
        **{key: value for key, value in row.properties.items() if key.startswith("hw_")},
        "instance_uuid": row.id,
        "base_image_ref": row.image_id,
        "image_type": "snapshot",
        "user_id": credentials.user_id,
        **{f"{kind}_id": source["id"] for kind in ("kernel", "ramdisk") if (source := row.image.get(kind))},
        **properties,
    }
    image = image_create_from_host(tx, row.project_id, name, words, row.flavor.disk_gib)
    changed = instance_change(tx, row, capture_image_id=image.id)
    operation_insert(
        tx,
        kind=CAPTURE.kind,
        step="capture",
        resource_id=row.id,
        project_id=row.project_id,
        user_id=credentials.user_id,
        request_id=request_id,
        deadline_s=CAPTURE_DEADLINE_S,
        data={"image_id": image.id, "generation": changed.generation, "host_id": row.host_id},
    )
    return image.id


def capture_failed(tx: Tx, host_id: str, image_id: str, reason: str) -> None:
    """Take a host's word that it cannot send the disk: the act ends with that reason."""
    row = instance_capturing(tx, host_id, image_id)
    operation = operation_open_of(tx, row.id) if row else None
    if row is None or operation is None or operation.kind != CAPTURE.kind:
        return
    instance_change(tx, row, capture_image_id="")
    capture_dropped(tx, image_id)
    operation_fail(tx, operation, f"the disk could not be captured: {reason}", "capture_failed")
