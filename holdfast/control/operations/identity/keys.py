"""The keys that seal tokens and secrets: rows that every replica reads, the newest used last.

Each is sealed with the cloud's key, a file (0600) of which each control replica has a copy: a copy of the store alone
opens nothing.

The newest key of a kind is staged: it opens but does not seal, so that every replica knows it before anything is
sealed with it; the one before it seals. Old token keys go after TOKEN_KEYS_KEPT rotations; keys of secrets are kept,
for what they sealed lives as long as its owner wants.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from holdfast.base.clock import Clock
from holdfast.base.errors import Unavailable
from holdfast.base.limits import KEYS_LOOK_S, KEYS_LOOK_SOON_S, TOKEN_KEYS_KEPT
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.identity.sealing_key import sealing_key_add, sealing_keys, sealing_keys_drop

KINDS = ("tokens", "secrets")
CLOUD_KEY = "cloud.key"
_OF_FILES = re.compile(r"(tokens|secrets)-(\d{4,9})\.key")  # each a file of its own, before several replicas were


class Keyring:
    """The keys of one kind, read again from time to time, and when something does not open."""

    def __init__(self, store: Database, clock: Clock, cloud: Fernet, kind: str) -> None:
        self._store, self._clock, self._cloud, self._kind = store, clock, cloud, kind
        self._fernet, self._looked_s = self._load(), clock.monotonic_s()

    def seal(self, plain: bytes) -> str:
        return self._known(KEYS_LOOK_S).encrypt(plain).decode()

    def unseal(self, sealed: str) -> bytes | None:
        """What was sealed, or None when it is none of ours, or of a key that is gone."""
        for age_s in (KEYS_LOOK_S, KEYS_LOOK_SOON_S):
            try:
                return self._known(age_s).decrypt(sealed.encode())
            except (InvalidToken, UnicodeEncodeError):
                continue  # perhaps of a key that another replica just made
        return None

    def rotate(self) -> None:
        """Make a new staged key; the staged one now seals; drop the oldest token keys."""

        def change(tx: Tx) -> None:
            newest = sealing_keys(tx, self._kind)[-1][0]
            sealing_key_add(tx, self._kind, newest + 1, _new_key(self._cloud))
            if self._kind == "tokens":
                sealing_keys_drop(tx, self._kind, newest + 2 - TOKEN_KEYS_KEPT)

        self._store.write(change)
        self._fernet = self._load()

    def _known(self, age_s: float) -> MultiFernet:
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s >= age_s:
            self._looked_s = now_s  # first: whoever comes meanwhile does not look as well
            self._fernet = self._load()
        return self._fernet

    def _load(self) -> MultiFernet:
        rows = self._store.read(lambda tx: sealing_keys(tx, self._kind))
        staged, *older = [Fernet(_opened(self._cloud, sealed)) for _, sealed in reversed(rows)]
        return MultiFernet([*older[:1], staged, *older[1:]])


def keys_prepare(store: Database, directory: Path) -> Fernet:
    """Return the cloud's key; make it, and the first keys of each kind, for a store that has none.

    Raises Unavailable where the store has keys and this machine has not the key that opens them.
    """
    has_keys = bool(store.read(lambda tx: sealing_keys(tx, KINDS[0])))
    path = directory / CLOUD_KEY
    if has_keys and not path.exists():
        raise Unavailable(f"{path} is missing: {_ADVICE}", code="cloud_key", retryable=False)
    if not path.exists():
        _create(path)
    cloud = Fernet(path.read_bytes())
    if not has_keys:
        store.write(lambda tx: _begin(tx, cloud, directory))
    try:
        for _, sealed in store.read(lambda tx: sealing_keys(tx, KINDS[0])):
            _opened(cloud, sealed)
    except InvalidToken as err:
        raise Unavailable(f"{path} is of another cloud: {_ADVICE}", code="cloud_key", retryable=False) from err
    return cloud


_ADVICE = "it opens the keys in the store. Copy it from a control replica of this cloud, to the same place"


def _begin(tx: Tx, cloud: Fernet, directory: Path) -> None:
    """The first keys: those that were files, or new ones."""
    if sealing_keys(tx, KINDS[0]):
        return  # another replica was first
    for kind in KINDS:
        found = {int(m[2]): p for p in directory.iterdir() if (m := _OF_FILES.fullmatch(p.name)) and m[1] == kind}
        for number, path in found.items():
            sealing_key_add(tx, kind, number, cloud.encrypt(path.read_bytes()).decode())
        for number in (1, 2) if not found else ():
            sealing_key_add(tx, kind, number, _new_key(cloud))


def _new_key(cloud: Fernet) -> str:
    return cloud.encrypt(Fernet.generate_key()).decode()


def _opened(cloud: Fernet, sealed: str) -> bytes:
    return cloud.decrypt(sealed.encode())


def _create(path: Path) -> None:
    """Write a new key whole or not at all; whoever comes second takes the first one's."""
    draft = path.with_name(f".{path.name}-{os.getpid()}-{os.urandom(4).hex()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, Fernet.generate_key())
        os.fsync(fd)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(fd)
        draft.unlink()
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(parent)
    os.close(parent)
