"""The HTTP server of a control process, and its door: a second port, with TLS, for hosts of other machines.

A certificate of the hosts' authority is checked in the handshake, and one of anybody else's ends it. Whoever shows none
may come as far as joining. Behind the door each request carries the digest of the key that its connection proved.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast.api.http.application import PEER
from holdfast.base import log as logs
from holdfast.base.certificates import trusting_clients
from holdfast.base.clock import Clock
from holdfast.base.errors import HoldfastError
from holdfast.base.limits import CONTROL_CERTIFICATE_S, DOOR_HANDSHAKE_S, SOCKET_BACKLOG
from holdfast.control.operations.host.certificates import HostsAuthority, key_digest
from holdfast.daemon.places import write_private

log = logs.get(__name__)


class Door:
    """The sockets, and how their connections are begun."""

    def __init__(self, sockets: Sequence[socket.socket], authority: HostsAuthority, clock: Clock, run: Path) -> None:
        """`run` is a directory of this process's owner alone: OpenSSL reads keys from files only."""
        self.sockets, self._authority, self._clock, self._run = sockets, authority, clock, run
        self.context = trusting_clients(authority.certificate)
        self.renew()

    def renew(self) -> None:
        """Show a new certificate to whoever comes from now on."""
        draft = self._run / f"door-{os.getpid()}.pem"
        try:
            write_private(draft, self._authority.for_control(self._clock.now_us()))
            self.context.load_cert_chain(draft)
        finally:
            draft.unlink(missing_ok=True)


class Server(uvicorn.Server):
    """Both ports, begun and ended together."""

    def __init__(self, config: uvicorn.Config, door: Door | None) -> None:
        super().__init__(config)
        self._door = door

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._door is None:
            return
        loop = asyncio.get_running_loop()
        make = partial(_Guarded, self.config, self.server_state, self.lifespan.state)
        for each in self._door.sockets:
            self.servers.append(
                await loop.create_server(
                    make,
                    sock=each,
                    ssl=self._door.context,
                    ssl_handshake_timeout=DOOR_HANDSHAKE_S,
                    backlog=SOCKET_BACKLOG,
                )
            )
        self._renew_later(loop, self._door)

    def _renew_later(self, loop: asyncio.AbstractEventLoop, door: Door) -> None:
        def renew() -> None:
            try:
                door.renew()
            except (HoldfastError, OSError) as err:  # the old one is good for a month: it is tried again long before
                log.error("door_certificate_not_renewed", reason=str(err))
            self._renew_later(loop, door)

        loop.call_later(CONTROL_CERTIFICATE_S / 30, renew)


class _Guarded(HttpToolsProtocol):
    """A connection through the door: the application hears with each request who it is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app = _told(self.app, _peer_of(transport))


def _told(application: Callable[..., Any], peer: str) -> Callable[..., Any]:
    async def told(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await application({**scope, PEER: peer}, receive, send)

    return told


def _peer_of(transport: asyncio.Transport) -> str:
    """The digest of the key that the other side proved in the handshake; empty where it showed no certificate."""
    connection: ssl.SSLObject = transport.get_extra_info("ssl_object")
    shown = connection.getpeercert(binary_form=True)
    return key_digest(shown) if shown else ""
