"""The ids that EC2 clients see, from ours and back.

An EC2 id is a prefix and the first 17 hex digits of our UUID (`i-0f3c...`): the same object has the same
id for ever without a table, an operator sees by eye which UUID it is, and the store can look it up in the
primary key's own order (`id_bounds`).

62 of these bits are random where the UUID is. A client may choose an image's UUID, so two objects can share
an EC2 id: whoever resolves one looks only among what the caller may see, and refuses unless exactly one
matches. Which prefix an id has is checked first: an `ami-` id never names an instance.
"""

from __future__ import annotations

import re

_DIGITS = 17
_EC2_ID = re.compile(r"[a-z]{1,12}-[0-9a-f]{17}")


def ec2_id(prefix: str, uuid: str) -> str:
    """Return the EC2 id of an object: `ec2_id("i", "0f3c1a2b-...")` is `i-0f3c1a2b...`."""
    return f"{prefix}-{uuid.replace('-', '')[:_DIGITS]}"


def is_ec2_id(prefix: str, text: str) -> bool:
    """Say whether a caller's text is an EC2 id of this kind; only then may it be looked up."""
    return text.startswith(f"{prefix}-") and _EC2_ID.fullmatch(text) is not None


def matches(text: str, uuid: str) -> bool:
    """Say whether `text`, an EC2 id, names the object with this UUID."""
    return text.rpartition("-")[2] == uuid.replace("-", "")[:_DIGITS]


def id_bounds(text: str) -> tuple[str, str]:
    """Return the lowest and the highest UUID that `text`, an EC2 id, can name: for one indexed look-up."""
    digits = text.rpartition("-")[2]
    return _uuid(digits.ljust(32, "0")), _uuid(digits.ljust(32, "f"))


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
