"""The rules of a host's fence configuration. At rest it is sealed whole with the key ring of secrets, together with
the host it belongs to: a row that is copied to another host opens for nobody, and so proves nothing about that host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.base import log as logs
from holdfast.base.errors import NotFound, NotSupported, Unavailable
from holdfast.control.fencing.config import Config, config_read, config_write, redacted
from holdfast.control.operations.identity.keys import Keyring
from holdfast.control.store.database import Tx
from holdfast.control.store.fencing.host_fence import host_fence_delete, host_fence_fetch, host_fence_set
from holdfast.control.store.host import host_fetch

log = logs.get(__name__)


class _Sealed(msgspec.Struct, frozen=True):
    host_id: str
    config: msgspec.Raw


def fence_config_set(tx: Tx, keyring: Keyring, host_id: str, document: bytes | Mapping[str, Any]) -> dict[str, Any]:
    """Keep how a host's machine is switched off, in place of what was kept; returns what `show` returns.

    Raises BadInput for a document that is none, NotSupported when this replica lacks what the kind needs.
    """
    _host_require(tx, host_id)
    config = config_read(document)
    if problem := config.missing():
        raise NotSupported(problem, code="fence_driver_missing")
    sealed = msgspec.json.encode(_Sealed(host_id, msgspec.Raw(config_write(config))))
    host_fence_set(tx, host_id, keyring.seal(sealed))
    shown = redacted(config)
    log.info("fence_config_set", host=host_id, kind=shown["kind"])
    return shown


def fence_config_unset(tx: Tx, host_id: str) -> None:
    """Forget it. None: nothing."""
    _host_require(tx, host_id)
    if host_fence_delete(tx, host_id):
        log.info("fence_config_unset", host=host_id)


def fence_config_show(tx: Tx, keyring: Keyring, host_id: str) -> dict[str, Any]:
    """What is kept, without its secret."""
    return redacted(fence_config_fetch(tx, keyring, host_id))


def fence_config_fetch(tx: Tx, keyring: Keyring, host_id: str) -> Config:
    """What is kept, for `machine_off` and `machine_power`; not to be called inside the transaction they wait in.

    Raises NotFound when the host has none, Unavailable when this replica has not the key, or the row is not the host's.
    """
    name = _host_require(tx, host_id)
    row = host_fence_fetch(tx, host_id)
    if row is None:
        raise NotFound(f"host {name} has no fence configuration", code="fence_config_not_found")
    plain = keyring.unseal(row.config)
    try:
        sealed = msgspec.json.decode(plain or b"", type=_Sealed)
    except msgspec.DecodeError:
        sealed = None
    if sealed is None or sealed.host_id != host_id:
        raise Unavailable(
            f"the fence configuration of host {name} cannot be opened; set it anew",
            code="fence_config_sealed",
            retryable=False,
        )
    return config_read(bytes(sealed.config))


def _host_require(tx: Tx, host_id: str) -> str:
    found = host_fetch(tx, host_id)
    if found is None:
        raise NotFound(f"host {host_id} is not there", code="host_not_found")
    return found.name
