"""A baseboard management controller over IPMI 2.0 (lanplus), by ipmitool. The password is in the environment only."""

from __future__ import annotations

import re
import shutil
from typing import Annotated, Literal

import msgspec

from holdfast.base.limits import IPMI_PASSWORD_BYTES
from holdfast.control.fencing.driver import (
    Action,
    Power,
    Program,
    Secret,
    address_problem,
    environment,
    secret_problem,
)

_STATUS = re.compile(r"^Chassis Power is (on|off)$", re.MULTILINE)
_USER = re.compile(r"[!-~]{1,16}")  # the protocol's own limit


class Ipmi(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="ipmi"):
    """`OPERATOR` is enough to switch a machine off and is all that the account should have."""

    address: str
    username: str
    secret: Secret
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 623
    privilege: Literal["OPERATOR", "ADMINISTRATOR"] = "OPERATOR"
    # 0 needs no password and is refused; None: ipmitool asks the controller, which some let wait for 10 s
    cipher_suite: Annotated[int, msgspec.Meta(ge=1, le=17)] | None = None

    def __post_init__(self) -> None:
        user = "" if _USER.fullmatch(self.username) else "username: 1 to 16 printable characters"
        if problem := address_problem(self.address) or user or secret_problem(self.secret, IPMI_PASSWORD_BYTES):
            raise ValueError(problem)

    def program(self, host: str, action: Action) -> Program:
        reach = ("-I", "lanplus", "-H", self.address, "-p", str(self.port), "-U", self.username, "-L", self.privilege)
        suite = ("-C", str(self.cipher_suite)) if self.cipher_suite else ()
        verb = ("chassis", "power", action.value)
        return Program(("ipmitool", *reach, *suite, "-E", *verb), environment(IPMI_PASSWORD=self.secret.reveal()))

    def power(self, words: str) -> Power:
        found = _STATUS.findall(words)
        return Power(found[0]) if len(found) == 1 else Power.UNKNOWN

    def missing(self) -> str:
        return "" if shutil.which("ipmitool") else "fencing by ipmi needs ipmitool: apt-get install ipmitool"

    def secrets(self) -> tuple[str, ...]:
        return (self.secret.reveal(),)
