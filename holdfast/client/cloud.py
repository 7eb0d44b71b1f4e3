"""A cloud, as somebody who is logged in sees it: JSON calls to its services, failures as our own errors.

A token that the cloud no longer accepts is replaced by one login, and the call, which was refused before it did
anything, is sent again. Nothing else is ever repeated here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from holdfast.base.errors import (
    BadInput,
    Conflict,
    Forbidden,
    HoldfastError,
    NotFound,
    NotSupported,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from holdfast.base.limits import LIST_PAGES
from holdfast.client.connection import Answer, Http
from holdfast.client.credentials import Credentials
from holdfast.client.login import Session, TokenCache, login

COMPUTE_VERSION = "compute 2.60"  # the flavor is in the server, and clouds since 2018 have it
_PATHS = {"compute": "", "network": "/v2.0", "image": "/v2", "identity": ""}
_ERRORS: Mapping[int, type[HoldfastError]] = {
    400: BadInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: NotSupported,
    406: NotSupported,
    409: Conflict,
    413: TooLarge,
    501: NotSupported,
    503: Unavailable,
}


class Cloud:
    """`cloud.get("compute", "/servers/detail")`. Not for use by two threads at once."""

    def __init__(self, http: Http, credentials: Credentials, cache: TokenCache | None = None) -> None:
        self._http, self.credentials, self._cache = http, credentials, cache
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The login in use; made when there is none."""
        if self._session is None:
            if self._cache is not None:
                self._session = self._cache.find(self.credentials, time.time())
            if self._session is None:
                self._session = self._login()
        return self._session

    def url(self, service: str) -> str:
        """Where a service is; NotSupported when the cloud has none of that type."""
        if service == "holdfast":
            return self.credentials.base
        if service not in self.session.services:
            raise NotSupported(f"the cloud at {self.credentials.auth_url} has no service {service!r} in its catalogue")
        found = self.session.services[service]
        path = _PATHS[service]
        return found if found.endswith(path) else found + path

    def get(self, service: str, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self.call("GET", service, path + (f"?{urlencode(query)}" if query else ""))

    def post(self, service: str, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        return self.call("POST", service, path, body, headers)

    def delete(self, service: str, path: str) -> None:
        self.call("DELETE", service, path)

    def pages(self, service: str, path: str, noun: str, query: Mapping[str, str] | None = None) -> Iterator[Any]:
        """Every object of a list, page after page."""
        url = self.url(service) + path + (f"?{urlencode(query)}" if query else "")
        for _ in range(LIST_PAGES):
            document = self._send("GET", url, None, {})
            yield from document[noun]
            following = [link["href"] for link in document.get(f"{noun}_links", ()) if link["rel"] == "next"]
            if not following and document.get("next"):  # the image service's own way
                following = [url.partition("/v2/")[0] + document["next"]]
            if not following or not document[noun]:
                return
            url = following[0]

    def call(
        self, method: str, service: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """One call; returns its JSON. Raises the error of base/errors that its status stands for."""
        return self._send(method, self.url(service) + path, body, headers or {})

    def _send(self, method: str, url: str, body: Any, headers: Mapping[str, str]) -> Any:
        answer = self._once(method, url, body, headers)
        if answer.status == 401 and not self.credentials.token:
            self._session = self._login()
            answer = self._once(method, url, body, headers)
        if answer.status >= 300:
            raise error_of(answer, method, url)
        return answer.json()

    def _once(self, method: str, url: str, body: Any, headers: Mapping[str, str]) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        own = {
            "X-Auth-Token": self.session.token,
            "Accept": "application/json",
            "OpenStack-API-Version": COMPUTE_VERSION,
        }
        if data is not None:
            own["Content-Type"] = "application/json"
        return self._http.request(method, url, data, {**own, **headers})

    def _login(self) -> Session:
        session = login(self._http, self.credentials)
        if self._cache is not None and not self.credentials.token:
            self._cache.keep(self.credentials, session)
        return session


def error_of(answer: Answer, method: str, url: str) -> HoldfastError:
    """The error that an answer stands for, with the service's own words."""
    words = _words(answer) or f"{method} {url} answered {answer.status}"
    if kind := _ERRORS.get(answer.status):
        return kind(words)
    request = answer.headers.get("x-openstack-request-id", "")
    return HoldfastError(f"{words} ({answer.status}{', request ' + request if request else ''})", code="server_failed")


def _words(answer: Answer) -> str:
    """The message inside a fault, in the shape of any of the services."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    if isinstance(errors := document.get("errors"), list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("detail", ""))
    if isinstance(document.get("message"), str):
        return str(document["message"])
    inner = next(iter(document.values()), None)
    return str(inner.get("message", "")) if isinstance(inner, dict) else ""
