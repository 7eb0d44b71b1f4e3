"""Settings of one cloud. An empty file works; an unknown key is an error that suggests the right one.

Read from `STATE/holdfast.toml`, then from `HOLDFAST_<KEY>` in the environment, then from flags; the last
one wins. Everything has a default, and the default is meant for use.
"""

from __future__ import annotations

import difflib
import json
import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from holdfast.base.errors import BadInput


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, with its default."""

    state: str = "/var/lib/holdfast"  # everything of this cloud; one directory that can be archived
    listen: str = "127.0.0.1"  # where the API listens
    port: int = 5000  # the one port with every service
    hosts_listen: str = ""  # where hosts of other machines reach us, over TLS; empty: nowhere
    hosts_port: int = 5001  # the port for them
    control: str = ""  # of a machine that joined: where its cloud is, https://ADDRESS:PORT, several with commas
    tunnel: str = ""  # address of this machine for hosts of others; empty: hosts_listen, or none
    public_url: str = ""  # how clients reach us; empty: http://listen:port
    store: str = ""  # database URL; empty: SQLite in the state directory
    role: str = "all"  # of this machine: all; control: a replica that is no compute host; host: it joined a cloud
    images: str = ""  # directory of the image service's files, the same for all replicas; empty: STATE/images
    region: str = "RegionOne"
    zone: str = "nova"  # availability zone of hosts that name none
    hypervisor: str = "qemu"  # qemu or simulated
    accelerator: str = "auto"  # of QEMU: auto is what a probe guest proves; kvm or tcg are believed
    prefix: str = "hf"  # of every kernel object of ours; 1 to 5 small letters and digits, interface names are short
    private_cidr: str = "10.77.0.0/24"  # the first project's network
    public_cidr: str = "172.24.4.0/24"  # the pool of public addresses, provided by this host
    underlay_cidr: str = "198.19.0.0/16"  # between the hosts of one machine, where there are several
    uplink: str = ""  # link of this host to the public networks; empty: this host is their gateway
    uplink_routers: str = ""  # range of this host's routers on an uplink that other hosts are on, too
    shared: str = ""  # directory that all hosts mount at this path, for disks, volumes and images; `none`: none
    evacuate: str = "auto"  # what a dead host ran starts elsewhere by itself; or manual: only when somebody asks
    shed: str = "auto"  # servers of lower priority make room for evacuated ones; or never
    allow_floating_move: bool = False  # a floating address that leads somewhere moves at a plain request, as in Neutron
    log_format: str = "text"  # text or json
    vcpu_ratio: float = 16.0  # virtual processors promised per real one
    memory_ratio: float = 1.0  # memory promised per real one
    reserved_memory_mib: int = 512  # kept for the host itself
    packages: str = "/var/cache/holdfast"  # downloaded distribution packages that guest images are built from
    clouds_yaml: str = ""  # file that `up` merges its entry into; empty: ~/.config/openstack/clouds.yaml

    @property
    def endpoint(self) -> str:
        """The base URL that clients use."""
        return self.public_url.rstrip("/") or f"http://{self.listen}:{self.port}"

    @property
    def local_endpoint(self) -> str:
        """The base URL of the replica on this machine, whatever is before it."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        return _url("http", everywhere.get(self.listen, self.listen), self.port)

    @property
    def hosts_endpoint(self) -> str:
        """The base URL of the door, as far as this machine can say it."""
        address = socket.gethostname() if self.hosts_listen in ("0.0.0.0", "::") else self.hosts_listen
        return _url("https", address, self.hosts_port)

    @property
    def images_path(self) -> Path:
        return Path(self.images) if self.images else self.state_path / "images"

    @property
    def state_path(self) -> Path:
        return Path(self.state)

    @property
    def store_url(self) -> str:
        return self.store or f"sqlite:///{self.state_path / 'store.sqlite'}"


def _url(scheme: str, address: str, port: int) -> str:
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"


def load(state: Path, environment: Mapping[str, str] = os.environ, flags: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of the cloud in `state`; raises BadInput naming the key and the file."""
    settings = Settings(state=str(state))
    path = state / "holdfast.toml"
    if path.exists():
        try:
            settings = _overlay(settings, tomllib.loads(path.read_text()), str(path))
        except tomllib.TOMLDecodeError as err:
            raise BadInput(f"{path} is not TOML: {err}") from err
    known = {f"HOLDFAST_{f.name.upper()}": f.name for f in fields(Settings)}
    named = {known[key]: value for key, value in environment.items() if key in known and key != "HOLDFAST_STATE"}
    settings = _overlay(settings, named, "the environment")
    return _overlay(settings, {k: v for k, v in (flags or {}).items() if v is not None}, "the command line")


def save(path: Path, changes: Mapping[str, Any]) -> None:
    """Put settings into the file, keeping what else is in it."""
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in changes]
    kept += [f"{key} = {json.dumps(value)}" for key, value in changes.items()]
    temporary = path.with_suffix(".new")
    temporary.write_text("\n".join(kept) + "\n")
    os.chmod(temporary, 0o600)
    os.replace(temporary, path)


def _overlay(settings: Settings, values: Mapping[str, Any], origin: str) -> Settings:
    known = {f.name: f.type for f in fields(Settings)}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise BadInput(f"{origin}: unknown setting {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        kind = type(getattr(Settings(), key))
        try:
            changes[key] = kind(value)
        except ValueError as err:
            raise BadInput(f"{origin}: {key} must be a {kind.__name__}, not {value!r}") from err
    return replace(settings, **changes)
