"""From the proof that a host is dead to its servers' start elsewhere nothing waits for a period of anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from holdfast.base.limits import FENCE_LOOK_S
from holdfast.host.agent.agent import RETRY_S

ROOT = Path(__file__).parents[2]


def test_servers_of_a_fenced_host_start_elsewhere_and_hosts_report_before_anybody_looks_again() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim.pace"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    elsewhere_s, reported_s = map(float, done.stdout.split())
    assert elsewhere_s < FENCE_LOOK_S  # the shortest period there is; by the simulation's own clock
    assert reported_s < RETRY_S / 2  # between two looks of an agent: one that has just registered does not wait
