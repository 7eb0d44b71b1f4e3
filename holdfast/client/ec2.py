"""The EC2 query API as a client: one signed POST per call, its XML as dictionaries and lists.

Small on purpose: what `holdfast smoke` needs to speak EC2 itself. Nothing is sent twice. An answer is text from
elsewhere: a document type, which could expand without end, is refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

from holdfast.base.errors import HoldfastError, NotFound, Unavailable
from holdfast.client.connection import Answer, Http
from holdfast.client.signature import signed_headers
from holdfast.client.text import one_line

API_VERSION = "2016-11-15"


class Ec2Error(HoldfastError):
    """What EC2 refused; `code` is EC2's own."""

    code = "ec2_error"


class Ec2:
    """`ec2.call("RunInstances", ImageId=..., MinCount=1)`. Not for use by two threads at once."""

    def __init__(self, http: Http, url: str, access: str, secret: str, region: str) -> None:
        if not access or not secret:
            raise NotFound("there is no EC2 access key for this user; next: holdfast env --aws")
        self._http, self._url, self._access, self._secret, self._region = http, url, access, secret, region

    def call(self, action: str, **members: Any) -> dict[str, Any]:
        """One call; lists of the answer are lists. Raises Ec2Error."""
        pairs = [("Action", action), ("Version", API_VERSION), *_flattened("", members)]
        body = urlencode(pairs).encode()
        headers = signed_headers("POST", self._url, body, self._access, self._secret, self._region, time.time())
        headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
        answer = self._http.request("POST", self._url, body, headers)
        document = _parsed(answer, action)
        if answer.status != 200:
            raise _refusal(document, answer.status, action)
        found = _value(document)
        return found if isinstance(found, dict) else {}


def _flattened(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """`IpPermissions=[{"FromPort": 22}]` as `IpPermissions.1.FromPort=22`."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from _flattened(f"{prefix}.{name}" if prefix else name, member)
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value, 1):
            yield from _flattened(f"{prefix}.{number}", member)
    elif value is not None:
        yield prefix, str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(answer: Answer, action: str) -> ElementTree.Element:
    if b"<!DOCTYPE" in answer.body or b"<!ENTITY" in answer.body:
        raise Unavailable(f"the answer to {action} has a document type; it is not read")
    try:
        return ElementTree.fromstring(answer.body)  # noqa: S314 (no document type gets here)
    except ElementTree.ParseError as err:
        raise Unavailable(f"the answer to {action} ({answer.status}) is not XML; does this cloud have EC2?") from err


def _value(element: ElementTree.Element) -> Any:
    """Text, a dictionary of the children, or the list of its `item`s."""
    children = list(element)
    if not children:
        return element.text or ""
    if all(_name(child) == "item" for child in children):
        return [_value(child) for child in children]
    return {_name(child): _value(child) for child in children}


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _refusal(document: ElementTree.Element, status: int, action: str) -> Ec2Error:
    found = {_name(element): element.text or "" for element in document.iter()}
    words = one_line(found.get("Message") or f"answered {status}")
    return Ec2Error(f"{action}: {words}", code=one_line(found.get("Code") or "ec2_error"))


def items(document: Mapping[str, Any], name: str) -> list[Any]:
    """A list of an answer: empty when the answer has none of it."""
    found = document.get(name) or []
    return found if isinstance(found, list) else [found]
