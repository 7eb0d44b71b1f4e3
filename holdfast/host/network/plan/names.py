"""What the kernel objects of one cloud are called, so that ours are told from strangers'.

Every name starts with the prefix and a dash; nothing without it is ever touched. A link name has at most
15 bytes (Linux IFNAMSIZ), so an id becomes a short hash: 35 bits, and `plan` reports the rare clash.

    n  network namespace          b  its bridge              t  tap of a port
    r  router namespace           i  its leg to a network    j  that leg's other end, on the network's bridge
    x  external bridge            e  its leg to the outside  f  that leg's other end, on the external bridge
    v  vxlan of a network
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from holdfast.base.errors import BadInput

LINK_BYTES = 15  # IFNAMSIZ less the final zero
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,4}")


def digest(text: str) -> str:
    """A short name for a long text; equal texts, equal names."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:16]


def place_of(text: str, size: int) -> int:
    """A number below `size`; equal texts, equal numbers."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % size


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one prefix (at most 5 lower-case letters and digits)."""

    prefix: str

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise BadInput("a network prefix is 1 to 5 lower-case letters and digits, a letter first")

    def of(self, kind: str, *ids: str) -> str:
        """The name of an object of a kind (the letters above)."""
        head = f"{self.prefix}-{kind}-"
        return head + digest("/".join(ids))[: LINK_BYTES - len(head)]

    def ours(self, name: str) -> bool:
        """Whether an object of that name belongs to this cloud."""
        return name.startswith(f"{self.prefix}-")

    def is_kind(self, name: str, kind: str) -> bool:
        """Whether the name is that of one of our objects of a kind."""
        return name.startswith(f"{self.prefix}-{kind}-")


def mac_of(name: str) -> str:
    """A stable MAC for a link of ours: locally administered, and never in the range that guests get (fa:16:3e)."""
    raw = hashlib.sha256(name.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x0E, *raw[:5]))
