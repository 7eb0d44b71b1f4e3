"""The acts that move a server: migrate, os-migrateLive and evacuate, of POST /servers/{id}/action."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api.compute import requests
from holdfast.api.compute.server_input import text
from holdfast.api.compute.servers import find_server
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.policy import ADMIN
from holdfast.base.errors import BadInput, Conflict, NoCapacity
from holdfast.control.operations.server.evacuate import server_evacuate_begin
from holdfast.control.operations.server.migrate import Wish, server_migrate_begin
from holdfast.control.store.database import Tx
from holdfast.domain.server import Server, vm_state

_P: Final = "os_compute_api:"
_MIGRATE, _LIVE, _EVACUATE = f"{_P}os-migrate-server:migrate", f"{_P}os-migrate-server:migrate_live", f"{_P}os-evacuate"
RULES = {_MIGRATE: ADMIN, _LIVE: ADMIN, _EVACUATE: ADMIN}
_TARGETED, _AUTO, _FORCED, _UNFORCED = 56, 25, 30, 68  # versions in which the bodies changed


def require_state(server: Server, act: str, *states: str) -> None:
    """Conflict, in Nova's words, unless the server is in one of the states and nothing else goes on."""
    row, state = server.instance, vm_state(server)
    if server.act:
        raise Conflict(
            f"Cannot '{act}' instance {row.id} while it is in task_state {server.act.removeprefix('server_')}"
        )
    if state not in states:
        raise Conflict(f"Cannot '{act}' instance {row.id} while it is in vm_state {state}")


def _host(field: str, value: Any) -> str:
    return "" if value is None else str(requests.text(1)(field, value))


def _blocks(call: Call) -> requests.Check:
    def check(field: str, value: Any) -> bool | None:
        return None if call.version >= _AUTO and value == "auto" else requests.boolean(field, value)

    return check


def migrate(call: Call, tx: Tx, body: Any) -> Reply:
    """Move a server, ended here and started there; its owner confirms it."""
    known = {"host": _host} if call.version >= _TARGETED else {}
    words = requests.mapping("migrate", {} if body is None else body, known)
    server = find_server(call, tx, _MIGRATE)
    require_state(server, "migrate", "active", "stopped")
    wish = Wish(live=False, target=words.get("host", ""))
    _begin(call, tx, server, wish, confirm=True)
    return Reply(202)


def migrate_live(call: Call, tx: Tx, body: Any) -> Reply:
    """Move a server while it runs."""
    checks: dict[str, requests.Check] = {"host": _host, "block_migration": _blocks(call)}
    if call.version < _AUTO:
        checks["disk_over_commit"] = requests.boolean
    if _FORCED <= call.version < _UNFORCED:
        checks["force"] = requests.boolean
    required = [member for member in checks if member != "force"]
    words = requests.mapping("os-migrateLive", body, checks, required)
    server = find_server(call, tx, _LIVE)
    require_state(server, "os-migrateLive", "active", "paused")
    wish = Wish(live=True, target=words["host"], blocks=words["block_migration"])
    _begin(call, tx, server, wish, confirm=False)
    return Reply(202)


def _begin(call: Call, tx: Tx, server: Server, wish: Wish, confirm: bool) -> None:
    """Accept a move; that no host can take the server is, in Nova's words, the fault of the request."""
    settings, row = call.services.settings, server.instance
    try:
        server_migrate_begin(tx, settings, row, wish, call.credentials, call.request_id, confirm=confirm)
    except NoCapacity as err:
        raise BadInput(err.message, code=err.code) from err


def evacuate(call: Call, tx: Tx, body: Any) -> Reply:
    """Start a server elsewhere whose host is dead."""
    known = {"host", "adminPass", "force", "onSharedStorage"} if call.version < 14 else {"host", "adminPass", "force"}
    unknown = body.keys() - known if isinstance(body, dict) else {"must be an object"}
    if unknown:
        raise BadInput(f"Invalid input for field/attribute evacuate: {', '.join(sorted(unknown))}")
    server = find_server(call, tx, _EVACUATE)
    rebuild = body.get("onSharedStorage") in (False, "False", "false")  # said in so many words: the disk is given up
    target = text(body["host"], "host") if body.get("host") else ""
    settings = call.services.settings
    server_evacuate_begin(tx, settings, server.instance, call.credentials, call.request_id, target, rebuild)
    return Reply(200, {"adminPass": ""} if call.version < 14 else None)
