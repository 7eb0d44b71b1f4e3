"""Cinder's versions: discovery documents that need no store, and the microversion of a request."""

from __future__ import annotations

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.microversion import Microversions
from holdfast.api.http.routes import PUBLIC, Route

NEWEST = 59
_VERSIONS = Microversions("volume", 3, 0, NEWEST)


def version_of(call: Call) -> int:
    """The minor version that a request asks for: none is 3.0, `latest` the newest."""
    return _VERSIONS.asked(call)


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
