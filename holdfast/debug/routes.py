"""The debug facade: why, and audit. Our own shape of answers, under /debug."""

from __future__ import annotations

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import plain_fault
from holdfast.api.http.policy import ADMIN, READER
from holdfast.api.http.routes import Facade, Route
from holdfast.base.errors import NotFound
from holdfast.base.ids import is_id
from holdfast.control.store.database import Tx
from holdfast.control.store.server import server_fetch
from holdfast.debug.audit import store_audit
from holdfast.debug.why import instance_why


def why_show(call: Call) -> Reply:
    """GET /v1/why/{id}: the story of an instance that the caller may see."""
    instance_id = call.parameters["instance_id"]

    def look(tx: Tx) -> Reply:
        server = server_fetch(tx, instance_id) if is_id(instance_id) else None
        credentials = call.credentials
        mine = server is not None and server.instance.project_id == credentials.project_id
        if server is None or not (mine or credentials.is_admin):
            raise NotFound(f"no instance {instance_id[:64]} is known here")
        return Reply(200, instance_why(tx, server))

    return call.services.store.read(look)


def audit_show(call: Call) -> Reply:
    """GET /v1/audit: every disagreement between intent, store and reports."""
    findings = call.services.store.read(lambda tx: store_audit(tx, call.services.images))
    return Reply(200, {"findings": findings})


ROUTES = (
    Route("GET", "/v1/why/{instance_id}", why_show, "holdfast:why"),
    Route("GET", "/v1/audit", audit_show, "holdfast:audit"),
)
FACADE = Facade(name="debug", mount="debug", routes=ROUTES, fault=plain_fault)
RULES = {"holdfast:why": READER, "holdfast:audit": ADMIN}
