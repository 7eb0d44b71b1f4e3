"""Subnet pools over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.api.http.call import Call
from holdfast.api.network.attributes import RESOURCE, Attribute, project_for, read, shown_only
from holdfast.api.network.resource import Document, Resource, standard
from holdfast.base.errors import BadInput
from holdfast.control.operations.network import subnetpool as acts
from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import tags_of
from holdfast.control.store.network.subnetpool import SUBNETPOOLS, subnetpool_visible
from holdfast.domain.subnetpool import SubnetPool

SUBNETPOOL_ATTRIBUTES = {
    **RESOURCE,
    "prefixes": Attribute(list[str] | str, "prefixes"),
    "min_prefixlen": Attribute(int | None, "min_prefixlen"),
    "max_prefixlen": Attribute(int | None, "max_prefixlen"),
    "default_prefixlen": Attribute(int | None, "default_prefixlen"),
    "shared": Attribute(bool, "shared", put=False, rule="shared"),
    "is_default": Attribute(bool, "is_default", rule="is_default"),
    "default_quota": Attribute(int | None, "default_quota"),
    "address_scope_id": Attribute(str | None, "address_scope_id"),
    **shown_only("ip_version"),
}


def subnetpools_render(tx: Tx, call: Call, found: Sequence[SubnetPool]) -> list[Document]:
    """As Neutron shows subnet pools."""
    tags = tags_of(tx, [each.id for each in found])
    return [
        standard(each, tags)
        | {
            "name": each.name,
            "ip_version": each.ip_version,
            "prefixes": each.prefixes,
            "min_prefixlen": each.min_prefixlen,
            "max_prefixlen": each.max_prefixlen,
            "default_prefixlen": each.default_prefixlen,
            "shared": each.shared,
            "is_default": each.is_default,
            "default_quota": None,
            "address_scope_id": None,
        }
        for each in found
    ]


SUBNETPOOL = Resource(
    "subnetpool", "subnetpools", SUBNETPOOLS, subnetpool_visible, SUBNETPOOL_ATTRIBUTES, subnetpools_render
)


def _supported(fields: Document) -> Document:
    if fields.pop("default_quota", None) is not None or fields.pop("address_scope_id", None):
        raise BadInput("Quotas and address scopes of subnet pools are not supported by this cloud.", code="BadRequest")
    return {name: [value] if name == "prefixes" and isinstance(value, str) else value for name, value in fields.items()}


def subnetpool_create(tx: Tx, call: Call, body: Document) -> SubnetPool:
    """POST /v2.0/subnetpools"""
    fields: dict[str, Any] = _supported(read(call, SUBNETPOOL_ATTRIBUTES, body, "create_subnetpool"))
    project_id = project_for(call, fields, "create_subnetpool")
    return acts.subnetpool_create(tx, project_id, fields.pop("prefixes", ()), fields)


def subnetpool_update(tx: Tx, call: Call, found: SubnetPool, fields: Document) -> SubnetPool:
    """PUT /v2.0/subnetpools/ID"""
    return acts.subnetpool_update(tx, found, _supported(fields))


def subnetpool_delete(tx: Tx, call: Call, found: SubnetPool) -> None:
    """DELETE /v2.0/subnetpools/ID"""
    acts.subnetpool_delete(tx, found)
