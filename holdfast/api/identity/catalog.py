"""The catalogue: what this port serves, from the settings and the list of mounted facades alone.

Network and image URLs carry no version, and no other `v<digit>` segment stands before the one that counts:
gophercloud reads them so. Ids are derived, so every replica shows the same and nothing is stored.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from holdfast.api.http.services import Services
from holdfast.base.ids import derived_id

_NAMESPACE = "6f1c1f6e-9f3a-5d0b-8f43-2c6c3a1e7d55"  # of ids that are derived from words
INTERFACES = ("public", "internal", "admin")
_TYPES = (  # (mount, type, name, path, description)
    ("identity", "identity", "keystone", "/identity", "Identity"),
    ("compute", "compute", "nova", "/compute/v2.1", "Compute"),
    ("image", "image", "glance", "/image", "Image"),
    ("network", "network", "neutron", "/network", "Network"),
    ("placement", "placement", "placement", "/placement", "Placement"),
    ("volume", "block-storage", "cinder", "/volume/v3", "Block storage"),
    ("volume", "volumev3", "cinderv3", "/volume/v3", "Block storage"),
    ("share", "shared-file-system", "manila", "/share/v2", "Shared file systems"),
    ("orchestration", "orchestration", "heat", "/orchestration/v1", "Orchestration"),
    ("ec2", "ec2", "ec2", "/ec2", "EC2-compatible compute"),
)


class Service(msgspec.Struct, frozen=True):
    """One service of the catalogue, at one URL for every interface."""

    id: str
    type: str
    name: str
    description: str
    url: str
    region: str

    def endpoint_id(self, interface: str) -> str:
        return derived_id(_NAMESPACE, f"endpoint:{self.region}:{self.type}:{interface}")


def catalog_services(services: Services) -> tuple[Service, ...]:
    """Every service that this port serves."""
    settings = services.settings
    return _services(settings.endpoint, settings.region, services.mounts)


@lru_cache(maxsize=8)
def _services(base: str, region: str, mounts: frozenset[str]) -> tuple[Service, ...]:
    return tuple(
        Service(derived_id(_NAMESPACE, f"service:{kind}"), kind, name, description, base + path, region)
        for mount, kind, name, path, description in _TYPES
        if mount in mounts
    )


def catalog_json(services: Services) -> msgspec.Raw:
    """The catalogue as a token has it, encoded once."""
    return _encoded(catalog_services(services))


@lru_cache(maxsize=8)
def _encoded(found: tuple[Service, ...]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode([_entry(service) for service in found]))


def _entry(service: Service) -> dict[str, Any]:
    endpoints = [
        {
            "id": service.endpoint_id(interface),
            "interface": interface,
            "region": service.region,
            "region_id": service.region,
            "url": service.url,
        }
        for interface in INTERFACES
    ]
    return {"id": service.id, "type": service.type, "name": service.name, "endpoints": endpoints}
