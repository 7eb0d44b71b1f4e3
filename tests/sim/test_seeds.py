"""Seeds of the simulation, in processes of their own: nothing that must never be is seen, and enough has happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.sim.faults import FAULTS

ROOT = Path(__file__).parents[2]
SHARDS, SEEDS = 2, 50  # both at once; 100 to 160 s of a core in all
HAPPENED = {  # in all of them: without it "0 violations" would mean little
    "requests accepted": 500,
    "act server_evacuate done": 10,
    "fenced by lease": 10,
    "registrations": 150,
}


def test_whatever_fails_nothing_runs_twice_is_lost_or_is_left_behind() -> None:
    with ThreadPoolExecutor(SHARDS) as pool:
        told = list(pool.map(ran, range(SHARDS)))
    counts: Counter[str] = Counter()
    for code, happened, said in told:
        assert code == 0, said
        counts += happened
    for what, least in HAPPENED.items():
        assert counts[what] >= least, f"only {counts[what]} times: {what}"
    missing = [name for name in FAULTS if not counts[f"fault {name}"]]
    assert not missing, f"never happened in {SHARDS * SEEDS} seeds: {missing}"


def ran(shard: int) -> tuple[int, Counter[str], str]:
    """Run one shard's seeds; each is told by its number alone, whatever ran before it."""
    first = 1 + shard * SEEDS
    command = [sys.executable, "-m", "tests.sim", "--first", str(first), "--seeds", str(SEEDS), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    lines = done.stdout.splitlines()
    counts: Any = json.loads(lines[-1])["counts"] if lines and lines[-1].startswith("{") else {}
    return done.returncode, Counter(counts), done.stdout + done.stderr


def test_a_seed_tells_the_same_story_after_others_and_in_another_process() -> None:
    program = (
        "from tests.sim.cluster import run_seed; from tests.sim.stores import forget_ground; import sys; "
        "print([run_seed(int(s))[1] for s in sys.argv[1:]][-1]); forget_ground()"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program, *seeds],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
        for seeds in (["4"], ["7", "4"], ["4"])
    }
    assert len(told) == 1 and len(told.pop()) == 65
