"""From the proof that a host is dead to its servers' start elsewhere nothing waits for a period of anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from holdfast.base.limits import FENCE_LOOK_S

ROOT = Path(__file__).parents[2]


def test_twenty_servers_of_a_fenced_host_start_elsewhere_before_anybody_looks_again() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim.pace"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < FENCE_LOOK_S  # the shortest period there is; by the simulation's own clock
