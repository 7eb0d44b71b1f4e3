"""Quota limits that differ from the defaults: one row per project and resource."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Integer, String, Table, bindparam, delete, insert, select

from holdfast.base.errors import QuotaExceeded
from holdfast.control.store.database import Tx
from holdfast.control.store.schema import metadata
from holdfast.domain import quota as rules

quota = Table(
    "quota",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("resource", String, primary_key=True),
    Column("limit", Integer, nullable=False),
)
_LIMITS = select(quota.c.project_id, quota.c.resource, quota.c.limit).where(
    quota.c.project_id.in_(bindparam("owners", expanding=True))
)

DEFAULT_CLASS = "@default"  # in the place of a project id: this cloud's own defaults


def quota_limits(tx: Tx, project_id: str) -> dict[str, int]:
    """Every limit of a project, defaults included."""
    mine: dict[str, dict[str, int]] = {DEFAULT_CLASS: {}, project_id: {}}
    for owner, resource, limit in tx.all(_LIMITS, {"owners": list(mine)}):
        mine[owner][resource] = limit
    return {**rules.DEFAULTS, **mine[DEFAULT_CLASS], **mine[project_id]}


def quota_set(tx: Tx, project_id: str, limits: dict[str, int]) -> None:
    """Set some limits of a project."""
    for resource, limit in limits.items():
        row = (quota.c.project_id == project_id, quota.c.resource == resource)
        tx.run(delete(quota).where(*row))
        tx.run(insert(quota), {"project_id": project_id, "resource": resource, "limit": limit})


def quota_reset(tx: Tx, project_id: str, resources: tuple[str, ...]) -> None:
    """Return to the defaults."""
    tx.run(delete(quota).where(quota.c.project_id == project_id, quota.c.resource.in_(resources)))


def quota_require(tx: Tx, project_id: str, resource: str, used: int, more: int = 1) -> None:
    """Raise QuotaExceeded, naming the resource, the limit and the use, unless `more` still fits."""
    quota_fits(quota_limits(tx, project_id), project_id, resource, used, more)


def quota_fits(limits: Mapping[str, int], project_id: str, resource: str, used: int, more: int) -> None:
    """The same, for limits that were read already."""
    limit = limits[resource]
    if rules.over(limit, used, more):
        raise QuotaExceeded(
            f"Quota exceeded for {resource}: {used} of {limit} in use and {more} more requested; "
            f"an administrator can raise it with: openstack quota set {project_id}",
            code="OverQuota",
        )


def quota_projects(tx: Tx, resources: tuple[str, ...]) -> list[str]:
    """The projects with a limit of their own for one of the resources."""
    statement = select(quota.c.project_id).where(quota.c.resource.in_(resources)).distinct()
    return [row[0] for row in tx.all(statement.order_by(quota.c.project_id))]
