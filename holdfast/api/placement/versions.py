"""Placement's versions: 1.0 to the newest whose reads are all here. Later ones add nested providers and groups of
requests, which this cloud has not, so they are not advertised."""

from __future__ import annotations

import re

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import NotAcceptable, plain_fault
from holdfast.api.http.routes import PUBLIC, Route
from holdfast.base.errors import BadInput, HoldfastError

NEWEST = 24
_HEADER = re.compile(r"(?:^|,)\s*placement\s+([^,\s]+)\s*(?:,|$)")
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,5})")


def version_of(call: Call) -> int:
    """The minor version that a request asks for: none is 1.0, `latest` the newest."""
    asked = _HEADER.search(call.headers.get("openstack-api-version", ""))
    if asked is None:
        return 0
    if asked[1] == "latest":
        return NEWEST
    parts = _VERSION.fullmatch(asked[1])
    if parts is None:
        raise BadInput(f"invalid version string: {asked[1][:40]}")
    if parts[1] != "1" or int(parts[2]) > NEWEST:
        raise NotAcceptable(f"Unacceptable version header: {asked[1]}")
    return int(parts[2])


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
