"""What a machine asks for that wants to be a host, or to stay one. Only through the door: its bytes are secret."""

from __future__ import annotations

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.base.errors import BadInput
from holdfast.control.operations.host.certificates import Request
from holdfast.control.operations.host.join import host_certify, host_join, join_request_check
from holdfast.domain.joining import Joined, JoinRequest

_wish = msgspec.json.Decoder(JoinRequest)


def authority_show(call: Call) -> Reply:
    """GET authority: whom hosts trust, PEM. It is compared with the fingerprint in the join token."""
    return Reply(200, call.services.hosts_authority.certificate.encode(), {}, "application/x-pem-file")


def join(call: Call) -> Reply:
    """POST join: a machine with a join token becomes a host. 201."""
    try:
        wish = _wish.decode(call.body)
    except msgspec.DecodeError as err:
        raise BadInput("the request to join cannot be read") from err  # without its words: a secret is among them
    join_request_check(wish)
    services, request = call.services, Request(wish.request)
    name, zone = services.store.write(lambda tx: host_join(tx, wish, request.key_digest, services.settings.zone))
    certificate = services.hosts_authority.for_host(wish.host_id, request, services.clock.now_us())
    return Reply(201, Joined(name, zone, certificate))


def certificate_renew(call: Call) -> Reply:
    """POST certificate {"request": PEM}: a newer one for the same key."""
    text, host_id, services = call.json().get("request"), call.parameters["host_id"], call.services
    if not isinstance(text, str):
        raise BadInput("request must be text")
    request = Request(text)
    services.store.write(lambda tx: host_certify(tx, host_id, request.key_digest))
    return Reply(200, {"certificate": services.hosts_authority.for_host(host_id, request, services.clock.now_us())})
