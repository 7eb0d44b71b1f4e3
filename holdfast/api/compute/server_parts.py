"""What hangs on a server: metadata, tags, addresses, interfaces, security groups."""

from __future__ import annotations

from typing import Any

from holdfast.api.compute.server_input import metadata_items, tag_name
from holdfast.api.compute.server_views import addresses
from holdfast.api.compute.servers import find_server, find_unlocked
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import MEMBER, READER
from holdfast.api.http.routes import Route
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import METADATA_ITEMS, TAGS
from holdfast.control.operations.network.port import port_create, port_delete
from holdfast.control.operations.network.port_instance import port_bind, port_unbind
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_change
from holdfast.control.store.network.port import port_fetch, ports_of_instance_ids
from holdfast.control.store.network.subnet_address import addresses_of_ports
from holdfast.domain.instance import Instance, require_idle
from holdfast.domain.port import COMPUTE, FixedWanted, Port, PortWanted

_P = "os_compute_api:"


def metadata_show(call: Call) -> Reply:
    """GET metadata"""
    return Reply(200, {"metadata": _row(call).properties})


def metadata_merge(call: Call) -> Reply:
    """POST metadata: adds to what is there."""
    items = metadata_items(call.json().get("metadata"))
    return _metadata_write(call, lambda row: {**row.properties, **items})


def metadata_replace(call: Call) -> Reply:
    """PUT metadata: these and no others."""
    items = metadata_items(call.json().get("metadata"))
    return _metadata_write(call, lambda _: items)


def metadata_item_show(call: Call) -> Reply:
    """GET metadata/{key}"""
    key, items = call.parameters["key"], _row(call).properties
    if key not in items:
        raise NotFound("Metadata item was not found")
    return Reply(200, {"meta": {key: items[key]}})


def metadata_item_put(call: Call) -> Reply:
    """PUT metadata/{key}"""
    key = call.parameters["key"]
    item = metadata_items(call.json().get("meta"), "meta")
    if set(item) != {key}:
        raise BadInput("Request body and URI mismatch")
    return _metadata_write(call, lambda row: {**row.properties, **item}, lambda _: {"meta": item})


def metadata_item_delete(call: Call) -> Reply:
    """DELETE metadata/{key}"""
    key = call.parameters["key"]

    def without(row: Instance) -> dict[str, str]:
        if key not in row.properties:
            raise NotFound("Metadata item was not found")
        return {name: value for name, value in row.properties.items() if name != key}

    _metadata_write(call, without)
    return Reply(204)


def _metadata_write(call: Call, items_of: Any, body_of: Any = lambda items: {"metadata": items}) -> Reply:
    def change(tx: Tx) -> Reply:
        row = find_unlocked(call, tx, _P + "server-metadata:update").instance
        items = items_of(row)
        if len(items) > METADATA_ITEMS:
            raise BadInput(f"Maximum number of metadata items exceeds {METADATA_ITEMS}")
        instance_change(tx, row, properties=items)
        return Reply(200, body_of(items))

    return call.services.store.write(change)


def tags_show(call: Call) -> Reply:
    """GET tags"""
    return Reply(200, {"tags": _row(call).tags})


def tags_replace(call: Call) -> Reply:
    """PUT tags"""
    tags = call.json().get("tags")
    if not isinstance(tags, list) or len(tags) > TAGS:
        raise BadInput(f"Invalid input for field/attribute tags: a list of at most {TAGS}")
    wanted = list(dict.fromkeys(tag_name(tag) for tag in tags))
    _tags_write(call, lambda _: wanted)
    return Reply(200, {"tags": wanted})


def tags_clear(call: Call) -> Reply:
    """DELETE tags"""
    _tags_write(call, lambda _: [])
    return Reply(204)


def tag_show(call: Call) -> Reply:
    """GET tags/{tag}: 204 when it is there."""
    if call.parameters["tag"] not in _row(call).tags:
        raise NotFound(f"Server has no tag '{call.parameters['tag'][:64]}'")
    return Reply(204)


def tag_add(call: Call) -> Reply:
    """PUT tags/{tag}: 201 when it is new, 204 when it was there."""
    tag = tag_name(call.parameters["tag"])
    before = _tags_write(call, lambda tags: [*tags, tag] if tag not in tags else tags)
    return Reply(204 if tag in before else 201)


def tag_remove(call: Call) -> Reply:
    """DELETE tags/{tag}"""
    tag = call.parameters["tag"]
    before = _tags_write(call, lambda tags: [other for other in tags if other != tag])
    if tag not in before:
        raise NotFound(f"Server has no tag '{tag[:64]}'")
    return Reply(204)


def _tags_write(call: Call, tags_of: Any) -> list[str]:
    def change(tx: Tx) -> list[str]:
        row = find_unlocked(call, tx, _P + "os-server-tags:update").instance
        wanted = tags_of(row.tags)
        if len(wanted) > TAGS:
            raise BadInput(f"The number of tags exceeded the per-server limit {TAGS}")
        instance_change(tx, row, tags=wanted)
        return row.tags

    return call.services.store.write(change)


def addresses_show(call: Call) -> Reply:
    """GET ips"""
    server = call.services.store.read(lambda tx: find_server(call, tx))
    plain = {
        name: [{"version": a["version"], "addr": a["addr"]} for a in items] for name, items in addresses(server).items()
    }
    return Reply(200, {"addresses": plain})


def network_addresses_show(call: Call) -> Reply:
    """GET ips/{network}"""
    server = call.services.store.read(lambda tx: find_server(call, tx))
    name, view = call.parameters["network"], addresses(server)
    if name not in view:
        raise NotFound(f"Network {name[:64]} not found")
    return Reply(200, {name: [{"version": a["version"], "addr": a["addr"]} for a in view[name]]})


def groups_show(call: Call) -> Reply:
    """GET os-security-groups"""
    server = call.services.store.read(lambda tx: find_server(call, tx))
    row = server.instance
    groups = [
        {"id": name, "name": name, "description": "", "tenant_id": row.project_id, "rules": []}
        for name in server.groups
    ]
    return Reply(200, {"security_groups": groups})


def interfaces_show(call: Call) -> Reply:
    """GET os-interface"""

    def look(tx: Tx) -> Reply:
        row = find_server(call, tx).instance
        ports = ports_of_instance_ids(tx, [row.id])
        return Reply(200, {"interfaceAttachments": [_interface(tx, port, call.version) for port in ports]})

    return call.services.store.read(look)


def interface_show(call: Call) -> Reply:
    """GET os-interface/{port_id}"""

    def look(tx: Tx) -> Reply:
        port = _own_port(call, tx, find_server(call, tx).instance)
        return Reply(200, {"interfaceAttachment": _interface(tx, port, call.version)})

    return call.services.store.read(look)


def interface_attach(call: Call) -> Reply:
    """POST os-interface: plug a port, or a new one in a network; the guest sees it after its next start."""
    body = call.json().get("interfaceAttachment") or {}
    port_id, network_id = str(body.get("port_id") or ""), str(body.get("net_id") or "")
    fixed = [str(item.get("ip_address", "")) for item in body.get("fixed_ips") or ()]
    if bool(port_id) == bool(network_id):
        raise BadInput("interfaceAttachment needs exactly one of port_id and net_id")

    def change(tx: Tx) -> Reply:
        row = find_unlocked(call, tx, _P + "os-attach-interfaces:create").instance
        require_idle(row, "attach_interface")
        if port_id:
            found = port_fetch(tx, port_id)
            if found is None or found.project_id != row.project_id:
                raise NotFound(f"Port {port_id[:64]} could not be found.")
            port = port_bind(tx, port_id, row.id, COMPUTE, row.host_id)
        else:
            wanted = [FixedWanted(address=address) for address in fixed] or None
            card = PortWanted(
                row.project_id,
                network_id,
                fixed=wanted,
                device_owner=COMPUTE,
                instance_id=row.id,
                auto_for_instance=True,
                host_id=row.host_id,
            )
            port = port_create(tx, card)
        instance_change(tx, row)
        return Reply(200, {"interfaceAttachment": _interface(tx, port, call.version)})

    return call.services.store.write(change)


def interface_detach(call: Call) -> Reply:
    """DELETE os-interface/{port_id}"""

    def change(tx: Tx) -> Reply:
        row = find_unlocked(call, tx, _P + "os-attach-interfaces:delete").instance
        port = _own_port(call, tx, row)
        port_unbind(tx, port.id)
        if port.auto_for_instance and (left := port_fetch(tx, port.id)) is not None:
            port_delete(tx, left)
        instance_change(tx, row)
        return Reply(202)

    return call.services.store.write(change)


def _own_port(call: Call, tx: Tx, row: Instance) -> Port:
    port = port_fetch(tx, call.parameters["port_id"])
    if port is None or port.instance_id != row.id:
        raise NotFound(f"Port {call.parameters['port_id'][:64]} is not attached to instance {row.id}")
    return port


def _interface(tx: Tx, port: Port, minor: int) -> dict[str, Any]:
    fixed = addresses_of_ports(tx, [port.id]).get(port.id, [])
    view: dict[str, Any] = {
        "port_id": port.id,
        "net_id": port.network_id,
        "mac_addr": port.mac,
        "port_state": "ACTIVE" if port.up else "DOWN",
        "fixed_ips": [{"subnet_id": item.subnet_id, "ip_address": item.address} for item in fixed],
    }
    return view | ({"tag": None} if minor >= 70 else {})


def _row(call: Call) -> Instance:
    return call.services.store.read(lambda tx: find_server(call, tx)).instance


_S = "/v2.1/servers/{server_id}"
ROUTES = (
    Route("GET", _S + "/metadata", metadata_show, _P + "server-metadata:index"),
    Route("POST", _S + "/metadata", metadata_merge, _P + "server-metadata:update"),
    Route("PUT", _S + "/metadata", metadata_replace, _P + "server-metadata:update"),
    Route("GET", _S + "/metadata/{key}", metadata_item_show, _P + "server-metadata:index"),
    Route("PUT", _S + "/metadata/{key}", metadata_item_put, _P + "server-metadata:update"),
    Route("DELETE", _S + "/metadata/{key}", metadata_item_delete, _P + "server-metadata:update"),
    Route("GET", _S + "/tags", tags_show, _P + "os-server-tags:index", since=26),
    Route("PUT", _S + "/tags", tags_replace, _P + "os-server-tags:update", since=26),
    Route("DELETE", _S + "/tags", tags_clear, _P + "os-server-tags:update", since=26),
    Route("GET", _S + "/tags/{tag}", tag_show, _P + "os-server-tags:index", since=26),
    Route("PUT", _S + "/tags/{tag}", tag_add, _P + "os-server-tags:update", since=26),
    Route("DELETE", _S + "/tags/{tag}", tag_remove, _P + "os-server-tags:update", since=26),
    Route("GET", _S + "/ips", addresses_show, _P + "ips:index"),
    Route("GET", _S + "/ips/{network}", network_addresses_show, _P + "ips:index"),
    Route("GET", _S + "/os-security-groups", groups_show, _P + "os-security-groups:list"),
    Route("GET", _S + "/os-interface", interfaces_show, _P + "os-attach-interfaces:list"),
    Route("POST", _S + "/os-interface", interface_attach, _P + "os-attach-interfaces:create"),
    Route("GET", _S + "/os-interface/{port_id}", interface_show, _P + "os-attach-interfaces:list"),
    Route("DELETE", _S + "/os-interface/{port_id}", interface_detach, _P + "os-attach-interfaces:delete"),
)
RULES = {route.rule: READER if route.method == "GET" else MEMBER for route in ROUTES}
