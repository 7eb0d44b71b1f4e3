"""The only place that knows status codes and the shape each service gives to a failure."""

from __future__ import annotations

from holdfast.api.ec2.render import CONTENT_TYPE, render_error
from holdfast.api.http.call import Reply
from holdfast.base import errors
from holdfast.base.errors import HoldfastError

_STATUS: tuple[tuple[type[HoldfastError], int], ...] = (
    (errors.BadInput, 400),
    (errors.Unauthenticated, 401),
    (errors.QuotaExceeded, 403),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooLarge, 413),
    (errors.NotSupported, 501),
    (errors.NoCapacity, 503),
    (errors.Unavailable, 503),
)
RETRY_AFTER_S = 2

_NOVA_WORDS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    406: "notAcceptable",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Request Entity Too Large",
    501: "Not Implemented",
    503: "Service Unavailable",
}


# EC2's word and status for each kind of error that was not given an EC2 code where it was raised. EC2 answers
# 400 to nearly everything that is the caller's; clients read the code and repeat what is 500 or 503.
_EC2_WORDS: tuple[tuple[type[HoldfastError], str, int], ...] = (
    (errors.BadInput, "InvalidParameterValue", 400),
    (errors.Unauthenticated, "AuthFailure", 401),
    (errors.QuotaExceeded, "ResourceLimitExceeded", 400),
    (errors.Forbidden, "UnauthorizedOperation", 403),
    (errors.NotFound, "InvalidParameterValue", 400),
    (errors.Conflict, "IncorrectState", 400),
    (errors.TooLarge, "InvalidParameterValue", 400),
    (errors.NotSupported, "UnsupportedOperation", 400),
    (errors.NoCapacity, "InsufficientInstanceCapacity", 500),
    (errors.Unavailable, "Unavailable", 503),
)


class MethodNotAllowed(HoldfastError):
    """The path exists, the method does not."""

    code = "method_not_allowed"


class NotAcceptable(HoldfastError):
    """A microversion that this cloud does not have."""

    code = "microversion_not_supported"


def status_of(error: HoldfastError) -> int:
    """The HTTP status of an error; 500 for what should not be possible."""
    if isinstance(error, MethodNotAllowed):
        return 405
    if isinstance(error, NotAcceptable):
        return 406
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _headers(error: HoldfastError) -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_S)} if error.retryable else {}


def nova_fault(error: HoldfastError, request_id: str) -> Reply:
    """`{"itemNotFound": {"code": 404, "message": ...}}`"""
    status = status_of(error)
    word = _NOVA_WORDS.get(status, "computeFault")
    return Reply(status, {word: {"code": status, "message": error.message}}, _headers(error))


def cinder_fault(error: HoldfastError, request_id: str) -> Reply:
    """Nova's shape; what is over a quota is 413."""
    reply = nova_fault(error, request_id)
    if isinstance(error, errors.QuotaExceeded):
        return Reply(413, {"overLimit": {"code": 413, "message": error.message}}, {"Retry-After": "0"})
    return reply


def neutron_fault(error: HoldfastError, request_id: str) -> Reply:
    """`{"NeutronError": {"type": ..., "message": ..., "detail": ""}}`"""
    kind = error.code if error.code[:1].isupper() else "".join(w.capitalize() for w in error.code.split("_"))
    body = {"NeutronError": {"type": kind, "message": error.message, "detail": ""}}
    full = isinstance(error, errors.QuotaExceeded | errors.NoCapacity)  # Neutron says 409 to both
    return Reply(409 if full else status_of(error), body, _headers(error))


def keystone_fault(error: HoldfastError, request_id: str) -> Reply:
    """`{"error": {"code": 401, "title": "Unauthorized", "message": ...}}`"""
    status = status_of(error)
    headers = _headers(error) | ({"WWW-Authenticate": "Keystone"} if status == 401 else {})
    title = _TITLES.get(status, "Internal Server Error")
    return Reply(status, {"error": {"code": status, "title": title, "message": error.message}}, headers)


def glance_fault(error: HoldfastError, request_id: str) -> Reply:
    """`{"error": {"code": 404, "title": "Not Found", "message": ...}}`

    Glance itself answers HTML to most clients. glanceclient takes the `message` of each member of a JSON answer and
    fails on a flat one; the SDK reads either.
    """
    status = status_of(error)
    title = _TITLES.get(status, "Internal Server Error")
    return Reply(status, {"error": {"code": status, "title": title, "message": error.message}}, _headers(error))


def plain_fault(error: HoldfastError, request_id: str) -> Reply:
    """The API-SIG shape, for what is our own."""
    status = status_of(error)
    entry = {
        "status": status,
        "code": error.code,
        "title": _TITLES.get(status, "Internal Server Error"),
        "detail": error.message,
        "request_id": request_id,
    }
    return Reply(status, {"errors": [entry]}, _headers(error))


def ec2_fault(error: HoldfastError, request_id: str) -> Reply:
    """`<Response><Errors><Error>`; a code that begins with a capital is EC2's own already."""
    found = ((word, status) for kind, word, status in _EC2_WORDS if isinstance(error, kind))
    word, status = next(found, ("InternalError", 500))
    code = error.code if error.code[:1].isupper() else word
    return Reply(status, render_error(code, error.message, request_id), _headers(error), CONTENT_TYPE)
