"""Who may join, who joined from another machine, and the authority that signs their certificates."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, Text, bindparam, delete, insert, select, update

from holdfast.control.store.database import Tx
from holdfast.control.store.host import HOST_TOKENS, host
from holdfast.control.store.schema import instant, metadata
from holdfast.domain.joining import Enrolment, JoinToken

join_token = Table(
    "join_token",
    metadata,
    Column("id", String, primary_key=True),
    Column("digest", String, nullable=False, unique=True),
    instant("until_us"),
    Column("user_id", String, nullable=False),
    instant("created_us"),
)

enrolment = Table(
    "enrolment",
    metadata,
    Column("host_id", String, primary_key=True),
    Column("key_digest", String, nullable=False),
    instant("until_us"),
    instant("joined_us"),
)

hosts_authority = Table(
    "hosts_authority",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1: there is one
    Column("certificate", Text, nullable=False),
    Column("sealed_key", Text, nullable=False),
)

_TOKEN = [join_token.c[name] for name in JoinToken.__struct_fields__]
_ENROLMENT = [enrolment.c[name] for name in Enrolment.__struct_fields__]
_ADMISSION = (
    select(host.c.token_digest, enrolment.c.key_digest)
    .outerjoin(enrolment, enrolment.c.host_id == host.c.id)
    .where(host.c.id == bindparam("host_id"))
)


def join_token_add(tx: Tx, row: JoinToken) -> None:
    """Keep one, and forget those that are over."""
    tx.run(delete(join_token).where(join_token.c.until_us <= tx.now_us))
    tx.run(insert(join_token), {name: getattr(row, name) for name in JoinToken.__struct_fields__})


def join_tokens(tx: Tx) -> list[JoinToken]:
    """Those that still let somebody in, the next to end first."""
    statement = select(*_TOKEN).where(join_token.c.until_us > tx.now_us).order_by(join_token.c.until_us)
    return tx.structs(JoinToken, statement)


def join_token_by_digest(tx: Tx, digest: str) -> JoinToken | None:
    """One that still lets somebody in."""
    statement = select(*_TOKEN).where(join_token.c.digest == digest, join_token.c.until_us > tx.now_us)
    return tx.struct(JoinToken, statement)


def join_token_drop(tx: Tx, token_id: str) -> bool:
    """Whether there was one."""
    return bool(tx.run(delete(join_token).where(join_token.c.id == token_id)))


def host_admission(tx: Tx, host_id: str) -> tuple[str, str | None] | None:
    """The digest of the token that a host must show and, of one that joined, of its key. None: no such host."""
    rows = tx.all(_ADMISSION, {"host_id": host_id})
    return (rows[0][0], rows[0][1]) if rows else None


def enrolment_fetch(tx: Tx, host_id: str) -> Enrolment | None:
    return tx.struct(Enrolment, select(*_ENROLMENT).where(enrolment.c.host_id == host_id))


def enrolment_write(tx: Tx, row: Enrolment) -> None:
    """Keep it in place of the one before."""
    tx.run(delete(enrolment).where(enrolment.c.host_id == row.host_id))
    tx.run(insert(enrolment), {name: getattr(row, name) for name in Enrolment.__struct_fields__})
    tx.notify(HOST_TOKENS)


def enrolment_extend(tx: Tx, host_id: str, until_us: int) -> None:
    """A newer certificate ends later."""
    tx.run(update(enrolment).where(enrolment.c.host_id == host_id).values(until_us=until_us))


def enrolment_forget(tx: Tx, host_id: str) -> None:
    """The host is forgotten."""
    tx.run(delete(enrolment).where(enrolment.c.host_id == host_id))


def authority_fetch(tx: Tx) -> tuple[str, str] | None:
    """Certificate and sealed key of the hosts' authority; None before the first was made."""
    rows = tx.all(select(hosts_authority.c.certificate, hosts_authority.c.sealed_key))
    return (rows[0][0], rows[0][1]) if rows else None


def authority_add(tx: Tx, certificate: str, sealed_key: str) -> None:
    """Keep the one that was just made."""
    tx.run(insert(hosts_authority), {"number": 1, "certificate": certificate, "sealed_key": sealed_key})
