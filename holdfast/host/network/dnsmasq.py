"""The dnsmasq of each network: running with the planned configuration, or made so.

Its files are in a folder of its own below /run: they hold no secret and must be readable by the user that
dnsmasq becomes. The configuration's name holds its digest, so the process's own command line says what it
runs with. A new host is a SIGHUP; a host that goes is a restart, because dnsmasq would keep the lease in
memory and refuse the address to the next port that is given it.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from holdfast.base.limits import DHCP_LOG_BYTES, NETWORK_COMMAND_S
from holdfast.base.run import pid_alive, pids_of, readable, run
from holdfast.host.network import namespace
from holdfast.host.network.plan.dhcp import Dhcp, config_text, hosts_text, names_text
from holdfast.host.network.plan.names import digest

USER = "nobody"


class Dnsmasq:
    """All dnsmasq processes of one host; `folder` holds a folder per namespace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, space: str, dhcp: Dhcp) -> bool:
        """Have it run as planned; returns whether anything was done."""
        folder = self._folder / space
        config = config_text(dhcp, folder, USER)
        path = folder / f"{digest(config)}.conf"
        hosts = hosts_text(dhcp.hosts)
        told = _read(folder / "told")
        if _alive(folder, path):
            if told == hosts:
                return False
            if set(told.splitlines()) <= set(hosts.splitlines()):
                _write(folder / "hosts", hosts)
                _write(folder / "names", names_text(dhcp.hosts))
                os.kill(_pid(folder), signal.SIGHUP)
                _write(folder / "told", hosts)  # after the signal: a crash between the two is a signal more
                return True
        self.stop(space)
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        _write(path, config)
        _write(folder / "hosts", hosts)
        _write(folder / "names", names_text(dhcp.hosts))
        namespace.inside(space, lambda: run(["dnsmasq", f"--conf-file={path}"], timeout_s=NETWORK_COMMAND_S))
        _write(folder / "told", hosts)
        return True

    def serves(self, space: str, dhcp: Dhcp) -> bool:
        """Whether it runs as planned, the last host included."""
        folder = self._folder / space
        path = folder / f"{digest(config_text(dhcp, folder, USER))}.conf"
        return _alive(folder, path) and _read(folder / "told") == hosts_text(dhcp.hosts)

    def stop(self, space: str) -> bool:
        """End it and remove its files; not there: nothing. Returns whether there was anything."""
        folder = self._folder / space
        pids = pids_of(f"--conf-file={folder}/")
        for pid in pids:
            _end(pid, f"--conf-file={folder}/")
        if not folder.is_dir():
            return bool(pids)
        for file in [*folder.iterdir()]:
            file.unlink(missing_ok=True)
        folder.rmdir()
        return True

    def found(self) -> list[str]:
        """The namespaces that have files or a process here."""
        return sorted(entry.name for entry in self._folder.iterdir()) if self._folder.is_dir() else []

    def remove_folder(self) -> None:
        """Remove the folder of all, once it is empty."""
        if self._folder.is_dir() and not self.found():
            self._folder.rmdir()

    def pids(self) -> list[int]:
        """Every process of ours, from reality."""
        return pids_of(f"--conf-file={self._folder}/")

    def cut_logs(self) -> None:
        """Keep what hostile guests make dnsmasq say within its bound."""
        for space in self.found():
            log = self._folder / space / "log"
            if log.exists() and log.stat().st_size > DHCP_LOG_BYTES:
                os.truncate(log, 0)


def _alive(folder: Path, config: Path) -> bool:
    pid = _pid(folder)
    return pid > 0 and pid_alive(pid, f"--conf-file={config}")


def _pid(folder: Path) -> int:
    text = _read(folder / "pid").strip()
    return int(text) if text.isdigit() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o644)
    os.replace(fresh, path)


def _end(pid: int, needle: str) -> None:
    """Kill and wait until its sockets are closed: the next one needs them. A dying process has no command line."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if pid_alive(pid, needle):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                readable(descriptor, NETWORK_COMMAND_S)
        finally:
            os.close(descriptor)
