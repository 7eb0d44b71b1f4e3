"""Placement's versions: 1.0 to the newest whose reads are all here. Later ones add nested providers and groups of
requests, which this cloud has not, so they are not advertised."""

from __future__ import annotations

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import NotAcceptable, plain_fault
from holdfast.api.http.microversion import Microversions
from holdfast.api.http.routes import PUBLIC, Route
from holdfast.base.errors import HoldfastError

NEWEST = 24
_VERSIONS = Microversions("placement", 1, 0, NEWEST)


def version_of(call: Call) -> int:
    """The minor version that a request asks for: none is 1.0, `latest` the newest."""
    return _VERSIONS.asked(call)


def version_headers(minor: int) -> dict[str, str]:
    """What every answer says of the version that was applied."""
    return {"openstack-api-version": f"placement 1.{minor}", "vary": "openstack-api-version"}


def fault(error: HoldfastError, request_id: str) -> Reply:
    """`{"errors": [{"status": 404, "title": ..., "detail": ..., "code": ..., "request_id": ...}]}`"""
    reply = plain_fault(error, request_id)
    if isinstance(error, NotAcceptable):  # clients negotiate by this
        reply.body["errors"][0] |= {"max_version": f"1.{NEWEST}", "min_version": "1.0"}
    return reply


def versions_list(call: Call) -> Reply:
    """GET /placement: the one version."""
    document = {
        "id": "v1.0",
        "status": "CURRENT",
        "min_version": "1.0",
        "max_version": f"1.{NEWEST}",
        "links": [{"rel": "self", "href": f"{call.services.settings.endpoint}/placement/"}],
    }
    return Reply(200, {"versions": [document]})


ROUTES = (Route("GET", "/", versions_list, PUBLIC),)
