"""Which host speaks: its token and, of one that joined, its key; checked in the store and known for a while after.

Knowing costs no thread: a thousand hosts show theirs three hundred times a second.
"""

from __future__ import annotations

import hashlib
import hmac

from holdfast.api.http.call import Call
from holdfast.base.clock import Clock
from holdfast.base.errors import Unauthenticated
from holdfast.base.limits import HOST_TOKEN_CACHE_S
from holdfast.control.store.database import Database
from holdfast.control.store.host import HOST_TOKENS
from holdfast.control.store.identity.enrolment import host_admission


class Admission:
    """Which hosts showed their token; asked again after HOST_TOKEN_CACHE_S, and when a token changed or went."""

    def __init__(self, store: Database, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._right: dict[str, tuple[str, str | None, float]] = {}  # digests and until when, by host
        store.signals.listen(HOST_TOKENS, self._right.clear)

    def knows(self, call: Call) -> bool:
        """Whether this very token was right for this host a moment ago. Looks at nothing but memory."""
        digest, key, until_s = self._right.get(call.parameters["host_id"], ("", None, 0.0))
        return until_s > self._clock.monotonic_s() and key == call.peer and hmac.compare_digest(_shown(call), digest)

    def admit(self, call: Call) -> None:
        """Raise Unauthenticated unless the call shows the token of the host in its path, and comes the host's own way.

        Of one that joined that is the door, with a certificate for its key; of any other it is not the door.
        """
        host_id, shown, now_s = call.parameters["host_id"], _shown(call), self._clock.monotonic_s()
        digest, key = self._store.read(lambda tx: host_admission(tx, host_id)) or ("", None)
        if not digest or not hmac.compare_digest(shown, digest):
            raise Unauthenticated("this host is not known here, or its token is wrong")
        if key != call.peer:
            raise Unauthenticated("this is not the way, or not the certificate, of this host")
        self._right[host_id] = (digest, key, now_s + HOST_TOKEN_CACHE_S)


def _shown(call: Call) -> str:
    return hashlib.sha256(call.headers.get("x-host-token", "").encode()).hexdigest()
