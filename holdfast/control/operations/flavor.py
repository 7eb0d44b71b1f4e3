"""Flavors, by the rules that every API shares: who sees one, which names are taken, which ones a cloud starts with."""

from __future__ import annotations

from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.control.store.database import Tx
from holdfast.control.store.flavor import flavor_by_name, flavor_fetch, flavor_insert, flavor_projects
from holdfast.domain.instance import Flavor

FIRST = (
    Flavor("1", "m1.tiny", 1, 512, 1),
    Flavor("2", "m1.small", 1, 2_048, 20),
    Flavor("3", "m1.medium", 2, 4_096, 40),
    Flavor("4", "m1.large", 4, 8_192, 80),
    Flavor("5", "m1.xlarge", 8, 16_384, 160),
    Flavor("42", "m1.nano", 1, 128, 1),
    Flavor("84", "m1.micro", 1, 192, 1),
)
"""The flavors that people know from DevStack, under the ids that scripts expect."""


def flavors_bootstrap(tx: Tx) -> None:
    """Make the first flavors, once: an id or a name that is there, or was deleted beside others, is left alone."""
    if any(flavor_fetch(tx, row.id) or flavor_by_name(tx, row.name) for row in FIRST):
        return
    for place, row in enumerate(FIRST):
        flavor_insert(tx, _at(row, tx.now_us + place))


def _at(row: Flavor, created_us: int) -> Flavor:
    return Flavor(row.id, row.name, row.vcpus, row.memory_mib, row.disk_gib, created_us=created_us)


def flavor_add(tx: Tx, row: Flavor) -> None:
    """Add one; Conflict when its id or its name is taken."""
    if flavor_by_name(tx, row.name) is not None:
        raise Conflict(f"Flavor with name {row.name} already exists.")
    if flavor_fetch(tx, row.id) is not None:
        raise Conflict(f"Flavor with ID {row.id} already exists.")
    flavor_insert(tx, row)


def flavor_visible(tx: Tx, flavor_id: str, project_id: str, is_admin: bool = False) -> Flavor:
    """The flavor, if it is public, the project has access to it, or an administrator asks; NotFound otherwise."""
    row = flavor_fetch(tx, flavor_id)
    if row is None or not (is_admin or row.is_public or project_id in flavor_projects(tx, flavor_id)):
        raise NotFound(f"Flavor {flavor_id} could not be found.")
    return row


def flavor_resolve(tx: Tx, ref: str, project_id: str, is_admin: bool = False) -> Flavor:
    """The flavor that a server is to have, by id; BadInput, as Nova answers, when there is none to use."""
    try:
        row = flavor_visible(tx, ref, project_id, is_admin)
    except NotFound as err:
        raise BadInput(err.message, code="flavor_unknown") from err
    if row.disabled:
        raise BadInput(f"Flavor {ref} is disabled", code="flavor_disabled")
    return row
