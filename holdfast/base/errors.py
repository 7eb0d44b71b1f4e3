"""Every error that a caller may see, and no other.

An error says what a caller can do about it: its class decides the status code of each API (see
api/http/faults), `code` is published and permanent, `message` is for the caller and names the object,
`detail` is for the log only. A cause is never pasted into a message: `raise X(...) from err`.

    HoldfastError
      BadInput        the request is wrong; the same request fails again
      Unauthenticated no valid credential
      Forbidden       a valid credential without the right
      NotFound        the object is not there, or not the caller's to see
      NotSupported    this cloud does not do that
      Conflict        the object is in another state, or somebody else was faster
      TooLarge        over a limit of size
      QuotaExceeded   over the project's quota
      NoCapacity      the cloud is full for now
      Unavailable     something needed is not answering; the same request may succeed later
      Bug             an invariant is broken: logged whole, never swallowed
"""

from __future__ import annotations


class HoldfastError(Exception):
    """The family. Caught only at a boundary: a handler, a tick, the agent's loop."""

    code = "error"
    retryable = False

    def __init__(
        self, message: str, *, code: str | None = None, detail: str = "", retryable: bool | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable


class BadInput(HoldfastError):
    code = "bad_input"


class Unauthenticated(HoldfastError):
    code = "unauthenticated"


class Forbidden(HoldfastError):
    code = "forbidden"


class NotFound(HoldfastError):
    code = "not_found"


class NotSupported(HoldfastError):
    code = "not_supported"


class Conflict(HoldfastError):
    code = "conflict"


class TooLarge(HoldfastError):
    code = "too_large"


class QuotaExceeded(HoldfastError):
    code = "quota_exceeded"


class NoCapacity(HoldfastError):
    code = "no_capacity"
    retryable = True


class Unavailable(HoldfastError):
    code = "unavailable"
    retryable = True


class Bug(HoldfastError):
    code = "bug"
