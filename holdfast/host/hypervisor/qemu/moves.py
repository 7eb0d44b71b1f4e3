"""Moves of guests between two QEMUs, as verbs on a machine's directory. The caller holds it where it acts.

Whether a guest may be woken is decided here, from QEMU's own run state and the note beside it: one that is
elsewhere, or was never here, is never resumed but by `activate`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from holdfast.base.errors import Conflict, HoldfastError
from holdfast.base.log import get
from holdfast.host.hypervisor.driver import MachineSpec, Passage, Reason, Sending, SendState, Where
from holdfast.host.hypervisor.qemu import directory as home
from holdfast.host.hypervisor.qemu import incoming, outgoing
from holdfast.host.hypervisor.qemu.files import REASON_FILE
from holdfast.host.hypervisor.qemu.passage import Note, key_write, note_drop, note_read, note_write
from holdfast.host.hypervisor.qmp import Qmp

log = get(__name__)


def is_inbound(directory: Path) -> bool:
    """Whether the machine was made to receive a guest, and was not activated yet."""
    note = note_read(directory)
    return note is not None and note.inbound


def confirm_activated(directory: Path) -> None:
    """It runs, only whoever activated it was killed before it could note so."""
    if is_inbound(directory):
        _arrived(directory)


def on_its_way(monitor: Qmp, directory: Path) -> bool:
    """Whether nobody may halt or wake the guest now."""
    going_on = monitor.execute("query-migrate").get("status") in outgoing.GOING_ON
    return going_on or is_inbound(directory) or _run_state(monitor) in (incoming.WAITING, outgoing.HALTED)


def wait_for_guest(
    directory: Path, spec: MachineSpec, passage: Passage, address: str, owner: home.Owner | None
) -> Where:
    """Let a machine that was just launched listen. The note is written last: with it, all of it is there."""
    with _monitor(directory) as monitor:
        where = incoming.listen(monitor, directory, spec, passage, address, owner)
    note_write(directory, Note(passage.id, passage.copy, True, where))
    log.info("guest_awaited", instance=spec.instance_id, move=passage.id, copy=passage.copy.value)
    return where


def send(directory: Path, passage: Passage, where: Where, owner: home.Owner | None) -> Sending:
    """Begin, or go on. A passage that failed stays failed: the next try is another passage."""
    note = note_read(directory)
    if note is not None and (note.inbound or (note.id != passage.id and not note.failure)):
        raise Conflict(f"{directory.name} is on another way already")
    if note is not None and note.id == passage.id and note.failure:
        return Sending(SendState.FAILED, reason=note.failure)
    with _monitor(directory) as monitor:
        try:
            if note is None or note.id != passage.id:
                _begin(monitor, directory, passage, owner)
            seen = outgoing.advance(monitor, directory, passage, where)
        except Conflict as err:  # QEMU refuses: so it would again
            seen = Sending(SendState.FAILED, reason=err.message)
        if seen.state is SendState.FAILED and not outgoing.cancel(monitor, passage.id):
            return outgoing.look(monitor, passage.id)
    if seen.state is SendState.FAILED:
        note_write(directory, Note(passage.id, passage.copy, False, failure=seen.reason))
        log.warn("guest_not_sent", instance=directory.name, move=passage.id, reason=seen.reason)
    return seen


def sending(directory: Path) -> Sending:
    """What is seen of the way out."""
    note = note_read(directory)
    if note is None or note.inbound:
        return Sending(SendState.NONE)
    if note.failure:
        return Sending(SendState.FAILED, reason=note.failure)
    with _monitor(directory) as monitor:
        return outgoing.look(monitor, note.id)


def cancel(directory: Path) -> Sending:
    """Stay; or say that it is too late."""
    note = note_read(directory)
    if note is None or note.inbound:
        return Sending(SendState.NONE)
    with _monitor(directory) as monitor:
        if not outgoing.cancel(monitor, note.id):
            return outgoing.look(monitor, note.id)
    note_drop(directory)
    return Sending(SendState.NONE)


def activate(directory: Path, paused: bool) -> None:
    """Wake a guest that is here and was not allowed to run; the note goes when it runs."""
    with _monitor(directory) as monitor:
        state = _run_state(monitor)
        if state == "running":
            return
        if state == incoming.WAITING or (state != outgoing.HALTED and not is_inbound(directory)):
            raise Conflict(f"{directory.name} has no guest that was received or sent")
        if state == outgoing.HALTED:
            outgoing.clean(monitor)
        if not paused:
            incoming.activate(monitor)
    _arrived(directory)
    log.info("guest_activated", instance=directory.name, paused=paused)


def leave(directory: Path) -> Reason:
    """Before a machine is ended: stop sending; returns why no button may be pressed, NONE when it may."""
    with suppress(HoldfastError), _monitor(directory) as monitor:
        note = note_read(directory)
        if note is not None and not note.inbound and not note.failure:
            outgoing.cancel(monitor, note.id)
        state = _run_state(monitor)
        if state == outgoing.HALTED:
            return Reason.MOVED
        if state == incoming.WAITING or (note is not None and note.inbound and state != "running"):
            return Reason.NOT_RECEIVED
        return Reason.NONE
    return Reason.NOT_RECEIVED if is_inbound(directory) else Reason.NONE


def _begin(monitor: Qmp, directory: Path, passage: Passage, owner: home.Owner | None) -> None:
    outgoing.cancel(monitor, "")  # what an earlier passage left
    key_write(directory, passage, owner)
    note_write(directory, Note(passage.id, passage.copy, False))
    log.info("guest_sending", instance=directory.name, move=passage.id, copy=passage.copy.value)


def _arrived(directory: Path) -> None:
    note_drop(directory)
    (directory / REASON_FILE).unlink(missing_ok=True)


def _run_state(monitor: Qmp) -> str:
    return str(monitor.execute("query-status").get("status", ""))


def _monitor(directory: Path) -> Qmp:
    return Qmp(directory / home.AGENT_MONITOR)
