"""What users make so that programs can act for them: application credentials and EC2 access keys.

A credential never outlives its user, its project, or the credential that made it.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)

from holdfast.base.errors import Conflict
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import IDENTITY
from holdfast.control.store.schema import Json, instant, metadata
from holdfast.domain.identity import ApplicationCredential, Ec2Credential

application_credential = Table(
    "application_credential",
    metadata,
    Column("id", String, primary_key=True),
    Column("user_id", String, ForeignKey("identity_user.id"), nullable=False),
    Column("project_id", String, ForeignKey("project.id"), nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("secret_hash", Text, nullable=False),
    Column("role_ids", Json, nullable=False),
    Column("unrestricted", Boolean, nullable=False),
    instant("expires_us", nullable=True),
    Column("parent_id", String, nullable=False, index=True),
    instant("created_us"),
    UniqueConstraint("user_id", "name"),
)

ec2_credential = Table(
    "ec2_credential",
    metadata,
    Column("id", String, primary_key=True),
    Column("user_id", String, ForeignKey("identity_user.id"), nullable=False, index=True),
    Column("project_id", String, ForeignKey("project.id"), nullable=False, index=True),
    Column("access", String, nullable=False, unique=True),
    Column("secret_sealed", Text, nullable=False),
    Column("application_credential_id", String, nullable=False, index=True),
    instant("created_us"),
)


def application_credential_fetch(tx: Tx, credential_id: str) -> ApplicationCredential | None:
    found = select(application_credential).where(application_credential.c.id == credential_id)
    return tx.struct(ApplicationCredential, found)


def application_credential_by_name(tx: Tx, user_id: str, name: str) -> ApplicationCredential | None:
    columns = application_credential.c
    found = select(application_credential).where(columns.user_id == user_id, columns.name == name)
    return tx.struct(ApplicationCredential, found)


def application_credential_list(tx: Tx, **filters: str) -> list[ApplicationCredential]:
    where = [application_credential.c[name] == value for name, value in filters.items()]
    found = select(application_credential).where(*where).order_by(application_credential.c.created_us)
    return tx.structs(ApplicationCredential, found.order_by(application_credential.c.id))


def application_credential_insert(tx: Tx, new: ApplicationCredential) -> None:
    """Conflict when the user has one of that name."""
    if application_credential_by_name(tx, new.user_id, new.name) is not None:
        raise Conflict(
            "Conflict occurred attempting to store application_credential - "
            f"Duplicate entry found with name {new.name}."
        )
    tx.run(insert(application_credential), msgspec.structs.asdict(new))
    tx.notify(IDENTITY)


def application_credential_delete(tx: Tx, credential_id: str) -> list[str]:
    """Remove it and everything made through it; returns the ids that are gone."""
    gone, left = [], [credential_id]
    while left:
        parent = left.pop()
        left += [child.id for child in application_credential_list(tx, parent_id=parent)]
        tx.run(delete(ec2_credential).where(ec2_credential.c.application_credential_id == parent))
        tx.run(delete(application_credential).where(application_credential.c.id == parent))
        gone.append(parent)
    tx.notify(IDENTITY)
    return gone


def ec2_credential_by_access(tx: Tx, access: str) -> Ec2Credential | None:
    return tx.struct(Ec2Credential, select(ec2_credential).where(ec2_credential.c.access == access))


def ec2_credential_by_id(tx: Tx, credential_id: str) -> Ec2Credential | None:
    return tx.struct(Ec2Credential, select(ec2_credential).where(ec2_credential.c.id == credential_id))


def ec2_credential_list(tx: Tx, **filters: str) -> list[Ec2Credential]:
    where = [ec2_credential.c[name] == value for name, value in filters.items()]
    found = select(ec2_credential).where(*where).order_by(ec2_credential.c.created_us, ec2_credential.c.id)
    return tx.structs(Ec2Credential, found)


def ec2_credential_insert(tx: Tx, new: Ec2Credential) -> None:
    """Conflict when the access key is taken: two secrets of one key would be two owners."""
    if ec2_credential_by_access(tx, new.access) is not None or ec2_credential_by_id(tx, new.id) is not None:
        raise Conflict("Conflict occurred attempting to store credential - Duplicate entry.")
    tx.run(insert(ec2_credential), msgspec.structs.asdict(new))
    tx.notify(IDENTITY)


def ec2_credential_set_key(tx: Tx, credential_id: str, access: str, secret_sealed: str) -> None:
    """Change the key pair; the owner and the project never change."""
    other = ec2_credential_by_access(tx, access)
    if other is not None and other.id != credential_id:
        raise Conflict("Conflict occurred attempting to store credential - Duplicate entry.")
    row = update(ec2_credential).where(ec2_credential.c.id == credential_id)
    tx.run(row.values(access=access, secret_sealed=secret_sealed))
    tx.notify(IDENTITY)


def ec2_credential_delete(tx: Tx, credential_id: str) -> None:
    tx.run(delete(ec2_credential).where(ec2_credential.c.id == credential_id))
    tx.notify(IDENTITY)
