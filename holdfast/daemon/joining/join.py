"""`holdfast join`: from an empty machine to a host of a cloud elsewhere, seen to hold its lease.

    checks > trust: its authority is the one in the token > host: it has a name and a certificate > agent: it registered

Everything is made in STATE/joining, which becomes STATE/hosts/NAME when the cloud has answered. A run that was killed
is run again and is the same host; one that was refused leaves nothing that the next would take for a host.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from holdfast import VERSION
from holdfast.base import config
from holdfast.base import log as logs
from holdfast.base.certificates import AUTHORITY, CERTIFICATE, trusting
from holdfast.base.errors import BadInput, Conflict, Unavailable
from holdfast.base.limits import CONTROL_ANSWER_S, UP_READY_S
from holdfast.base.run import spawn
from holdfast.daemon.agent import control_of
from holdfast.daemon.checks import machine_check
from holdfast.daemon.first_rows import accelerator_probe
from holdfast.daemon.joining.membership import ID, identity_make, request_of
from holdfast.daemon.phases import Phases
from holdfast.daemon.places import Places, write_private
from holdfast.daemon.seats import hosts_here
from holdfast.daemon.storage import storage_choose
from holdfast.daemon.supervisor import supervisor_runs, supervisor_stop
from holdfast.daemon.up import only_one, wait_for
from holdfast.domain.joining import Joined, JoinRequest, join_token_parts
from holdfast.host.dial import TOKEN, Wire
from holdfast.host.keeper.lease import LEASE_FILE, read_lease

FLAGS = ("hypervisor", "prefix", "tunnel", "shared", "zone")
_REFUSALS: dict[int, Callable[[str], Exception]] = {400: BadInput, 401: BadInput, 409: Conflict}


def join(options: argparse.Namespace) -> int:
    """Become a host of the cloud at a URL; again: bring the same host up."""
    places, phases = Places(Path(options.state).absolute()), Phases(bool(options.json))
    phases.say(f"holdfast {VERSION} on {socket.gethostname()}   state: {places.state}")
    ways = ",".join(_way_of(each) for each in options.url.split(","))
    fingerprint, secret = join_token_parts(sys.stdin.readline() if options.token == "-" else options.token)
    flags = {name: getattr(options, name, None) for name in FLAGS} | {"role": "host", "control": ways}
    _is_free(places)
    with phases.phase("checks") as told:
        settings = config.load(places.state, flags=flags)
        told.words = machine_check(settings)
        places.make()
    with logs.into_file(places.logs / "up.log", "up"), only_one(places):
        with phases.phase("trust") as told:
            way = urlsplit(settings.control.partition(",")[0])
            authority, here = _authority(way, fingerprint)
            _is_no_others(places, authority)
            told.words = f"{way.netloc} has the authority that the token names"
        if not settings.tunnel and ":" not in here:
            settings, flags["tunnel"] = config.load(places.state, flags=flags | {"tunnel": here}), here
        with phases.phase("host") as told:
            name = _enrol(places, settings, way, authority, secret, options.name or _own_name())
            kept = {key: value for key, value in flags.items() if value is not None}
            config.save(places.state / "holdfast.toml", kept | ({"shared": settings.shared} if settings.shared else {}))
            _become(places, name)
            # what runs here already was started with the settings of before; guests go on
            supervisor_stop(places)
            told.words = f"{name}, other hosts reach it at {settings.tunnel or 'no address'}"
        host_up(places, settings, phases)
    return 0


def host_up(places: Places, settings: config.Settings, phases: Phases) -> None:
    """Start agent and keeper of a machine that joined, and see that the cloud gave it its lease."""
    if not hosts_here(places):
        raise BadInput(f"{places.state} did not finish joining; next: holdfast join URL --token TOKEN")
    name, host_id = next(iter(hosts_here(places).items()))
    with phases.phase("accel") as told:
        told.words, told.level = accelerator_probe(places, settings, name)
    with phases.phase("agent") as told:
        began_s, lease = 0.0 if supervisor_runs(places) else time.time(), places.host(name) / LEASE_FILE
        if not supervisor_runs(places):
            spawn([sys.executable, "-m", "holdfast.daemon.supervisor", "--state", str(places.state)])
        control_of(places, settings, name, host_id).connect(CONTROL_ANSWER_S).close()  # its words are the clearest
        wait_for(
            lambda: read_lease(lease).left_s > 0 and lease.stat().st_mtime >= began_s,  # not one of before
            UP_READY_S,
            f"host {name} got no lease from {settings.control}; see {places.logs}/agent-{name}.log",
        )
        told.words = f"host {name} holds its lease from {settings.control}"
    phases.event(event="joined", host=name, control=settings.control, seconds=round(phases.elapsed_s(), 1))
    phases.say(f"{name} is a host of the cloud at {settings.control}. 'holdfast down' stops it, and its guests.")


def _way_of(text: str) -> str:
    """`lab1` is https://lab1:5001."""
    way = urlsplit(text if "://" in text else f"https://{text}")
    if way.scheme != "https" or not way.hostname or way.path not in ("", "/"):
        raise BadInput(
            f"{text[:80]} is not where a cloud lets hosts in: https://ADDRESS:PORT, as `holdfast token` shows"
        )
    host = f"[{way.hostname}]" if ":" in way.hostname else way.hostname
    return f"https://{host}:{way.port or config.Settings().hosts_port}"


def _is_free(places: Places) -> None:
    """A machine that has a cloud of its own is not taken for another."""
    own = (not (places.host(name) / AUTHORITY).exists() for name in hosts_here(places))
    if places.credentials.exists() or any(own):
        raise Conflict(
            f"{places.state} has a cloud of its own. Remove that one first: holdfast destroy; "
            "or join from another directory: holdfast --state DIR join URL --token TOKEN",
            code="cloud_here",
        )


def _is_no_others(places: Places, authority: str) -> None:
    """A host of another cloud has that one's guests and disks: it is not taken along."""
    for name in hosts_here(places):
        if (places.host(name) / AUTHORITY).read_text() != authority:
            raise Conflict(
                f"{places.state} is host {name} of another cloud, with that one's guests and disks. Leave it first: "
                "holdfast destroy; or join from another directory: holdfast --state DIR join URL --token TOKEN",
                code="cloud_here",
            )


def _own_name() -> str:
    return socket.gethostname().partition(".")[0] or "host1"


def _authority(way: SplitResult, fingerprint: str) -> tuple[str, str]:
    """The certificate of the hosts' authority, PEM, and this machine's address towards it.

    Whoever answers may lie: only a certificate with the fingerprint that a person brought is believed.
    """

    def anybody() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    status, body, here = _ask(Wire(way, CONTROL_ANSWER_S, anybody), "GET", "/hosts/v1/authority", None)
    try:
        text = body.decode()
        shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()
    except ValueError as err:
        raise Unavailable(f"{way.netloc} answers {status}, and is no control plane that lets hosts in") from err
    if shown != fingerprint:
        raise Conflict(
            f"{way.netloc} is not the cloud that the token is for: nothing was sent to it. Its authority has the "
            f"fingerprint {shown[:16]}..., and the token says {fingerprint[:16]}...",
            code="another_cloud",
        )
    return text, here


def _enrol(places: Places, settings: config.Settings, way: SplitResult, authority: str, secret: str, name: str) -> str:
    """Ask to be let in; returns the name. Its files are whole afterwards."""
    known = hosts_here(places)
    home = places.host(next(iter(known))) if known else places.joining
    identity_make(home)
    token_digest = hashlib.sha256((home / TOKEN).read_text().strip().encode()).hexdigest()
    zone = settings.zone if settings.zone != config.Settings().zone else ""
    wish = JoinRequest(secret, (home / ID).read_text().strip(), name, zone, token_digest, request_of(home))
    wire = Wire(way, CONTROL_ANSWER_S, lambda: trusting(authority))
    status, body, _ = _ask(wire, "POST", "/hosts/v1/join", msgspec.json.encode(wish))
    if status != 201:
        raise _REFUSALS.get(status, Unavailable)(_refusal(status, body))
    joined = msgspec.json.decode(body, type=Joined)
    write_private(home / AUTHORITY, authority)
    write_private(home / CERTIFICATE, joined.certificate)
    if not known:
        storage_choose(home, settings)
    return joined.name


def _become(places: Places, name: str) -> None:
    """From here on this machine is that host."""
    if places.joining.exists():
        os.rename(places.joining, places.host(name))


def _ask(wire: Wire, method: str, path: str, body: bytes | None) -> tuple[int, bytes, str]:
    """Status, body, and this machine's address on the way there."""
    try:
        wire.request(method, path, body)
        here = str(wire.sock.getsockname()[0])
        answer = wire.getresponse()
        return answer.status, answer.read(1 << 20), here
    except (OSError, http.client.HTTPException) as err:
        raise Unavailable(f"{wire.host}:{wire.port} does not answer as a control plane would: {err}") from err
    finally:
        wire.close()


def _refusal(status: int, body: bytes) -> str:
    try:
        document: dict[str, Any] = msgspec.json.decode(body)
        return str(document["errors"][0]["detail"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return f"the control plane answered {status}"
