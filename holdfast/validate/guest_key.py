"""A guest's private key for one loop: a file that only its owner may read, in a directory that goes with it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from holdfast.base.errors import HoldfastError
from holdfast.base.limits import KEY_MAKE_S, SSH_COMMAND_S
from holdfast.base.run import CommandFailed, run
from holdfast.client.shell import Reach, greets, ssh_run


class GuestKey:
    """One key and what ssh remembers while it is used."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="holdfast-smoke-"))
        self.path = self._directory / "key"

    def keep(self, material: str) -> None:
        """Write a private key that the cloud made."""
        if "PRIVATE KEY" not in material:
            raise HoldfastError("no private key came back", code="no_private_key")
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(material if material.endswith("\n") else material + "\n")

    def make(self) -> str:
        """Make a pair here and return its public key."""
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.path)], timeout_s=KEY_MAKE_S)
        return self.path.with_suffix(".pub").read_text().strip()

    def reach(self, server_id: str, address: str, user: str) -> Reach:
        return Reach(server_id, address, user, self.path, self._directory / "known_hosts")

    def forget(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._directory, ignore_errors=True)


def command_answers(reach: Reach, mark: str) -> bool:
    """Say whether the guest runs a command and it prints what it must; False while there is no ssh yet.

    A guest that still boots refuses the key or the connection; that is waited for by the caller, up to its bound.
    """
    if not greets(reach.address):
        return False
    try:
        return mark.encode() in ssh_run(reach, ["echo", mark], SSH_COMMAND_S)
    except CommandFailed:
        return False
