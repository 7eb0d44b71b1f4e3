"""Where things are in a state directory. Everything of one cloud is below it, and nothing else is.

holdfast.toml      settings; may be absent
replica            the name of this control replica, made once
credentials.json   what `up` made for its users (0600)
store.sqlite       the store (with -wal, -shm and .lock)
keys/              the cloud's key, which opens those in the store (0700)
publics.json       the public networks' ranges and gateways, for a machine with several hosts
images/            the image service's files, unless a setting names another directory
hosts/NAME/        one compute host: id, token, seat, machines/, disks/, cache/, reached/, network/; one that joined
                   another machine's cloud has key.pem, certificate.pem and authority.pem as well
joining/           what becomes hosts/NAME once that cloud has answered
logs/              one file per process
run/               locks of the running processes
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The paths of one cloud."""

    state: Path

    @property
    def credentials(self) -> Path:
        return self.state / "credentials.json"

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def publics(self) -> Path:
        return self.state / "publics.json"

    @property
    def images(self) -> Path:
        return self.state / "images"

    @property
    def joining(self) -> Path:
        return self.state / "joining"

    def host(self, name: str) -> Path:
        return self.state / "hosts" / name

    def unplugged(self, name: str) -> Path:
        """A file that is there while a host has its plug pulled (daemon/plug)."""
        return self.host(name) / "unplugged"

    def make(self) -> None:
        """Make the directories; what is there stays as it is."""
        for path in (self.state, self.run, self.logs, self.images, self.state / "keys", self.state / "hosts"):
            path.mkdir(mode=0o711 if path == self.state else 0o700, parents=True, exist_ok=True)
        os.chmod(self.state / "keys", 0o700)  # it may have come from another replica, in an archive
        os.chmod(self.state / "hosts", 0o711)  # noqa: S103 (an unprivileged QEMU reaches its own disks below)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
