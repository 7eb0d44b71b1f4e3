"""The table of kinds, and a host's configuration as an operator writes it, as it is kept, and as it is shown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.base.errors import BadInput
from holdfast.base.limits import FENCE_CONFIG_BYTES
from holdfast.control.fencing.command import Command
from holdfast.control.fencing.driver import Secret
from holdfast.control.fencing.ipmi import Ipmi
from holdfast.control.fencing.redfish import Redfish

Config = Command | Ipmi | Redfish
DRIVERS: dict[str, type[Config]] = {"command": Command, "ipmi": Ipmi, "redfish": Redfish}


def config_read(document: bytes | Mapping[str, Any]) -> Config:
    """Return what a document says; raises BadInput that names the key and never repeats a value."""
    try:
        raw = document if isinstance(document, bytes) else msgspec.json.encode(document)
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, TypeError) as err:
        raise BadInput("fence configuration: not a JSON document") from err
    if len(raw) > FENCE_CONFIG_BYTES:
        raise BadInput(f"fence configuration: over {FENCE_CONFIG_BYTES} bytes")
    if not isinstance(found, dict):
        raise BadInput("fence configuration: a JSON object is needed, with its 'kind'")
    kind = found.get("kind")
    if not isinstance(kind, str) or kind not in DRIVERS:
        raise BadInput(f"fence configuration: 'kind' is one of {', '.join(DRIVERS)}{_near(kind, DRIVERS)}")
    known = ["kind", *DRIVERS[kind].__struct_fields__]
    for key in found:
        if key not in known:
            raise BadInput(f"fence configuration: {kind} has no key {key!r}{_near(key, known)}")
    try:
        return msgspec.convert(found, DRIVERS[kind], dec_hook=_secret_read)
    except msgspec.ValidationError as err:
        raise BadInput(f"fence configuration: {err}") from None  # its cause could hold the document


def config_write(config: Config) -> bytes:
    """The document with its secret, to be sealed; `config_read` returns the same."""
    return msgspec.json.encode(config, enc_hook=Secret.reveal)


def redacted(config: Config) -> dict[str, Any]:
    """The document for people: everything but the secret."""
    shown: dict[str, Any] = msgspec.to_builtins(config, enc_hook=lambda secret: "***")
    return shown


def _secret_read(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError("a text is needed")


def _near(word: object, known: Any) -> str:
    near = difflib.get_close_matches(str(word), list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
