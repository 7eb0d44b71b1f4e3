"""The root of the port: what services are here, and whether this replica is ready. Needs no token and no store."""

from __future__ import annotations

from holdfast import VERSION
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import plain_fault
from holdfast.api.http.routes import PUBLIC, Facade, Route


def root_show(call: Call) -> Reply:
    """GET /: the services of this port."""
    base = call.services.settings.endpoint
    names = ("identity", "compute", "image", "network", "volume", "ec2")
    return Reply(200, {"holdfast": VERSION, "services": {name: f"{base}/{name}" for name in names}})


async def healthcheck_show(call: Call) -> Reply:
    """GET /healthcheck: 200 while this process answers, also when all its threads wait for the store."""
    return Reply(200, {"status": "ok", "version": VERSION})


ROOT = Facade(
    name="root",
    mount="",
    routes=(Route("GET", "/", root_show, PUBLIC), Route("GET", "/healthcheck", healthcheck_show, PUBLIC)),
    fault=plain_fault,
)
