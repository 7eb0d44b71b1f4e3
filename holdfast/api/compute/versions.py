"""Nova's versions: discovery documents that need no store, and the microversion of a request.

A microversion is resolved once, here, into one number (the minor); views and routes look at that number.
"""

from __future__ import annotations

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.microversion import Microversions
from holdfast.api.http.routes import PUBLIC, Route

OLDEST, NEWEST = 1, 96
_VERSIONS = Microversions("compute", 2, OLDEST, NEWEST, "x-openstack-nova-api-version")


def version_of(call: Call) -> int:
    """The minor version that a request asks for: none is 2.1, `latest` the newest."""
    return _VERSIONS.asked(call)


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
