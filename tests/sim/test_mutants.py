"""Each safety mechanism, removed: some seed must turn red, and the same seed is green with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
SEEDS_MAX = 60
PROGRAM = """
import sys
from tests.sim.cluster import SeedFailed, run_seed
from tests.sim.mutants import MUTANTS
from tests.sim.stores import forget_ground
mutant = next(m for m in MUTANTS if m.name == sys.argv[1])
try:
    for seed in (mutant.seed, *range(1, int(sys.argv[2]))):
        try:
            run_seed(seed, mutant=mutant, kinds=mutant.faults, operators=mutant.operators)
        except SeedFailed as err:
            print("CAUGHT", seed, str(err).splitlines()[0])
            run_seed(seed, kinds=mutant.faults, operators=mutant.operators)
            break
finally:
    forget_ground()
"""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mechanism_that_is_gone_is_missed(mutant: Mutant) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mutant.name, str(SEEDS_MAX)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CAUGHT"), f"{SEEDS_MAX} seeds did not see that it is gone"
