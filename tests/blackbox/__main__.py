"""`python -m tests.blackbox power-cuts 1000`, `... evacuations 500`: real processes and real faults, any number."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.blackbox.evacuations import Evacuations, make_cloud
from tests.blackbox.power_cuts import PowerCuts
from tests.blackbox.sampler import Sampler

HOSTS, SERVERS = 4, 48  # as many as three of them hold on two cores


def main() -> int:
    """0 when nothing that must never be was seen."""
    parser = argparse.ArgumentParser(prog="make blackbox")
    parser.add_argument("what", choices=("power-cuts", "evacuations"))
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to end, it takes its cloud along
    print(f"{options.what} {options.count}, seed {options.seed}", flush=True)
    memory = "/dev/shm" if options.what == "power-cuts" else None  # its own syncs need not reach a real disk
    with tempfile.TemporaryDirectory(prefix="hf-blackbox-", dir=memory) as room:
        program = power_cuts if options.what == "power-cuts" else evacuations
        return program(Path(room), options.count, random.Random(options.seed))


def power_cuts(room: Path, count: int, dice: random.Random) -> int:
    cuts = PowerCuts(room, dice)
    try:
        cuts.run(count)
    finally:
        print(f"{cuts.cuts} power cuts, {cuts.total} writes answered before them")
    return 0


def evacuations(room: Path, count: int, dice: random.Random) -> int:
    """Rounds until so many servers were evacuated."""
    cloud = make_cloud(room)
    rounds, began_s = Evacuations(cloud, dice, lambda words: print(words, flush=True)), time.monotonic()
    try:
        cloud.up("--hosts", str(HOSTS))
        with Sampler() as sampler:
            try:
                rounds.prepare(SERVERS)
                while rounds.moved < count:
                    rounds.round()
                    print(f"  {rounds.moved} evacuated, {len(sampler.doubles)} double runs", flush=True)
            finally:
                said = f"{rounds.moved} evacuations, {sampler.samples} samples, {sampler.met} with two processes of one"
                print(f"{said} guest, {len(sampler.doubles)} double runs, {time.monotonic() - began_s:.0f} s")
                print(dict(rounds.counts), sampler.doubles[:5])
        return 1 if sampler.doubles else 0
    finally:
        cloud.remove()


if __name__ == "__main__":
    sys.exit(main())
