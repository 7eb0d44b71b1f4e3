"""The machine that figures were measured on: without it they mean nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import Any


def describe() -> dict[str, Any]:
    """Processor, memory, kernel, programs, and how busy the machine was before the run."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _first("/proc/cpuinfo", "model name"),
        "memory_mib": int(_first("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "qemu": _qemu(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _first(path: str, name: str) -> str:
    with open(path) as file:
        for line in file:
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return "0"


def _qemu() -> str:
    if shutil.which("qemu-system-x86_64") is None:
        return "none"
    said = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, check=True).stdout.decode()
    return said.splitlines()[0].removeprefix("QEMU emulator version ")
