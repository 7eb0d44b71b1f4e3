"""Writes that a client may repeat: `Idempotency-Key` on any POST (EC2's ClientToken comes through here too)."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.api.http.call import Call, Reply
from holdfast.base.errors import BadInput
from holdfast.base.limits import NAME_CHARS
from holdfast.control.store.database import Tx
from holdfast.control.store.idempotency import Remembered, idempotency_recall, idempotency_remember


def write_once(call: Call, change: Callable[[Tx], Reply], key: str = "") -> Reply:
    """Run `change` in one transaction and return its reply; a repeat with the same key gets the first reply."""
    key = key or call.headers.get("idempotency-key", "")
    if not key:
        return call.services.store.write(change)
    if len(key) > NAME_CHARS or not key.isprintable():
        raise BadInput(f"an idempotency key is at most {NAME_CHARS} printable characters")
    scope = f"{call.credentials.project_id or call.credentials.user_id} {call.method} {call.path}"

    def change_once(tx: Tx) -> Reply:
        if (first := idempotency_recall(tx, scope, key, call.body)) is not None:
            return Reply(first.status, first.body)
        reply = change(tx)
        idempotency_remember(tx, scope, key, call.body, Remembered(reply.status, reply.encoded()))
        return reply

    return call.services.store.write(change_once)
