"""How names and values travel in a query string or a form body, read in one way only.

The signature is checked over what this module decoded and the action runs on what this module decoded:
two readings of one text would let a signed request mean something else.
"""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from holdfast.base.errors import BadInput

Pairs = list[tuple[str, str]]


def decode_pairs(text: str) -> Pairs:
    """Return the names and values in the order they were sent; raises BadInput for what is not UTF-8."""
    try:
        parted = [pair.partition("=") for pair in text.split("&") if pair]
        return [(_decoded(name), _decoded(value)) for name, _, value in parted]
    except UnicodeError as err:
        raise BadInput("The query string is not percent-encoded UTF-8.", code="MalformedQueryString") from err


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ").encode("ascii")).decode()


def encoded(text: str) -> str:
    """Return a name or a value as signatures spell it (RFC 3986)."""
    return quote(text, safe="-_.~")


def parameters(query: str, body: bytes) -> dict[str, str]:
    """Return a request's parameters from its query string and its form body; raises BadInput for one sent twice."""
    pairs = decode_pairs(query) + decode_pairs(body_text(body))
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadInput("A parameter is sent twice.", code="InvalidQueryParameter")
    return found


def body_text(body: bytes) -> str:
    """Return a form body, which is ASCII once encoded, as text."""
    try:
        return body.decode("ascii")
    except UnicodeDecodeError as err:
        raise BadInput("The request body is not form-encoded.", code="MalformedQueryString") from err
