"""Version discovery: static, without a token and without the store, because clients never retry it."""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.services import Services

_VERSION = "v3.14"  # of Keystone's API: application credentials with access rules and system scope are older
_UPDATED = "2020-04-07T00:00:00Z"
_MEDIA = "application/vnd.openstack.identity-v3+json"


def versions_list(call: Call) -> Reply:
    """GET /: every version, as 300 Multiple Choices."""
    document = {"versions": {"values": [_version(call.services)]}}
    return Reply(300, document, {"Location": base_url(call.services) + "/"})


def version_show(call: Call) -> Reply:
    """GET /v3"""
    return Reply(200, {"version": _version(call.services)})


def base_url(services: Services) -> str:
    """Where this API is, without a slash at the end."""
    return f"{services.settings.endpoint}/identity/v3"


def _version(services: Services) -> dict[str, Any]:
    return {
        "id": _VERSION,
        "status": "stable",
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": base_url(services) + "/"}],
        "media-types": [{"base": "application/json", "type": _MEDIA}],
    }
