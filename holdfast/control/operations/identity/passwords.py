"""Passwords and secrets: how they are stored, and how a login is checked without telling who exists.

Stored: `scrypt$N$R$P$SALT$KEY`, OWASP's parameters for 16 MiB (128 MiB would not leave room for a second
login). A password that was found right is remembered in memory for PASSWORD_CACHE_S under a keyed HMAC of
the stored hash and the password: the `openstack` client logs in with every command, and a changed hash
changes the key. An account that does not exist, or has no password, costs one hash all the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading
from collections import OrderedDict

from holdfast.base.clock import Clock
from holdfast.base.errors import BadInput, Unavailable
from holdfast.base.limits import (
    PASSWORD_BYTES,
    PASSWORD_CACHE_ENTRIES,
    PASSWORD_CACHE_S,
    PASSWORD_HASHES_AT_ONCE,
    PASSWORD_WAIT_S,
)

COST = (2**14, 8, 5)  # N, r, p
_MAXMEM_BYTES = 64 << 20  # 128 * N * r is 16 MiB; OpenSSL's own limit of 32 MiB is too close


def password_hash(password: str) -> str:
    """Return what is stored for a password; BadInput when it is not fit to be one."""
    if not password:
        raise BadInput("a password may not be empty")
    if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES:
        raise BadInput(f"a password has at most {PASSWORD_BYTES} bytes")
    salt = os.urandom(16)
    return _stored(salt, _derive(password, salt, *COST))


class Passwords:
    """What one process knows to be right. Nothing here outlives the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = os.urandom(32)
        self._nobody = _stored(os.urandom(16), os.urandom(32))  # costs as much as anybody's, fits nothing
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(PASSWORD_HASHES_AT_ONCE)

    def known(self, stored: str, password: str) -> bool:
        """Say whether this was found right a short while ago; costs microseconds."""
        with self._lock:
            until_s = self._right.get(self._name(stored, password), 0.0)
        return bool(stored) and until_s > self._clock.monotonic_s()

    def verify(self, stored: str, password: str) -> bool:
        """Say whether the password fits; an empty `stored` fits nothing and takes as long."""
        if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES:
            password = ""  # cannot fit, and is hashed as cheaply as any other
        if not self._turns.acquire(timeout=PASSWORD_WAIT_S):
            raise Unavailable("too many logins at once; try again")
        try:
            _, n, r, p, salt, key = (stored or self._nobody).split("$")
            derived = _derive(password, base64.b64decode(salt), int(n), int(r), int(p))
        finally:
            self._turns.release()
        if not hmac.compare_digest(derived, base64.b64decode(key)) or not stored:
            return False
        with self._lock:
            self._right[self._name(stored, password)] = self._clock.monotonic_s() + PASSWORD_CACHE_S
            while len(self._right) > PASSWORD_CACHE_ENTRIES:
                self._right.popitem(last=False)
        return True

    def _name(self, stored: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{stored}\0{password}".encode("utf-8", "surrogatepass"), "sha256")


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=_MAXMEM_BYTES, dklen=32)


def _stored(salt: bytes, key: bytes) -> str:
    return "$".join(["scrypt", *map(str, COST), _text(salt), _text(key)])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
