"""One request, as a handler sees it, and the answer it gives.

A handler is a plain function `Call -> Reply`; it runs in a worker thread and may use the store. Nothing in
a `Call` that came from the client is trusted: headers that claim an identity are never looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from holdfast.api.http.services import Services
from holdfast.base.errors import BadInput, Forbidden, Unauthenticated
from holdfast.domain.credentials import Credentials

S = TypeVar("S")
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Reply:
    """What goes back. `body` is encoded as JSON unless it is bytes already; `stream` is sent as it comes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    stream: AsyncIterator[bytes] | None = None

    def encoded(self) -> bytes:
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else _encode(self.body)


@dataclass(slots=True)
class Call:
    """One authenticated request. `parameters` are the path's; `query` keeps repeated keys in order."""

    services: Services
    method: str
    path: str
    parameters: Mapping[str, str]
    query: list[tuple[str, str]]
    headers: Mapping[str, str]  # lower-case names
    body: bytes
    request_id: str
    version: int  # minor microversion that applies; 0 where the service has none
    policy: Callable[[str, Mapping[str, Any], Credentials], bool]
    remote: str = ""
    peer: str | None = None  # through the door: digest of the key of its certificate, or empty. None: another way
    credentials_or_none: Credentials | None = None
    raw_query: str = ""
    raw_path: str = ""  # the whole path as it was sent, mount included: what a signature covers
    receive: AsyncIterator[bytes] | None = None  # the body as it comes, for routes that stream
    gone: Callable[[], Awaitable[None]] | None = None  # returns when the client went away, for routes that wait

    @property
    def credentials(self) -> Credentials:
        if self.credentials_or_none is None:
            raise Unauthenticated("The request you have made requires authentication.")
        return self.credentials_or_none

    @property
    def project_id(self) -> str:
        """The project the token is for; BadInput for an unscoped token where a project is needed."""
        if not self.credentials.project_id:
            raise Forbidden("this needs a token that is scoped to a project")
        return self.credentials.project_id

    def may(self, rule: str, target: Mapping[str, Any] | None = None) -> bool:
        """Say whether the policy allows it; the target defaults to the caller's own project and user."""
        credentials = self.credentials
        own = {"project_id": credentials.project_id, "user_id": credentials.user_id}
        return self.policy(rule, own if target is None else target, credentials)

    def authorise(self, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """Raise Forbidden unless the policy allows it."""
        if not self.may(rule, target):
            raise Forbidden(f"Policy doesn't allow {rule} to be performed.")

    def argument(self, name: str, default: str = "") -> str:
        """The last value of a query argument."""
        found = [value for key, value in self.query if key == name]
        return found[-1] if found else default

    def arguments(self, name: str) -> list[str]:
        """Every value of a repeated query argument."""
        return [value for key, value in self.query if key == name]

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; BadInput otherwise."""
        try:
            document = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            raise BadInput("the request body is not valid JSON") from err
        if not isinstance(document, dict):
            raise BadInput("the request body must be a JSON object")
        return document

    def decode(self, kind: type[S], wrapper: str = "") -> S:
        """The body, or the member `wrapper` of it, checked against a struct; BadInput names the field."""
        document: Any = self.json()
        if wrapper:
            if wrapper not in document:
                raise BadInput(f"the request body must have a member '{wrapper}'")
            document = document[wrapper]
        try:
            return msgspec.convert(document, kind)
        except msgspec.ValidationError as err:
            raise BadInput(f"Invalid input for '{wrapper or 'body'}': {err}") from err
