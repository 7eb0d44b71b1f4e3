"""Nova's versions: discovery documents that need no store, and the microversion of a request.

A microversion is resolved once, here, into one number (the minor); views and routes look at that number.
"""

from __future__ import annotations

import re

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import NotAcceptable
from holdfast.api.http.routes import PUBLIC, Route
from holdfast.base.errors import BadInput

OLDEST, NEWEST = 1, 96
_HEADER = re.compile(r"(?:^|,)\s*compute\s+([^,\s]+)\s*(?:,|$)")
_VERSION = re.compile(r"(\d+)\.(\d+)")


def version_of(call: Call) -> int:
    """The minor version that a request asks for: none is 2.1, `latest` the newest."""
    asked = _HEADER.search(call.headers.get("openstack-api-version", ""))
    text = asked[1] if asked else call.headers.get("x-openstack-nova-api-version", "")
    if not text:
        return OLDEST
    if text == "latest":
        return NEWEST
    parts = _VERSION.fullmatch(text)
    if parts is None:
        raise BadInput(f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum.")
    minor = int(parts[2])
    if parts[1] != "2" or not OLDEST <= minor <= NEWEST:
        raise NotAcceptable(
            f"Version {text} is not supported by the API. Minimum is 2.{OLDEST} and maximum is 2.{NEWEST}."
        )
    return minor


def version_headers(minor: int) -> dict[str, str]:
    """What every answer says of the version that was applied."""
    version = f"2.{minor or OLDEST}"
    return {
        "openstack-api-version": f"compute {version}",
        "x-openstack-nova-api-version": version,
        "vary": "OpenStack-API-Version, X-OpenStack-Nova-API-Version",
    }


def _document(call: Call) -> dict[str, object]:
    base = f"{call.services.settings.endpoint}/compute/v2.1/"
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": f"2.{NEWEST}",
        "min_version": f"2.{OLDEST}",
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": base}],
    }


def versions_list(call: Call) -> Reply:
    """GET /compute: every version."""
    return Reply(200, {"versions": [_document(call)]})


def version_show(call: Call) -> Reply:
    """GET /compute/v2.1: this version."""
    media = [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]
    return Reply(200, {"version": {**_document(call), "media-types": media}})


ROUTES = (Route("GET", "/", versions_list, PUBLIC), Route("GET", "/v2.1", version_show, PUBLIC))
