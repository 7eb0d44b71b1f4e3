"""The host link: desired state out (one long poll), reports in, leases, image bytes.

A host is told about its own instances and the images that they boot from, and about nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.image.upload import byte_range, image_receive, stream_file
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import DESIRED_POLL_S, NAME_CHARS
from holdfast.control.operations.host.lease import Renewal, host_admitted, host_register, leases_renew
from holdfast.control.operations.host_desired import host_update_since
from holdfast.control.operations.host_report import Said, host_report_take, host_reports_take
from holdfast.control.operations.image_file import image_path
from holdfast.control.operations.server.capture import capture_failed
from holdfast.control.store.console import console_append
from holdfast.control.store.database import Tx
from holdfast.control.store.image import image_fetch
from holdfast.control.store.instance import host_boots_image, instance_capturing, instance_fetch
from holdfast.control.store.operation import operations_wake
from holdfast.control.store.revision import HOSTS
from holdfast.control.store.volume.rows import host_makes_from_image
from holdfast.domain.desired import HostUpdate
from holdfast.domain.observed import ConsolePiece, HostReport

_report = msgspec.json.Decoder(HostReport)
_pieces = msgspec.json.Decoder(tuple[ConsolePiece, ...])


async def desired_show(call: Call) -> Reply:
    """GET desired?since=N&wait_s=S: what is newer than version N; 204 when nothing came up within S seconds."""
    since, wait_s = _number(call, "since"), min(_number(call, "wait_s"), DESIRED_POLL_S)
    host_id, store, incarnation = call.parameters["host_id"], call.services.store, _incarnation(call)
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def look(tx: Tx) -> HostUpdate | None:
        host_admitted(tx, host_id, incarnation)
        return host_update_since(tx, host_id, since)

    def wake() -> None:
        loop.call_soon_threadsafe(changed.set)

    end = store.signals.listen(HOSTS, wake)
    gone = asyncio.ensure_future(call.gone() if call.gone else asyncio.sleep(wait_s))
    try:
        deadline = loop.time() + wait_s
        while True:
            changed.clear()
            update = await call.services.together.read(look)
            left_s = deadline - loop.time()
            if update is not None or left_s <= 0:
                return _reply(update)
            woken = asyncio.ensure_future(changed.wait())
            await asyncio.wait((woken, gone), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            if gone.done():
                return _reply(None)
    finally:
        end()
        gone.cancel()


def _reply(update: HostUpdate | None) -> Reply:
    return Reply(204) if update is None else Reply(200, update)


def _number(call: Call, name: str) -> int:
    text = call.argument(name, "0")
    if not text.isdigit():
        raise BadInput(f"{name} must be a whole number")
    return int(text)


async def report_take(call: Call) -> Reply:
    """POST report: what the host is. 204. News are written at once, a heartbeat together with others."""
    try:
        report = _report.decode(call.body)
    except msgspec.DecodeError as err:
        raise BadInput(f"the report cannot be read: {err}") from err
    said = Said(call.parameters["host_id"], _incarnation(call), report)
    if report.full or not (report.machines or report.volumes or report.floating):
        await call.services.together.write_alike(host_reports_take, said)
    else:
        await asyncio.to_thread(call.services.store.write, lambda tx: host_report_take(tx, said))
    return Reply(204)


def register(call: Call) -> Reply:
    """POST register {"boot_id", "machine"}: begin a new incarnation of the host; answers its number."""
    body, host_id = call.json(), call.parameters["host_id"]
    boot_id, machine = _word(body, "boot_id"), _word(body, "machine")
    lease = call.services.store.write(lambda tx: host_register(tx, host_id, boot_id, machine))
    return Reply(200, {"incarnation": lease.incarnation, "phase": lease.phase.value})


def _word(body: dict[str, Any], name: str) -> str:
    word = body.get(name)
    if not isinstance(word, str) or not 0 < len(word) <= NAME_CHARS:
        raise BadInput(f"{name} must be text of 1 to {NAME_CHARS} characters")
    return word


async def lease_grant(call: Call) -> Reply:
    """POST lease {"incarnation", "boot_id"}: how long the host may run its guests, and whether its keeper ends them."""
    body, host_id = call.json(), call.parameters["host_id"]
    incarnation, boot_id = body.get("incarnation"), body.get("boot_id")
    if type(incarnation) is not int or not isinstance(boot_id, str):
        raise BadInput("incarnation must be a whole number, and boot_id text")
    asked = Renewal(host_id, incarnation, boot_id, evacuates=call.services.settings.evacuate == "auto")
    valid_s, enforce = await call.services.together.write_alike(leases_renew, asked)
    return Reply(200, {"valid_s": valid_s, "enforce": enforce})


def _incarnation(call: Call) -> int:
    text = call.headers.get("x-host-incarnation", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def image_file_show(call: Call) -> Reply:
    """GET images/ID/file: the bytes of an image that something on this host is made from."""
    host_id, image_id = call.parameters["host_id"], call.parameters["image_id"]
    store = call.services.store
    if not store.read(
        lambda tx: host_boots_image(tx, host_id, image_id) or host_makes_from_image(tx, host_id, image_id)
    ):
        raise NotFound(f"nothing on this host is made from image {image_id}")
    image = call.services.store.read(lambda tx: image_fetch(tx, image_id))
    if image is None or not image.has_bytes:
        raise NotFound(f"image {image_id} has no bytes")
    span = byte_range(call.headers.get("range", ""), image.size_bytes)
    start, end = span or (0, image.size_bytes)
    headers = {"content-length": str(end - start)}
    if span:
        headers["content-range"] = f"bytes {start}-{end - 1}/{image.size_bytes}"
    stream = stream_file(image_path(call.services.images, image), span)
    return Reply(206 if span else 200, None, headers, "application/octet-stream", stream)


async def image_file_take(call: Call) -> Reply:
    """PUT images/ID/file: the captured disk of an instance on this host. 204."""
    host_id, image_id = call.parameters["host_id"], call.parameters["image_id"]
    store = call.services.store
    captured = await asyncio.to_thread(store.read, lambda tx: instance_capturing(tx, host_id, image_id))
    image = await asyncio.to_thread(store.read, lambda tx: image_fetch(tx, image_id))
    if captured is None or image is None:
        raise NotFound(f"no instance on this host is captured into image {image_id}")
    if call.receive is None:
        raise BadInput("the image has no bytes")
    await image_receive(call.services, image, call.receive, None)
    await asyncio.to_thread(store.write, lambda tx: operations_wake(tx, [captured.id]))
    return Reply(204)


def image_file_failed(call: Call) -> Reply:
    """POST images/ID/failed {"reason": ...}: the capture is not possible. 204."""
    reason = str(call.json().get("reason", ""))[:500]
    call.services.store.write(
        lambda tx: capture_failed(tx, call.parameters["host_id"], call.parameters["image_id"], reason)
    )
    return Reply(204)


def consoles_take(call: Call) -> Reply:
    """POST consoles: what guests wrote since the last time; answers how much of each is known."""
    try:
        pieces = _pieces.decode(call.body)
    except msgspec.DecodeError as err:
        raise BadInput(f"the pieces cannot be read: {err}") from err
    host_id = call.parameters["host_id"]

    def change(tx: Tx) -> dict[str, int]:
        known = {}
        for piece in pieces:
            row = instance_fetch(tx, piece.instance_id)
            if row is not None and row.host_id == host_id:
                known[row.id] = console_append(tx, row.id, piece.start, piece.data, piece.restarted)
        return known

    return Reply(200, call.services.store.write(change))
