"""`python -m tests.blackbox power-cuts 1000`, `... evacuations 500`: real processes and real faults, any number."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.blackbox.power_cuts import PowerCuts


def main() -> int:
    """0 when nothing that must never be was seen."""
    parser = argparse.ArgumentParser(prog="make blackbox")
    parser.add_argument("what", choices=("power-cuts", "evacuations"))
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"{options.what} {options.count}, seed {options.seed}", flush=True)
    memory = "/dev/shm" if options.what == "power-cuts" else None  # its own syncs need not reach a real disk
    with tempfile.TemporaryDirectory(prefix="hf-blackbox-", dir=memory) as room:
        return power_cuts(Path(room), options.count, random.Random(options.seed))


def power_cuts(room: Path, count: int, dice: random.Random) -> int:
    cuts = PowerCuts(room, dice)
    try:
        cuts.run(count)
    finally:
        print(f"{cuts.cuts} power cuts, {cuts.total} writes answered before them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
