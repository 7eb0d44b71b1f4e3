"""The instances that a caller names, and those that a list is made of.

Only the caller's project's: an administrator's too. A terminated one is found for an hour, so that whoever
waits for its end sees it; then it is as unknown as one that never was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.api.ec2.lookup import INSTANCE, bounds, pick
from holdfast.api.http.call import Call
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import BadInput, Conflict
from holdfast.base.ids import is_id
from holdfast.base.limits import EC2_TERMINATED_SHOWN_S, PAGE_ROWS
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_ids_within
from holdfast.control.store.server import ServerQuery, servers_list
from holdfast.domain.server import Server

_ORDER = (("created_at", False),)


def servers_named(call: Call, tx: Tx, asked: Sequence[str]) -> list[Server]:
    """The instances with these ids, in their order."""
    found = instance_ids_within(tx, call.project_id, bounds(INSTANCE, asked))
    query = _query(call, tx, ids=tuple(found), limit=len(found))
    return pick(INSTANCE, asked, servers_list(tx, query) if found else [], lambda server: server.instance.id)


def server_named(call: Call, tx: Tx, asked: str, rule: str = "") -> Server:
    """One, for an act that `rule` must allow on it."""
    server = servers_named(call, tx, [asked])[0]
    if rule:
        server_allow(call, server, rule)
    return server


def server_allow(call: Call, server: Server, rule: str, *, changes: bool = False) -> None:
    """Raise Forbidden unless the policy allows the act on this very instance, Conflict while a lock forbids it."""
    row = server.instance
    call.authorise(rule, {"project_id": row.project_id, "user_id": row.user_id})
    if changes and row.is_locked and not call.credentials.is_admin:
        raise Conflict(f"The instance '{INSTANCE.id_of(row.id)}' is locked.", code="OperationNotPermitted")


def servers_after(call: Call, tx: Tx, after: str, at_once: int) -> Iterator[list[Server]]:
    """The instances of the project, oldest first, from the one after this UUID on: `at_once`, then by the page."""
    if after and not (is_id(after) and instance_ids_within(tx, call.project_id, [(after, after)])):
        raise BadInput("The NextToken is none that was given out.", code="InvalidNextToken")
    while True:
        rows = servers_list(tx, _query(call, tx, marker=after, limit=at_once))
        yield rows
        if len(rows) < at_once:
            return
        after, at_once = rows[-1].instance.id, PAGE_ROWS


def _query(call: Call, tx: Tx, *, ids: tuple[str, ...] | None = None, marker: str = "", limit: int) -> ServerQuery:
    since_us = tx.now_us - EC2_TERMINATED_SHOWN_S * SECOND_US
    return ServerQuery(
        project_id=call.project_id, ids=ids, terminated_after_us=since_us, marker=marker, limit=limit, sort=_ORDER
    )
