"""`holdfast up`: from an empty machine to a cloud that was seen to work, and from there to nothing to do.

Every phase may be repeated; a run that was killed is simply run again. Two at once: the second waits for the
first and then finds the cloud up.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast import VERSION
from holdfast.base import config
from holdfast.base import log as logs
from holdfast.base.errors import BadInput, HoldfastError, NotFound, Unavailable
from holdfast.base.limits import UP_READY_S
from holdfast.base.run import pids_of, spawn
from holdfast.client.session import Session
from holdfast.daemon.checks import machine_check, port_check
from holdfast.daemon.phases import Phases
from holdfast.daemon.places import Places, write_private
from holdfast.daemon.seats import (
    fabric_of,
    hosts_here,
    names_wanted,
    publics_read,
    publics_write,
    seats_of,
    seats_wanted,
    seats_write,
)
from holdfast.daemon.storage import storages_choose
from holdfast.daemon.supervisor import control_child, supervisor_runs, supervisor_stop

RANGES = ("private_cidr", "public_cidr", "underlay_cidr")
DOOR = ("hosts_listen", "hosts_port")
FLAGS = ("hypervisor", "listen", "port", "public_url", "region", "prefix", *RANGES, *DOOR)


def up(options: argparse.Namespace) -> int:
    """Bring the cloud up; 0 only when its last claim was proved."""
    state = Path(options.state).absolute()
    flags = {name: getattr(options, name, None) for name in FLAGS}
    flags["role"] = "control" if getattr(options, "control_only", False) else None
    places, phases = Places(state), Phases(bool(getattr(options, "json", False)))
    with _permitted():
        before = config.load(state)
    phases.say(f"holdfast {VERSION} on {socket.gethostname()}   state: {state}")
    asked: int | None = getattr(options, "hosts", None)
    if before.role == "host":
        return _host_up(places, phases, flags | {"hosts": asked})
    with phases.phase("checks") as told:
        settings, told.words = _prepare(places, flags, asked)
    with logs.into_file(places.logs / "up.log", "up"), only_one(places):
        names = names_wanted(places, asked, settings.role)
        new = [name for name in names if name not in hosts_here(places)]
        door = any(getattr(settings, name) != getattr(before, name) for name in DOOR)
        if (new or door) and supervisor_runs(places):
            _pause(places, new, phases)
        if not _is_up(places, settings):
            _bring_up(places, settings, flags, names, phases)
        elif seats_of(places):
            _tell_publics(places, settings)
        _prove(places, settings, phases)
    _farewell(places, settings, phases)
    return 0


def _host_up(places: Places, phases: Phases, flags: dict[str, Any]) -> int:
    """A machine that joined another's cloud is what it became then."""
    from holdfast.daemon.joining.join import host_up

    if said := [name for name, value in flags.items() if value is not None]:
        raise BadInput(
            f"this machine is a host of another machine's cloud: {said[0]} is not for it. Settings are in "
            f"{places.state}/holdfast.toml; for a cloud of its own, first: holdfast destroy",
            code="bad_setting",
        )
    with phases.phase("checks") as told:
        settings, told.words = _prepare(places, {}, None)
    with logs.into_file(places.logs / "up.log", "up"), only_one(places):
        host_up(places, settings, phases)
    return 0


def _pause(places: Places, new: list[str], phases: Phases) -> None:
    """More hosts are more processes, and a door is one more socket: all but the guests are started anew."""
    with phases.phase("hosts") as told:
        supervisor_stop(places)
        told.words = f"{', '.join(new) or 'others may'} join; the API pauses, guests go on"


def _tell_publics(places: Places, settings: config.Settings) -> None:
    """A public network may have come since: the machine is its gateway from now on."""
    from holdfast.daemon import bootstrap

    before = publics_read(places)
    with bootstrap.opened(settings) as (store, _):
        publics_write(places, bootstrap.publics_of(store))
    fabric = fabric_of(places, settings, seats_of(places))
    if fabric is not None and publics_read(places) != before:
        fabric.make(publics_read(places))


def _prepare(places: Places, flags: dict[str, Any], hosts: int | None) -> tuple[config.Settings, str]:
    """Settings and what the machine's check found; the directories are made only after it."""
    with _permitted():
        settings = config.load(places.state, flags=flags)
        names = names_wanted(places, hosts, settings.role)
        found = machine_check(settings, list(seats_wanted(places, settings, names).values()))
        places.make()
    return settings, found


@contextmanager
def _permitted() -> Iterator[None]:
    """BadInput where this user may not read or make what a cloud is in."""
    try:
        yield
    except PermissionError as err:
        raise BadInput(
            f"{err.filename} cannot be used by this user; a cloud on this machine needs root. "
            "Run: sudo holdfast up   (or, without guests: holdfast --state DIR up --hypervisor simulated)",
            code="not_root",
        ) from err


@contextmanager
def only_one(places: Places) -> Iterator[None]:
    """Whoever comes second waits, and then finds what the first one made."""
    lock = os.open(places.run / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _is_up(places: Places, settings: config.Settings) -> bool:
    return supervisor_runs(places) and _answers(settings)


def _answers(settings: config.Settings) -> bool:
    session = Session(settings.local_endpoint)
    try:
        return bool(session.get("/healthcheck")["status"] == "ok")
    except HoldfastError:
        return False
    finally:
        session.close()


def _bring_up(
    places: Places, settings: config.Settings, flags: dict[str, Any], names: list[str], phases: Phases
) -> None:
    """Everything that a running cloud has behind it already."""
    from holdfast.daemon import bootstrap, first_rows

    if names:
        with phases.phase("accel") as told:
            told.words, told.level = first_rows.accelerator_probe(places, settings, names[0])
    if not supervisor_runs(places):
        port_check_unless_ours(places, settings)
    _keep(places, flags | {name: getattr(settings, name) or None for name in ("store", "images")})
    with phases.phase("store") as told, bootstrap.opened(settings) as (store, words):
        told.words = words
        passwords = bootstrap.cloud_enter(store, places, settings)
        with phases.phase("identity") as inner:
            made = bootstrap.identity_make(store, passwords)
            inner.words = "domain Default, projects admin and demo, users admin and demo"
        with phases.phase("network") as inner:
            bootstrap.network_make(store, settings, made)
            seats_write(places, seats_wanted(places, settings, names))
            publics_write(places, bootstrap.publics_of(store))
            storages_choose(places, settings, names)
            for name in names:
                bootstrap.host_make(store, places, settings, name)
            inner.words = f"private {settings.private_cidr}, public {settings.public_cidr}, {_words_of(names)}"
    with phases.phase("api") as told:
        if not supervisor_runs(places):
            spawn([sys.executable, "-m", "holdfast.daemon.supervisor", "--state", str(places.state)])
            # the API may answer already: a control process that outlived its supervisor is adopted
            wait_for(lambda: supervisor_runs(places), UP_READY_S, f"the supervisor did not start; see {places.logs}")
        wait_for(
            lambda: _answers(settings),
            UP_READY_S,
            f"the API at {settings.local_endpoint} did not answer; see {places.logs}",
        )
        session = first_rows.session_of(places, settings, "admin")
        first_rows.ec2_credentials_ensure(places, settings, session)
        wait_for(
            lambda: first_rows.hosts_are_up(session, names), UP_READY_S, f"an agent did not report; see {places.logs}"
        )
        told.words = f"identity compute image network volume placement ec2 on {settings.endpoint}"
    if names and settings.hypervisor != "simulated":
        from holdfast.daemon.first_image import tiny_ensure

        with phases.phase("image") as told:
            tiny_ensure(session, places.state / "built", Path(settings.packages), told)


def _words_of(names: list[str]) -> str:
    if not names:
        return "no compute host"
    return f"host {names[0]}" if len(names) == 1 else f"hosts {', '.join(names)}"


def port_check_unless_ours(places: Places, settings: config.Settings) -> None:
    """A control process that outlived its supervisor still has the port: that one is ours."""
    if not pids_of(control_child(places).needle):
        port_check(settings)


def _keep(places: Places, settings: dict[str, Any]) -> None:
    """What was given as a flag holds for every process and for the next `up`: it goes to the file (0600).

    So do the store and the images, however they were named: without them the next `up` would begin another cloud.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    path = places.state / "holdfast.toml"
    if given:
        config.save(path, given)
    elif not path.exists():
        write_private(path, "# Settings of this cloud; everything has a default. See docs/operators/settings.md\n")


def _prove(places: Places, settings: config.Settings, phases: Phases) -> None:
    """The cloud answers a real user; the first time, a real guest boots and answers too."""
    from holdfast.daemon import first_rows

    with phases.phase("proof") as told:
        session = first_rows.session_of(places, settings, "demo")
        servers = session.get("/compute/v2.1/servers")["servers"]
        told.words = f"token, list of {len(servers)} servers"
        mark = places.run / "proved"
        if hosts_here(places) and settings.hypervisor != "simulated" and not mark.exists():
            told.words += ", " + first_rows.guest_proof(session)
            write_private(mark, "a guest of this cloud booted and answered\n")


def _farewell(places: Places, settings: config.Settings, phases: Phases) -> None:
    from holdfast.daemon import clouds_yaml, first_users

    passwords = first_users.passwords_make(places)
    path = Path(settings.clouds_yaml) if settings.clouds_yaml else clouds_yaml.default_path()
    ours = clouds_yaml.entries(settings.endpoint, settings.region, passwords)
    own = places.state / "clouds.yaml"
    clouds_yaml.merge(own, ours, places.state)
    merged = clouds_yaml.merge(path, ours, places.state)
    told = f"export OS_CLOUD=holdfast    (in {path})"
    if not merged:
        told = f"export OS_CLIENT_CONFIG_FILE={own} OS_CLOUD=holdfast    ({path} has its own entry and was left alone)"
    seconds = round(phases.elapsed_s(), 1)
    phases.event(event="up", endpoint=settings.endpoint, clouds_yaml=str(path if merged else own), seconds=seconds)
    at = "" if places.state == Path(config.Settings().state) else f" --state {places.state}"
    phases.say(f"Cloud is up in {seconds}s. 'holdfast{at} down' stops it, 'holdfast{at} destroy' removes every trace.")
    phases.say(f"  endpoint    {settings.endpoint}")
    phases.say(f"  openstack   {told}")
    phases.say(f'  aws ec2     eval "$(holdfast{at} env --aws)"')
    phases.say(f"  next        holdfast{at} launch")


def wait_for(condition: Callable[[], bool], timeout_s: float, failure: str) -> None:
    """Return when the condition holds; raises Unavailable with `failure` after the timeout."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except NotFound:
            pass  # what is waited for is not there yet
        time.sleep(0.05)
    raise Unavailable(failure, code="not_in_time")
