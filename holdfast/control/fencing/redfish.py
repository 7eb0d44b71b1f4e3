"""A baseboard management controller over Redfish. HTTPS only, and the certificate is always verified: whoever
could stand in for the controller would learn the password and could say "off" of a machine that runs.

The library runs in a process of its own (redfish_call), so that a controller that answers one byte a second is
killed at the same bound as every other tool.
"""

from __future__ import annotations

import base64
import importlib.util
import sys
from urllib.parse import quote, urlsplit

import msgspec

from holdfast.base.limits import PASSWORD_BYTES
from holdfast.control.fencing.driver import (
    Action,
    Power,
    Program,
    Secret,
    address_problem,
    environment,
    secret_problem,
    word_power,
)


class Redfish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="redfish"):
    """`address` is https://HOST[:PORT]; `system` the path of one machine, where a controller has several."""

    address: str
    username: str
    secret: Secret
    ca: str = ""  # file of certificates to trust instead of the system's; on every control replica
    system: str = ""

    def __post_init__(self) -> None:
        problem = _url_problem(self.address) or secret_problem(self.secret, PASSWORD_BYTES)
        if not problem and (not self.username or ":" in self.username or not self.username.isprintable()):
            problem = "username: printable characters without ':'"
        if not problem and self.ca and not self.ca.startswith("/"):
            problem = "ca: an absolute path"
        if not problem and self.system and not self.system.startswith("/redfish/v1/"):
            problem = "system: a path such as /redfish/v1/Systems/1"
        if problem:
            raise ValueError(problem)

    def program(self, host: str, action: Action) -> Program:
        asked = {
            "address": self.address,
            "username": self.username,
            "secret": self.secret.reveal(),
            "ca": self.ca,
            "system": self.system,
            "action": action.value,
        }
        argv = (sys.executable, "-I", "-m", "holdfast.control.fencing.redfish_call")
        return Program(argv, environment(), msgspec.json.encode(asked))

    def power(self, words: str) -> Power:
        return word_power(words)

    def missing(self) -> str:
        if importlib.util.find_spec("sushy"):
            return ""
        return "fencing by redfish needs the extra 'redfish': pip install 'holdfast[redfish]'"

    def secrets(self) -> tuple[str, ...]:
        secret = self.secret.reveal()
        return (secret, quote(secret, safe=""), base64.b64encode(f"{self.username}:{secret}".encode()).decode())


def _url_problem(address: str) -> str:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "address: not a URL"
    if parts.scheme != "https" or parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        return "address: https://HOST or https://HOST:PORT; the password would be readable on anything else"
    return address_problem(host)
