"""Quotas: what one project may hold. Usage is always counted from rows, in the transaction that adds one.

The defaults only stop a script that runs away; what really fits is decided by the hosts' capacity and the
address pools. -1 is no limit, as in OpenStack.
"""

from __future__ import annotations

from typing import Final

UNLIMITED: Final = -1

COMPUTE: Final = {
    "instances": 2_000,
    "cores": 8_000,
    "ram": 16_000_000,  # MiB
    "key_pairs": 500,
    "metadata_items": 128,
    "server_groups": 100,
    "server_group_members": 100,
}
NETWORK: Final = {
    "network": 500,
    "subnet": 500,
    "subnetpool": 100,
    "port": 10_000,
    "router": 200,
    "floatingip": 1_000,
    "security_group": 500,
    "security_group_rule": 5_000,
}
IMAGE: Final = {"image": 1_000}
VOLUME: Final = {
    "volumes": 1_000,
    "snapshots": 1_000,
    "gigabytes": 100_000,  # of volumes and snapshots together
    "per_volume_gigabytes": UNLIMITED,
}
DEFAULTS: Final = {**COMPUTE, **NETWORK, **IMAGE, **VOLUME}


def over(limit: int, used: int, more: int) -> bool:
    """Say whether `more` would go over the limit."""
    return limit != UNLIMITED and used + more > limit
