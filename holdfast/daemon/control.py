"""The control process: the API on sockets that somebody else holds, the engine, and the reconcilers.

`python -m holdfast.daemon.control --state DIR --fd N`. It may be killed at any moment: the sockets stay with
the supervisor, clients wait in its queue, and the next one carries on from the store.
"""

from __future__ import annotations

import argparse
import gc
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from holdfast.base import config, ids
from holdfast.base import log as logs
from holdfast.base.limits import GC_OBJECTS, GRACEFUL_SHUTDOWN_S, KEEP_ALIVE_S, SOCKET_BACKLOG
from holdfast.control.operations.engine import Engine
from holdfast.control.operations.registry import ACTS
from holdfast.control.reconcilers.loop import Reconcilers
from holdfast.control.store.database import Database
from holdfast.daemon.composition import make_application, make_reconcilers, make_services
from holdfast.daemon.joining.door import Door, Server
from holdfast.daemon.places import Places, write_private

log = logs.get(__name__)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--fd", type=int, action="append", required=True)
    parser.add_argument("--door-fd", type=int, action="append", default=[])
    options = parser.parse_args()
    settings, places = config.load(options.state), Places(options.state)
    logs.sink.open_file(places.logs / "control.log", "control", settings.log_format == "json")
    store = Database(settings.store_url)
    store.join_replicas()
    services = make_services(settings, store)
    engine = Engine(store, settings, ACTS, f"control-{replica_of(places)}")
    reconcilers = Reconcilers(make_reconcilers(services))
    threads = [
        threading.Thread(target=engine.run_forever, name="engine", daemon=True),
        threading.Thread(target=reconcilers.run_forever, name="reconcilers", daemon=True),
    ]
    for thread in threads:
        thread.start()
    gc.freeze()  # what lives as long as the process is never looked at again
    gc.set_threshold(GC_OBJECTS)  # requests make few cycles: with the default an eighth of the time goes to looking
    log.info("control_started", endpoint=settings.endpoint)
    door = None
    if options.door_fd:
        door = Door(_listeners(options.door_fd), services.hosts_authority, services.clock, places.run)
    _serve(_listeners(options.fd), make_application(services), door)
    reconcilers.stop()
    engine.stop()
    for thread in threads:
        thread.join(GRACEFUL_SHUTDOWN_S)
    store.close()
    log.info("control_stopped")


def replica_of(places: Places) -> str:
    """The name of this replica, the same for every process that it ever has."""
    path = places.state / "replica"
    if not path.exists():
        write_private(path, ids.new_id())
    return path.read_text().strip()


def _listeners(fds: Sequence[int]) -> list[socket.socket]:
    listeners = [socket.socket(fileno=fd) for fd in fds]
    for listener in listeners:
        listener.setblocking(False)
    return listeners


def _serve(listeners: list[socket.socket], application: object, door: Door | None) -> None:
    server = Server(
        uvicorn.Config(
            application,  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,  # what a client says of itself is not looked at
            server_header=False,
            backlog=SOCKET_BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
        ),
        door,
    )
    server.run(sockets=listeners)


if __name__ == "__main__":
    main()
