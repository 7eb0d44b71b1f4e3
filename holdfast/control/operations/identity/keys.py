"""The keys that seal tokens and EC2 secrets: small files, 0600, in one directory, the newest used last.

Each file `KIND-NNNN.key` is made once, whoever starts first (link(2) refuses to replace). The newest key is
staged: it opens but does not seal, so that every replica has a copy of it before anything is sealed with
it; the one before it seals. Old token keys go after TOKEN_KEYS_KEPT rotations; keys of secrets are kept, for
what they sealed lives as long as its owner wants.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from holdfast.base.errors import Bug
from holdfast.base.limits import TOKEN_KEYS_KEPT

_NAME = re.compile(r"(tokens|secrets)-(\d{4,9})\.key")


class Keyring:
    """The keys of one kind, read again when the directory changed."""

    def __init__(self, directory: Path, kind: str) -> None:
        self._directory, self._kind = directory, kind
        for number in (1, 2):
            if len(self._numbers()) < number:
                _create(directory, kind, number)
        self._seen_ns = -1
        self._fernet = self._load()

    def seal(self, plain: bytes) -> str:
        return self._current().encrypt(plain).decode()

    def unseal(self, sealed: str) -> bytes | None:
        """What was sealed, or None when it is none of ours, or of a key that is gone."""
        try:
            return self._current().decrypt(sealed.encode())
        except (InvalidToken, UnicodeEncodeError):
            return None

    def rotate(self) -> None:
        """Make a new staged key; the staged one now seals; drop the oldest token keys."""
        numbers = self._numbers()
        _create(self._directory, self._kind, numbers[-1] + 1)
        if self._kind == "tokens":
            for number in numbers[: max(0, len(numbers) + 1 - TOKEN_KEYS_KEPT)]:
                with contextlib.suppress(FileNotFoundError):
                    _path(self._directory, self._kind, number).unlink()

    def _numbers(self) -> list[int]:
        matches = (_NAME.fullmatch(name) for name in os.listdir(self._directory))
        return sorted(int(m[2]) for m in matches if m and m[1] == self._kind)

    def _current(self) -> MultiFernet:
        if self._directory.stat().st_mtime_ns != self._seen_ns:
            self._fernet = self._load()
        return self._fernet

    def _load(self) -> MultiFernet:
        self._seen_ns = self._directory.stat().st_mtime_ns
        keys = []
        for number in reversed(self._numbers()):
            with contextlib.suppress(FileNotFoundError):  # another replica just dropped it
                keys.append(Fernet(_path(self._directory, self._kind, number).read_bytes()))
        if not keys:
            raise Bug(f"no {self._kind} key is left in {self._directory}")
        staged = keys[0]
        return MultiFernet([*keys[1:2], staged, *keys[2:]])


def _path(directory: Path, kind: str, number: int) -> Path:
    return directory / f"{kind}-{number:04d}.key"


def _create(directory: Path, kind: str, number: int) -> None:
    """Write a new key whole or not at all; whoever comes second takes the first one's."""
    draft = directory / f".{kind}-{number}-{os.getpid()}-{os.urandom(4).hex()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, Fernet.generate_key())
        os.fsync(fd)
        with contextlib.suppress(FileExistsError):
            os.link(draft, _path(directory, kind, number))
    finally:
        os.close(fd)
        draft.unlink()
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(parent)
    os.close(parent)
