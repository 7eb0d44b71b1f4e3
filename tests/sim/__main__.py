"""`python -m tests.sim`: many seeds and what they went through, or one seed with its whole story."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter

from tests.sim.cluster import SeedFailed, run_seed
from tests.sim.stores import forget_ground

TOLD_EACH = 50  # seeds: whoever ends a long run knows how far it came


def main() -> int:
    """0 when nothing that must never be was seen."""
    parser = argparse.ArgumentParser(prog="make sim")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="end with the counts as one line of JSON")
    parser.add_argument("--seed", type=int, help="replay this one, and tell everything")
    options = parser.parse_args()
    try:
        return replay(options.seed) if options.seed is not None else many(options.first, options.seeds, options.json)
    finally:
        forget_ground()


def replay(seed: int) -> int:
    try:
        counts, story = run_seed(seed, lambda line: print(line))
    except SeedFailed as err:
        print(f"VIOLATION {err}".split("\n", 1)[0])
        return 1
    print(dict(counts), story)
    return 0


def many(first: int, count: int, as_json: bool) -> int:
    total: Counter[str] = Counter()
    bad, began = [], time.process_time()
    for seed in range(first, first + count):
        try:
            counts, _ = run_seed(seed)
            total += counts
        except SeedFailed as err:
            bad.append(seed)
            print(f"VIOLATION {err}\n", flush=True)
        if not as_json and (seed + 1 - first) % TOLD_EACH == 0:
            print(f"{seed + 1 - first} seeds, {len(bad)} violations", flush=True)
    for what, number in sorted(total.items()):
        if not as_json:
            print(f"{number:8d} {what}")
    print(f"{count} seeds, {len(bad)} violations {bad[:20]}, {time.process_time() - began:.1f} s of a core")
    if as_json:
        print(json.dumps({"counts": total, "bad": bad}))
    return 1 if bad else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets are walked in one order, or a seed is not one story
        again = [sys.executable, "-m", "tests.sim", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
