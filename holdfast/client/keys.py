"""The ssh key of the command line: made here, never sent; the cloud gets its public half.

The private key is written by ssh-keygen (0600) below a directory that only its owner may enter. The pair is called
`holdfast` in the cloud; when the cloud has another key of that name, the name gets the key's own digits.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import quote

from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.base.limits import KEY_MAKE_S
from holdfast.base.run import run
from holdfast.client.cloud import Cloud
from holdfast.client.text import one_line

PAIR = "holdfast"
NAME_CHARS_MAX = 200  # of a server's name in its key pair's; 255 are a key pair's own limit
_DIGITS = 8
_KINDS = ("ssh-", "ecdsa-", "sk-")


def private_key_ensure(path: Path) -> Path:
    """Make the key unless it is there, and its directory; returns `path`."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "holdfast", "-f", str(temporary)]
        run(argv, timeout_s=KEY_MAKE_S)
        os.replace(f"{temporary}.pub", f"{path}.pub")
        os.replace(temporary, path)
    return path


def public_key_read(path: Path) -> str:
    """The public key of a private key's file, or in a public key's own; BadInput when there is none."""
    place = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
    try:
        words = place.read_text().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise BadInput(f"{place} is no public key that can be read; next: ssh-keygen -y -f {path} > {place}") from err
    if not words.startswith(_KINDS) or len(words.splitlines()) != 1:
        raise BadInput(f"{place} is no ssh public key: it must be one line that begins with ssh- or ecdsa-")
    return words


def key_pair_ensure(cloud: Cloud, public_key: str, name: str = PAIR) -> str:
    """The name of the cloud's key pair with this public key; made when it is missing."""
    other = f"{name}-{hashlib.sha256(_material(public_key).encode()).hexdigest()[:_DIGITS]}"
    for candidate in (name, other):
        known = _public_key(cloud, candidate)
        if known is None:
            try:
                cloud.post("compute", "/os-keypairs", {"keypair": {"name": candidate, "public_key": public_key}})
            except Conflict:
                known = _public_key(cloud, candidate)  # somebody was faster: with our key, or with another
            else:
                return candidate
        if known is not None and _material(known) == _material(public_key):
            return candidate
    raise Conflict(f"key pair {one_line(other)!r} is there with another key; next: openstack keypair delete {other}")


def key_pair_name(server_name: str) -> str:
    """What the key pair of one server is called: the server's name as far as a key pair's may have it."""
    return f"{PAIR}-{''.join(c if c.isascii() and c.isalnum() else '-' for c in server_name)[:NAME_CHARS_MAX]}"


def key_pair_delete(cloud: Cloud, name: str) -> None:
    """Delete a key pair; gone already: nothing."""
    try:
        cloud.delete("compute", f"/os-keypairs/{quote(name, safe='')}")
    except NotFound:
        return


def _public_key(cloud: Cloud, name: str) -> str | None:
    try:
        return str(cloud.get("compute", f"/os-keypairs/{quote(name, safe='')}")["keypair"]["public_key"])
    except NotFound:
        return None


def _material(public_key: str) -> str:
    """Kind and digits: the comment says nothing about which key it is."""
    return " ".join(public_key.split()[:2])
