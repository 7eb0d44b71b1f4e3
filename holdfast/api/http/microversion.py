"""The microversion of a request: one number, resolved once; views and routes look at that number.

A version is MAJOR.MINOR, and a service has one major: only the minor is told. `latest` is the newest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.api.http.call import Call
from holdfast.api.http.faults import NotAcceptable
from holdfast.base.errors import BadInput

_VERSION = re.compile(r"(\d{1,3})\.(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Microversions:
    """What one service understands."""

    service: str  # as the header OpenStack-API-Version names it
    major: int
    oldest: int
    newest: int
    own_header: str = ""  # the service's own, older than the common one; empty: it has none

    def asked(self, call: Call) -> int:
        """The minor that a request asks for; none is the oldest. BadInput or NotAcceptable for one that is not."""
        header = call.headers.get("openstack-api-version", "")
        named = re.search(rf"(?:^|,)\s*{self.service}\s+([^,\s]+)\s*(?:,|$)", header)
        text = named[1] if named else call.headers.get(self.own_header, "") if self.own_header else ""
        if not text:
            return self.oldest
        if text == "latest":
            return self.newest
        parts = _VERSION.fullmatch(text)
        if parts is None:
            raise BadInput(f"API Version String {text[:40]} is of invalid format. Must be of format MajorNum.MinorNum.")
        minor = int(parts[2])
        if int(parts[1]) != self.major or not self.oldest <= minor <= self.newest:
            raise NotAcceptable(
                f"Version {text} is not supported by the API. "
                f"Minimum is {self.major}.{self.oldest} and maximum is {self.major}.{self.newest}."
            )
        return minor
