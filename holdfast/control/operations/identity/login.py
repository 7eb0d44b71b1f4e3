"""Who may have a token: the checks of POST /v3/auth/tokens, on one snapshot of the store.

    attempt -> Proof needed -> hash outside of any transaction -> attempt again -> Claim

Every refusal is the same 401 with the same words. A secret is compared through `Passwords` only, and an
account that is not there costs the same hash. What comes out of a delegated credential stays inside of it:
the same project, and roles that `claim_resolve` cuts to the credential's own.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.base.clock import SECOND_US
from holdfast.base.errors import BadInput, Forbidden, NotFound, Unauthenticated
from holdfast.base.limits import TOKEN_LIFETIME_S, TOKEN_LINEAGE
from holdfast.control.operations.identity.claims import WORDS, Claim, Verified, audit_id, claim_new
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.credentials import application_credential_by_name, application_credential_fetch
from holdfast.control.store.identity.identity import account_fetch, account_find, domain_find, place_find
from holdfast.domain.identity import Account, ApplicationCredential, Target


class DomainRef(msgspec.Struct, frozen=True):
    """A domain by id or name."""

    id: str | None = None
    name: str | None = None


class UserRef(msgspec.Struct, frozen=True):
    """A user by id, or by name and domain."""

    id: str | None = None
    name: str | None = None
    domain: DomainRef | None = None
    password: str | None = None


class ProjectRef(msgspec.Struct, frozen=True):
    """A project by id, or by name and domain."""

    id: str | None = None
    name: str | None = None
    domain: DomainRef | None = None


class Scope(msgspec.Struct, frozen=True):
    """What the token shall be for; at most one of them."""

    project: ProjectRef | None = None
    domain: DomainRef | None = None
    system: dict[str, bool] | None = None
    unscoped: dict[str, str] | None = None


class PasswordMethod(msgspec.Struct, frozen=True):
    """Method password."""

    user: UserRef


class TokenMethod(msgspec.Struct, frozen=True):
    """Method token: another token of the same user, whose life is not prolonged."""

    id: str


class ApplicationCredentialMethod(msgspec.Struct, frozen=True):
    """Method application_credential."""

    secret: str
    id: str | None = None
    name: str | None = None
    user: UserRef | None = None


class Identity(msgspec.Struct, frozen=True):
    """How the caller proves who it is; every method must."""

    methods: list[str]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None
    application_credential: ApplicationCredentialMethod | None = None


class Login(msgspec.Struct, frozen=True):
    """The member `auth` of a login."""

    identity: Identity
    scope: Scope | str | None = None


class Proof(msgspec.Struct, frozen=True):
    """What must be found to fit before the attempt can go on. An empty `stored` fits nothing."""

    stored: str
    secret: str


Known = Callable[[Proof], bool]
ParentOf = Callable[[Tx, str], Verified]


class _Caller(msgspec.Struct, frozen=True):
    """Who the methods have proved."""

    user_id: str
    default_project_id: str = ""
    parent: Claim | None = None
    source: ApplicationCredential | None = None


def login_attempt(tx: Tx, login: Login, known: Known, parent_of: ParentOf) -> Verified | Proof:
    """Return what the new token says, or the proof that is still missing; raises Unauthenticated."""
    callers: list[_Caller] = []
    for method in login.identity.methods:
        caller = _prove(tx, login.identity, method, known, parent_of)
        if isinstance(caller, Proof):
            return caller
        callers.append(caller)
    if len({caller.user_id for caller in callers}) != 1:
        raise Unauthenticated(WORDS)
    return _issue(tx, login, callers)


def _prove(tx: Tx, identity: Identity, method: str, known: Known, parent_of: ParentOf) -> _Caller | Proof:
    if method == "password" and identity.password is not None:
        account = _account(tx, identity.password.user)
        proof = Proof(account.password_hash if account else "", identity.password.user.password or "")
        if account is None or not known(proof):
            return proof
        return _Caller(account.id, account.default_project_id)
    if method == "token" and identity.token is not None:
        try:
            parent = parent_of(tx, identity.token.id)
        except Unauthenticated as err:
            raise NotFound("Could not find token.") from err  # as Keystone says it
        return _Caller(parent.user.id, parent.user.default_project_id, parent.claim, parent.application_credential)
    if method == "application_credential" and identity.application_credential is not None:
        source = _application_credential(tx, identity.application_credential)
        proof = Proof(source.secret_hash if source else "", identity.application_credential.secret)
        if source is None or not known(proof):
            return proof
        return _Caller(source.user_id, source=source)
    raise BadInput(f"Expecting to find {method[:64]} in identity: the method is unknown or has no data.")


def _account(tx: Tx, ref: UserRef) -> Account | None:
    if ref.id is not None:
        return account_fetch(tx, ref.id)
    return account_find(tx, _name(ref.name, "user"), *_domain(ref.domain, "user"))


def _application_credential(tx: Tx, ref: ApplicationCredentialMethod) -> ApplicationCredential | None:
    if ref.id is not None:
        return application_credential_fetch(tx, ref.id)
    if ref.user is None:
        raise BadInput("an application credential is named by its id, or by its name and its user")
    account = _account(tx, ref.user)
    return application_credential_by_name(tx, account.id, _name(ref.name, "credential")) if account else None


def _issue(tx: Tx, login: Login, callers: list[_Caller]) -> Verified:
    parent = next((c.parent for c in callers if c.parent is not None), None)
    source = next((c.source for c in callers if c.source is not None), None)
    lineage = (*(parent.lineage if parent else ()), audit_id())
    if len(lineage) > TOKEN_LINEAGE:
        raise Unauthenticated("This token came out of too many others; log in again.")
    lifetime_ends = [tx.now_us + TOKEN_LIFETIME_S * SECOND_US]
    lifetime_ends += [parent.expires_us] if parent else []
    lifetime_ends += [source.expires_us] if source and source.expires_us is not None else []
    methods = (*login.identity.methods, *(parent.methods if parent else ()))
    base = Claim(
        user_id=callers[0].user_id,
        methods=tuple(dict.fromkeys(methods)),
        target=None,
        target_id="",
        issued_us=tx.now_us,
        expires_us=min(lifetime_ends),
        lineage=lineage,
        application_credential_id=source.id if source else "",
        ec2_credential_id=parent.ec2_credential_id if parent else "",
    )
    bound = source.project_id if source else parent.target_id if parent and parent.ec2_credential_id else ""
    if bound:
        return _bound(tx, base, login.scope, bound)
    if login.scope is None:
        return _preferred(tx, base, callers[0].default_project_id)
    return _resolve(tx, base, *_target(tx, login.scope))


def _bound(tx: Tx, base: Claim, scope: Scope | str | None, project_id: str) -> Verified:
    """A delegated credential is for its own project: asked for by name, or not asked at all."""
    if scope is not None and _target(tx, scope) != (Target.PROJECT, project_id):
        raise Forbidden("A token of a delegated credential is for the project of that credential only.")
    return _resolve(tx, base, Target.PROJECT, project_id)


def _preferred(tx: Tx, base: Claim, default_project_id: str) -> Verified:
    """The user's default project while there is one and the user has a role in it; otherwise unscoped."""
    if default_project_id:
        try:
            return _resolve(tx, base, Target.PROJECT, default_project_id)
        except Unauthenticated:
            return _resolve(tx, base, None, "")
    return _resolve(tx, base, None, "")


def _resolve(tx: Tx, base: Claim, target: Target | None, target_id: str) -> Verified:
    return claim_new(tx, msgspec.structs.replace(base, target=target, target_id=target_id))


def _target(tx: Tx, scope: Scope | str) -> tuple[Target | None, str]:
    if isinstance(scope, str) or scope.unscoped is not None:
        return None, ""
    if scope.system is not None and scope.project is None and scope.domain is None:
        return Target.SYSTEM, "all"
    if scope.project is not None and scope.domain is None:
        if scope.project.id is not None:
            return Target.PROJECT, scope.project.id
        place = place_find(tx, _name(scope.project.name, "project"), *_domain(scope.project.domain, "project"))
        return Target.PROJECT, place.id if place else _nowhere()
    if scope.domain is not None and scope.project is None:
        if scope.domain.id is not None:
            return Target.DOMAIN, scope.domain.id
        place = domain_find(tx, _name(scope.domain.name, "domain"))
        return Target.DOMAIN, place.id if place else _nowhere()
    raise BadInput("a token is for one project, or one domain, or the system")


def _nowhere() -> str:
    raise Unauthenticated(WORDS)


def _domain(ref: DomainRef | None, kind: str) -> tuple[str, str]:
    if ref is not None and ref.id is not None:
        return ref.id, "id"
    if ref is not None and ref.name is not None:
        return ref.name, "name"
    raise BadInput(f"a {kind} is named by its id, or by its name and its domain")


def _name(name: str | None, kind: str) -> str:
    if name is None:
        raise BadInput(f"a {kind} is named by its id, or by its name and its domain")
    return name
