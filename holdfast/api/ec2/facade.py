"""The EC2 facade's front: from a signed request to an action's handler, and back.

    signature -> who signed -> parameters -> the action -> its members -> the rule -> DryRun -> handler -> XML

Every action goes through `_answer`, so none can be reached without a signature; a handler sees members that
were parsed from the very text that was signed, and the credentials of the project the access key is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from holdfast.api.ec2 import form
from holdfast.api.ec2.codes import ec2_code
from holdfast.api.ec2.parse import api_version, parse
from holdfast.api.ec2.render import CONTENT_TYPE, render
from holdfast.api.ec2.signature import SignedRequest, verify
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import ec2_fault
from holdfast.api.http.routes import PUBLIC, Facade, Route
from holdfast.base.errors import BadInput, Forbidden, HoldfastError, NotSupported
from holdfast.domain.credentials import Credentials

Members = dict[str, Any]
SignerOf = Callable[[Call, str], tuple[str, Credentials] | None]
"""From an access key to its secret and whom it speaks for; None: for nobody."""


def signer_from_store(call: Call, access_key: str) -> tuple[str, Credentials] | None:
    """The signer as the identity service knows it now: an access key has the roles of its user, not a copy."""
    return call.services.store.read(lambda tx: call.services.authority.ec2_lookup(tx, access_key))


@dataclass(frozen=True, slots=True)
class Action:
    """What an EC2 action does: `handler` gets the request's members and returns the answer's."""

    rule: str  # the policy that must allow it in the caller's project
    handler: Callable[[Call, Members], Members]


def ec2_facades(actions: Mapping[str, Action], signer_of: SignerOf, *, old_clients: bool) -> tuple[Facade, ...]:
    """The facade at `/ec2`, and at `/services/Cloud` where EC2's clients look for it since Nova's first days."""

    def answer(call: Call) -> Reply:
        return _answer(call, actions, signer_of, old_clients)

    def routes(path: str) -> tuple[Route, ...]:
        return tuple(Route(method, path, answer, PUBLIC) for method in ("GET", "POST"))

    return (
        Facade("ec2", "ec2", routes("/"), ec2_fault),
        Facade("ec2", "services", routes("/Cloud"), ec2_fault),
    )


def _answer(call: Call, actions: Mapping[str, Action], signer_of: SignerOf, old_clients: bool) -> Reply:
    call.credentials_or_none = _signer(call, signer_of, old_clients)
    params = form.parameters(call.raw_query, call.body)
    version = api_version(params)
    name = params.get("Action", "")
    if not name:
        raise BadInput("The request must contain the parameter Action", code="MissingAction")
    members = parse(name, params)
    action = actions.get(name)
    if action is None:
        raise NotSupported(f"This cloud does not do {name}.", code="UnsupportedOperation")
    if not call.may(action.rule):
        raise Forbidden("You are not authorized to perform this operation.", detail=action.rule)
    if members.pop("DryRun", False):
        raise BadInput("Request would have succeeded, but DryRun flag is set.", code="DryRunOperation")
    # What `write_once` knows a repeat by: the action and its members, not the signature around them.
    call.method, call.path, call.body = "POST", f"/{name}", msgspec.json.encode(members, order="deterministic")
    answer = _handled(name, action, call, members)
    return Reply(200, render(name, answer, call.request_id, version), content_type=CONTENT_TYPE)


def _handled(name: str, action: Action, call: Call, members: Members) -> Members:
    try:
        return action.handler(call, members)
    except HoldfastError as err:
        err.code = ec2_code(name, err.code)
        raise


def _signer(call: Call, signer_of: SignerOf, old_clients: bool) -> Credentials:
    """Whom the signature speaks for; the secret and the credentials are of one look-up."""
    found: dict[str, tuple[str, Credentials]] = {}

    def secret_of(access_key: str) -> str | None:
        signer = signer_of(call, access_key)
        if signer is None:
            return None
        found[access_key] = signer
        return signer[0]

    request = SignedRequest(call.method, call.raw_path, call.raw_query, call.headers, call.body)
    return found[verify(request, secret_of, call.services.clock.now_us(), old_clients=old_clients)][1]
