"""Every table of the store, so that `metadata` is whole: for migrations and tests."""

from __future__ import annotations

from holdfast.control.store import (  # noqa: F401 (each import declares its tables)
    console,
    flavor,
    host,
    idempotency,
    image,
    instance,
    keypair,
    operation,
    quota,
    revision,
    server_group,
)
from holdfast.control.store.fencing import clock, host_fence, host_lease  # noqa: F401
from holdfast.control.store.identity import credentials, enrolment, identity, roles, sealing_key  # noqa: F401
from holdfast.control.store.network import (  # noqa: F401
    floating_ip,
    network,
    port,
    router,
    security_group,
    subnet,
    subnet_address,
    subnetpool,
)
from holdfast.control.store.placement import build_failures, passage  # noqa: F401
from holdfast.control.store.postgresql import commit_mark  # noqa: F401
from holdfast.control.store.schema import metadata
from holdfast.control.store.volume import tables  # noqa: F401

__all__ = ["metadata"]
