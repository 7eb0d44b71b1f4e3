"""Cinder's versions: discovery documents that need no store, and the microversion of a request."""

from __future__ import annotations

import re

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import NotAcceptable
from holdfast.api.http.routes import PUBLIC, Route
from holdfast.base.errors import BadInput

NEWEST = 59
_HEADER = re.compile(r"(?:^|,)\s*volume\s+([^,\s]+)\s*(?:,|$)")
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,5})")


def version_of(call: Call) -> int:
    """The minor version that a request asks for: none is 3.0, `latest` the newest."""
    asked = _HEADER.search(call.headers.get("openstack-api-version", ""))
    if asked is None:
        return 0
    if asked[1] == "latest":
        return NEWEST
    parts = _VERSION.fullmatch(asked[1])
    if parts is None:
        raise BadInput(f"API Version String {asked[1][:40]} is of invalid format. Must be of format MajorNum.MinorNum.")
    minor = int(parts[2])
    if parts[1] != "3" or minor > NEWEST:
        raise NotAcceptable(
            f"Version {asked[1]} is not supported by the API. Minimum is 3.0 and maximum is 3.{NEWEST}."
        )
    return minor


def version_headers(minor: int) -> dict[str, str]:
    """What every answer says of the version that was applied."""
    return {"openstack-api-version": f"volume 3.{minor}", "vary": "OpenStack-API-Version"}


def _document(call: Call) -> dict[str, object]:
    return {
        "id": "v3.0",
        "status": "CURRENT",
        "version": f"3.{NEWEST}",
        "min_version": "3.0",
        "updated": "2023-08-31T00:00:00Z",
        "links": [{"rel": "self", "href": f"{call.services.settings.endpoint}/volume/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}],
    }


def versions_list(call: Call) -> Reply:
    """GET /volume: every version. 300, as Cinder has it: there is a choice."""
    return Reply(300, {"versions": [_document(call)]})


def version_show(call: Call) -> Reply:
    """GET /volume/v3: this version."""
    return Reply(200, {"versions": [_document(call)]})


ROUTES = (Route("GET", "/", versions_list, PUBLIC), Route("GET", "/v3", version_show, PUBLIC))
