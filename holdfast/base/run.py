"""The one place that starts a process.

A command is a list, never a shell line; it has a bound; its failure names the command and its last words.
Secrets are never arguments: they go in through standard input or a file.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.errors import Unavailable
from holdfast.base.limits import KILL_S

_WORDS = 400

Child = subprocess.Popen[bytes]  # for those who keep one to reap it


class CommandFailed(Unavailable):
    """A command ended with another status than 0, or not in time."""

    code = "command_failed"

    def __init__(self, argv: Sequence[str], status: int | None, words: str) -> None:
        how = "did not end in time" if status is None else f"ended with status {status}"
        super().__init__(f"{argv[0]} {how}: {words.strip()[-_WORDS:]}", detail=" ".join(argv))
        self.status = status


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> bytes:
    """Run to the end and return standard output; raises CommandFailed."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, timeout=timeout_s, env=dict(env) if env is not None else None
        )
    except subprocess.TimeoutExpired as err:
        raise CommandFailed(argv, None, (err.stderr or b"").decode("utf-8", "replace")) from err
    except OSError as err:
        raise CommandFailed(argv, 127, str(err)) from err
    if done.returncode != 0:
        raise CommandFailed(argv, done.returncode, (done.stderr or done.stdout).decode("utf-8", "replace"))
    return done.stdout


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process group ended and the first bytes of what it said; status None: it was killed at its bound."""

    status: int | None
    stdout: bytes
    stderr: bytes


def run_group(
    argv: Sequence[str], *, timeout_s: float, most_bytes: int, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> Ended:
    """Run a program that nobody vouches for, and leave nothing of its process group behind.

    It may hang, ignore signals, print without end (what is over `most_bytes` is read and dropped) or leave children
    that hold its output open. `stdin` fits into a pipe: less than 64 KiB. Raises CommandFailed only where it cannot
    start.
    """
    until = time.monotonic() + timeout_s
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=dict(env) if env is not None else None,
            cwd="/",
        )
    except OSError as err:
        raise CommandFailed(argv, 127, str(err)) from err
    assert child.stdin and child.stdout and child.stderr  # noqa: S101 (for the type checker)
    said = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    with child.stdout, child.stderr:
        with contextlib.suppress(BrokenPipeError), child.stdin:
            child.stdin.write(stdin)
        in_time = _listen(child.pid, said, most_bytes, until)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # before it is reaped: until then the number is nobody else's
        for descriptor, words in said.items():
            _hear(descriptor, words, most_bytes)
        out, err_ = (bytes(words) for words in said.values())
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(KILL_S)
    return Ended(child.returncode if in_time else None, out, err_)


def _listen(pid: int, said: dict[int, bytearray], most_bytes: int, until: float) -> bool:
    """Read until the process ends; False when it did not in time."""
    exits = os.pidfd_open(pid)
    poll = select.poll()
    try:
        for descriptor in (exits, *said):
            os.set_blocking(descriptor, False)
            poll.register(descriptor, select.POLLIN)
        while (left_s := until - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left_s * 1000):
                if descriptor == exits:
                    return True
                if not _hear(descriptor, said[descriptor], most_bytes):
                    poll.unregister(descriptor)
        return False
    finally:
        os.close(exits)


def _hear(descriptor: int, words: bytearray, most_bytes: int) -> bool:
    """Take what is there now, at most one pipe full; False at the end of the stream."""
    try:
        piece = os.read(descriptor, 1 << 20)
    except BlockingIOError:
        return True
    words += piece[: max(0, most_bytes - len(words))]
    return bool(piece)


def spawn(
    argv: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    output: int = subprocess.DEVNULL,
    user: str | None = None,
) -> Child:
    """Start a process of its own session that outlives us; `output` is a file descriptor for what it prints.

    With `user` it runs from its first instruction as that user with that user's groups, never as ours.
    """
    account = pwd.getpwnam(user) if user is not None else None
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=list(pass_fds),
        start_new_session=True,
        env=dict(env) if env is not None else None,
        cwd="/",
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=os.getgrouplist(account.pw_name, account.pw_gid) if account else None,
    )


def readable(descriptor: int, timeout_s: float) -> bool:
    """Whether there is something to read within a time; whatever its number, unlike select."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(timeout_s, 0) * 1000))


def pid_alive(pid: int, needle: str) -> bool:
    """Say whether this very process still runs: the pid lives, is no zombie, and `needle` is in its command line.

    A pid alone proves nothing: numbers are reused.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline, open(f"/proc/{pid}/stat", "rb") as stat:
            return needle.encode() in cmdline.read() and stat.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def pids_of(needle: str) -> list[int]:
    """Every live process whose command line holds `needle`: reality, for adoption and audit.

    Not this one, nor those that it was started by: the words of `sudo` and `timeout` are this one's own.
    """
    own, found = _ancestry(), [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return sorted(pid for pid in found if pid not in own and pid_alive(pid, needle))


def _ancestry() -> set[int]:
    """This process, its parent, and so on."""
    own, pid = set(), os.getpid()
    while pid and pid not in own:
        own.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return own
