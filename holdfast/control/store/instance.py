"""Instances and what hosts say of them. An instance's row is written by acts only; an observation by reports only.

Every change of what a host must know goes through `instance_change`: it raises the generation and the
revision, so that the host learns it and an older word can never win.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    Select,
    String,
    Table,
    Text,
    Update,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    update,
)

from holdfast.control.store.console import console
from holdfast.control.store.database import Tx
from holdfast.control.store.operation import operation
from holdfast.control.store.revision import revision_next
from holdfast.control.store.schema import Json, Word, instant, metadata
from holdfast.domain.desired import Power
from holdfast.domain.instance import Fault, Flavor, Instance, InstanceRun, InstanceState, Observation, priority_of
from holdfast.domain.operation import OperationState

instance = Table(
    "instance",
    metadata,
    Column("id", String, primary_key=True),
    Column("project_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("hostname", String, nullable=False),
    Column("state", Word(InstanceState), nullable=False),
    Column("power", Word(Power), nullable=False),
    Column("present", Boolean, nullable=False),
    Column("host_id", String, nullable=False),
    Column("last_host_id", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("boot", Integer, nullable=False),
    Column("soft", Boolean, nullable=False),
    Column("disk", Integer, nullable=False),
    Column("disk_made", Integer, nullable=False),
    Column("flavor", Json(Flavor), nullable=False),
    Column("flavor_id", String, nullable=False),  # the same, where it can be searched
    Column("vcpus", Integer, nullable=False),  # the flavor's, for sums that need not read it
    Column("memory_mib", Integer, nullable=False),
    Column("priority", Integer, nullable=False),  # the flavor's and the properties', where it can be searched
    Column("old_flavor", Json(Flavor | None)),
    Column("image_id", String, nullable=False),
    Column("image", Json(), nullable=False),
    Column("key_name", String, nullable=False),
    Column("key_public", Text, nullable=False),
    Column("user_data", Text, nullable=False),
    Column("config_drive", Boolean, nullable=False),
    Column("zone", String, nullable=False),
    Column("zone_asked", String, nullable=False),
    Column("access_ipv4", String, nullable=False),
    Column("access_ipv6", String, nullable=False),
    Column("properties", Json(), nullable=False),
    Column("tags", Json(), nullable=False),
    Column("security_groups", Json(), nullable=False),
    Column("group_id", String, nullable=False),
    Column("locked", String, nullable=False),
    Column("is_locked", Boolean, nullable=False),
    Column("reservation_id", String, nullable=False),
    Column("launch_index", Integer, nullable=False),
    Column("capture_image_id", String, nullable=False),
    instant("launched_us"),
    instant("terminated_us"),
    Column("fault", Json(Fault | None)),
    instant("created_us"),
    instant("updated_us"),
    Index(None, "project_id", "created_us", "id"),
    Index(
        "ix_instance_usage",
        "project_id",
        "vcpus",
        "memory_mib",
        sqlite_where=text("state != 'deleted'"),
        postgresql_where=text("state != 'deleted'"),
    ),
    Index(None, "host_id", "revision"),
    Index(None, "priority"),
    Index(None, "created_us", "id"),
    Index(None, "updated_us"),
    Index(None, "group_id"),
)

observation = Table(
    "observation",
    metadata,
    Column("instance_id", String, primary_key=True),
    Column("host_id", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("boot", Integer, nullable=False),
    Column("disk", Integer, nullable=False),
    Column("phase", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("code", String, nullable=False),
    Column("retryable", Boolean, nullable=False),
    Column("step", String, nullable=False),
    Column("volumes", Json(tuple[tuple[str, int], ...] | None)),
    Column("volume_problem", Text, nullable=False),
    instant("at_us"),
    Index(None, "host_id"),
)

RANGES_AT_ONCE = 100  # conditions of one query; SQLite reads 1000 at most
COLUMNS = [instance.c[name] for name in Instance.__struct_fields__]
_SINCE = (
    select(*COLUMNS)
    .where(instance.c.host_id == bindparam("host"), instance.c.revision > bindparam("since"))
    .order_by(instance.c.revision)
)
_EVACUATED = exists().where(
    operation.c.resource_id == instance.c.id,
    operation.c.state == OperationState.OPEN,
    operation.c.kind == "server_evacuate",
)
_TO_EVACUATE = select(*COLUMNS).where(
    instance.c.host_id == bindparam("host"),
    or_(instance.c.state == InstanceState.READY, instance.c.state == InstanceState.FAILED),
    ~_EVACUATED,
)
_OBSERVED = [observation.c[name] for name in Observation.__struct_fields__]
_BY_ID: Select[Any] = select(*COLUMNS).where(instance.c.id == bindparam("id"))
_INSERT = insert(instance)
_OBSERVED_ONE: Select[Any] = select(*_OBSERVED).where(observation.c.instance_id == bindparam("id"))
_OBSERVED_ON: Select[Any] = select(*_OBSERVED).where(observation.c.host_id == bindparam("host_id"))
_OBSERVED_OF = _OBSERVED_ON.where(observation.c.instance_id.in_(bindparam("ids", expanding=True)))


_USAGE = select(  # all of it is in ix_instance_usage, whose condition must be said in the same words
    func.count(), func.coalesce(func.sum(instance.c.vcpus), 0), func.coalesce(func.sum(instance.c.memory_mib), 0)
).where(instance.c.project_id == bindparam("project_id"), instance.c.state != literal_column("'deleted'"))


def _repeated(row: Instance) -> dict[str, Any]:
    """The columns that repeat what the flavor, and what its owner says of its priority."""
    flavor = row.flavor
    sizes = {"flavor_id": flavor.id, "vcpus": flavor.vcpus, "memory_mib": flavor.memory_mib}
    return {**sizes, "priority": priority_of(row)}


def instance_insert(tx: Tx, row: Instance) -> None:
    """Add one."""
    values = {name: getattr(row, name) for name in Instance.__struct_fields__}
    tx.run(_INSERT, {**values, **_repeated(row)})


def instance_fetch(tx: Tx, instance_id: str) -> Instance | None:
    """One instance, in any state."""
    return tx.struct(Instance, _BY_ID, {"id": instance_id})


def instances_fetch(tx: Tx, instance_ids: Sequence[str]) -> dict[str, Instance]:
    """Some instances, by id."""
    if not instance_ids:
        return {}
    found = tx.structs(Instance, select(*COLUMNS).where(instance.c.id.in_(instance_ids)))
    return {row.id: row for row in found}


def instance_ids_within(tx: Tx, project_id: str, bounds: Sequence[tuple[str, str]]) -> list[str]:
    """The ids of a project's instances that lie within one of the ranges (base/ec2_ids.id_bounds)."""
    found: list[str] = []
    for start in range(0, len(bounds), RANGES_AT_ONCE):
        ranges = [instance.c.id.between(low, high) for low, high in bounds[start : start + RANGES_AT_ONCE]]
        found += [
            row[0] for row in tx.all(select(instance.c.id).where(instance.c.project_id == project_id, or_(*ranges)))
        ]
    return found


def instance_update(tx: Tx, row: Instance, **changes: Any) -> Instance:
    """Change what the host need not know (names, states, locks); returns the new row."""
    return _write(tx, row, {**changes, "updated_us": tx.now_us})


def instance_change(tx: Tx, row: Instance, **changes: Any) -> Instance:
    """Change what its host must know: a new generation and revision; returns the new row."""
    numbers = {"generation": row.generation + 1, "revision": revision_next(tx)}
    return _write(tx, row, {**changes, **numbers, "updated_us": tx.now_us})


def instance_touch(tx: Tx, instance_id: str) -> None:
    """Send an instance to its host again: something that travels with it (a port) changed. Unknown: nothing."""
    row = instance_fetch(tx, instance_id)
    if row is not None and row.state is not InstanceState.DELETED:
        instance_change(tx, row)


def _write(tx: Tx, row: Instance, values: dict[str, Any]) -> Instance:
    fields = {name: values.get(name, getattr(row, name)) for name in Instance.__struct_fields__}
    after = Instance(**fields)
    if "flavor" in values or "properties" in values:
        values |= _repeated(after)
    tx.run(_update_of(tuple(values)), {"of": row.id, **{f"v_{name}": value for name, value in values.items()}})
    return after


@cache
def _update_of(names: tuple[str, ...]) -> Update:
    """One statement for each set of columns that are written together: building one costs more than running it."""
    return update(instance).where(instance.c.id == bindparam("of")).values({n: bindparam(f"v_{n}") for n in names})


def instances_of_host_since(tx: Tx, host_id: str, revision: int) -> list[Instance]:
    """What changed on a host after a revision, oldest change first."""
    return tx.structs(Instance, _SINCE, {"host": host_id, "since": revision})


def instance_names(tx: Tx, instance_ids: Sequence[str]) -> dict[str, str]:
    """Names by id, deleted ones as well."""
    columns = instance.c
    found = tx.all(select(columns.id, columns.name).where(columns.id.in_(instance_ids))) if instance_ids else ()
    return dict(map(tuple, found))


def instance_ids_of_host(tx: Tx, host_id: str) -> list[str]:
    """The instances that a host holds."""
    return [row[0] for row in tx.all(select(instance.c.id).where(instance.c.host_id == host_id))]


def instances_of_host(tx: Tx, host_id: str) -> list[Instance]:
    """What a host holds, oldest first."""
    columns = instance.c
    return tx.structs(Instance, select(*COLUMNS).where(columns.host_id == host_id).order_by(columns.created_us))


def instances_to_evacuate(tx: Tx, host_id: str) -> list[Instance]:
    """What a host holds that is neither built nor deleted, and that no evacuation works on."""
    return tx.structs(Instance, _TO_EVACUATE, {"host": host_id})


def instances_below(tx: Tx, priority: int) -> list[Instance]:
    """What is on a host with a lower priority, at rest: no act works on it, and it waits for no confirmation."""
    columns = instance.c
    busy = exists().where(operation.c.resource_id == columns.id, operation.c.state == OperationState.OPEN)
    rests = (columns.state == InstanceState.READY, columns.host_id != "", columns.old_flavor.is_(None), ~busy)
    statement = select(*COLUMNS).where(columns.priority < priority, *rests)
    return tx.structs(Instance, statement.order_by(columns.priority, columns.created_us.desc(), columns.id))


def instance_capturing(tx: Tx, host_id: str, image_id: str) -> Instance | None:
    """The instance of a host that is captured into an image."""
    columns = instance.c
    return tx.struct(Instance, select(*COLUMNS).where(columns.host_id == host_id, columns.capture_image_id == image_id))


def host_boots_image(tx: Tx, host_id: str, image_id: str) -> bool:
    """Whether an instance of a host was made from an image, or boots its kernel or ramdisk."""
    images = tx.all(select(instance.c.image).where(instance.c.host_id == host_id, instance.c.present))
    return any(source and source["id"] == image_id for row in images for source in _sources(row[0]))


def _sources(image: dict[str, Any]) -> list[dict[str, Any]]:
    return [source for name in ("disk", "kernel", "ramdisk") if (source := image.get(name))]


def instance_usage(tx: Tx, project_id: str) -> tuple[int, int, int]:
    """Instances, processors and MiB of memory that a project uses: everything that is not deleted."""
    count, vcpus, memory_mib = tx.all(_USAGE, {"project_id": project_id})[0]
    return int(count), int(vcpus), int(memory_mib)


def instances_deleting_idle(tx: Tx, limit: int) -> list[Instance]:
    """Instances in `deleting` that no open operation works on."""
    busy = exists().where(operation.c.resource_id == instance.c.id, operation.c.state == OperationState.OPEN)
    statement = select(*COLUMNS).where(instance.c.state == InstanceState.DELETING, ~busy)
    return tx.structs(Instance, statement.order_by(instance.c.updated_us).limit(limit))


def instance_names_by_host(tx: Tx, host_id: str = "") -> dict[str, list[tuple[str, str]]]:
    """(instance id, name) of what is on each host, or on one, oldest first."""
    columns = instance.c
    on_it = columns.host_id == host_id if host_id else columns.host_id != ""
    names: dict[str, list[tuple[str, str]]] = {}
    statement = select(columns.host_id, columns.id, columns.name).where(on_it)
    for host, instance_id, name in tx.all(statement.order_by(columns.created_us, columns.id)):
        names.setdefault(host, []).append((instance_id, name))
    return names


def host_is_used(tx: Tx, host_id: str) -> bool:
    """Whether a host holds an instance."""
    return tx.value(select(instance.c.id).where(instance.c.host_id == host_id).limit(1)) is not None


def instance_runs(
    tx: Tx, start_us: int, end_us: int, project_id: str | None, after: tuple[str, str], limit: int
) -> list[InstanceRun]:
    """What ran at any time between two instants, by project and id, after (project id, instance id)."""
    columns = instance.c
    statement = (
        select(*[columns[name] for name in InstanceRun.__struct_fields__])
        .where(columns.launched_us > 0, columns.launched_us < end_us)
        .where(or_(columns.terminated_us == 0, columns.terminated_us > start_us))
        .where(tuple_(columns.project_id, columns.id) > tuple_(literal(after[0]), literal(after[1])))
    )
    if project_id is not None:
        statement = statement.where(columns.project_id == project_id)
    return tx.structs(InstanceRun, statement.order_by(columns.project_id, columns.id).limit(limit))


def instances_purge(tx: Tx, before_us: int) -> int:
    """Drop the rows of instances deleted before an instant; returns how many."""
    columns = instance.c
    gone = select(columns.id).where(columns.state == InstanceState.DELETED, columns.updated_us < before_us)
    tx.run(delete(observation).where(observation.c.instance_id.in_(gone)))
    tx.run(delete(console).where(console.c.instance_id.in_(gone)))
    return tx.run(delete(instance).where(columns.state == InstanceState.DELETED, columns.updated_us < before_us))


def observations_of_host(tx: Tx, host_id: str) -> dict[str, Observation]:
    """The last word of a host on everything it holds."""
    return {row.instance_id: row for row in tx.structs(Observation, _OBSERVED_ON, {"host_id": host_id})}


def observations_of_instances(tx: Tx, host_id: str, instance_ids: Sequence[str]) -> dict[str, Observation]:
    """The last word of a host on some of what it holds."""
    found = tx.structs(Observation, _OBSERVED_OF, {"host_id": host_id, "ids": list(instance_ids)})
    return {row.instance_id: row for row in found}


def observations_all(tx: Tx) -> dict[str, Observation]:
    """The last word on everything, by instance."""
    return {row.instance_id: row for row in tx.structs(Observation, select(*_OBSERVED))}


def observation_fetch(tx: Tx, instance_id: str) -> Observation | None:
    """The last word on one instance, from whichever host."""
    return tx.struct(Observation, _OBSERVED_ONE, {"id": instance_id})


def observations_write(tx: Tx, rows: Sequence[Observation]) -> None:
    """Replace the words on these instances."""
    if not rows:
        return
    tx.run(
        delete(observation).where(observation.c.instance_id == bindparam("gone")),
        [{"gone": r.instance_id} for r in rows],
    )
    tx.run(insert(observation), [{n: getattr(r, n) for n in Observation.__struct_fields__} for r in rows])


def observations_delete(tx: Tx, instance_ids: Sequence[str]) -> None:
    """Forget what was said of instances that left their host."""
    tx.run(
        delete(observation).where(observation.c.instance_id == bindparam("gone")), [{"gone": i} for i in instance_ids]
    )
