"""Where identifiers come from: the one place that draws randomness for names of things.

An id is a lower-case UUID string, as OpenStack's clients expect. `is_id` is the only test of whether a
caller's text is one: text that is not an id never reaches a query that expects one.
"""

from __future__ import annotations

import hashlib
import re
import uuid

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """Return a new random id."""
    return str(uuid.uuid4())


def new_request_id() -> str:
    """Return a new request id, in the form every OpenStack client logs."""
    return f"req-{uuid.uuid4()}"


def is_id(text: str) -> bool:
    """Say whether the text is an id in its canonical form."""
    return _ID.fullmatch(text) is not None


def derived_id(namespace: str, name: str) -> str:
    """Return the same id for the same two words, always: for things that `up` creates exactly once."""
    return str(uuid.uuid5(uuid.UUID(namespace), name))


def number_of(text: str) -> int:
    """Return the same positive number for the same text, always: for old APIs that want numbers for ids.

    31 bits: two things of a thousand share a number once in four thousand clouds, so nothing is kept under it.
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1 or 1
