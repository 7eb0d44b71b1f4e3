"""Who is asking: the result of checking a token or a signature, the same for every API."""

from __future__ import annotations

import msgspec

IMPLIED = {"admin": "manager", "manager": "member", "member": "reader"}


class Credentials(msgspec.Struct, frozen=True):
    """A verified identity with its scope. Roles include the implied ones (admin, manager, member, reader)."""

    user_id: str
    user_name: str
    user_domain_id: str
    project_id: str = ""  # empty: not scoped to a project
    project_name: str = ""
    project_domain_id: str = ""
    domain_id: str = ""  # set: scoped to a domain
    system: bool = False  # scoped to the whole system
    roles: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ()
    application_credential_id: str = ""
    restricted: bool = False  # an application credential that may not make other credentials
    issued_us: int = 0
    expires_us: int = 0
    audit_ids: tuple[str, ...] = ()
    ec2_credential_id: str = ""  # the access key it came from

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles

    @property
    def delegated(self) -> bool:
        """It speaks for a user through a credential that the user made, and may never reach beyond that."""
        return bool(self.application_credential_id or self.ec2_credential_id)


def imply(roles: frozenset[str]) -> frozenset[str]:
    """Return the roles with those that they imply."""
    full = set(roles)
    for role in roles:
        while role in IMPLIED:
            role = IMPLIED[role]
            full.add(role)
    return frozenset(full)
