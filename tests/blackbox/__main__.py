"""`python -m tests.blackbox power-cuts 1000`, `... evacuations 500`, `... deletes 200`, `... clocks 1`: real faults."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.blackbox import deletes
from tests.blackbox.clocks import STEPS_S, Clocks, clocks_cloud
from tests.blackbox.deletes import Deletes
from tests.blackbox.evacuations import Evacuations, make_cloud
from tests.blackbox.power_cuts import PowerCuts
from tests.blackbox.sampler import Sampler

HOSTS, SERVERS = 4, 48  # as many as three of them hold on two cores


def main() -> int:
    """0 when nothing that must never be was seen."""
    parser = argparse.ArgumentParser(prog="make blackbox")
    parser.add_argument("what", choices=sorted(PROGRAMS))
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to end, it takes its cloud along
    print(f"{options.what} {options.count}, seed {options.seed}", flush=True)
    memory = "/dev/shm" if options.what == "power-cuts" else None  # its own syncs need not reach a real disk
    with tempfile.TemporaryDirectory(prefix="hf-blackbox-", dir=memory) as room:
        ended = PROGRAMS[options.what](Path(room), options.count, random.Random(options.seed))
        print(f"seed {options.seed}: {'something is wrong' if ended else 'as it should be'}")
        return ended


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


def servers_deleted(room: Path, count: int, dice: random.Random) -> int:
    """So many servers, each deleted while it is made."""
    cloud = make_cloud(room, deletes.FLAGS)
    judged, began_s = Deletes(cloud, dice, lambda words: print(words, flush=True)), time.monotonic()
    try:
        cloud.up()
        with Sampler() as sampler:
            judged.run(count)
        left = judged.left + [words for words in sampler.doubles if words.split()[0] in judged.ids]
        said = ", ".join(f"{number} {moment}" for moment, number in sorted(judged.counts.items()))
        ran, lasted_s = len(sampler.seen & judged.ids), time.monotonic() - began_s
        print(f"{count} deleted: {said}; {ran} had a QEMU process, {lasted_s:.0f} s")
        print("\n".join(left) or "nothing is left of them")
        return 1 if left else 0
    finally:
        cloud.remove()


def clocks(room: Path, count: int, dice: random.Random) -> int:
    """So many rounds of steps of the clock, in each of which a host dies twice."""
    cloud, began_s = clocks_cloud(room), time.monotonic()
    judged = Clocks(cloud, dice, lambda words: print(words, flush=True))
    try:
        cloud.up("--hosts", "3")
        with Sampler() as sampler:
            judged.prepare(6)
            for _ in range(count):
                for by_s in STEPS_S:
                    judged.step(by_s)
                judged.host_dies(dice.choice((90, 3600, 86_400)))
                judged.host_dies(dice.choice((-90, -3600, -86_400)))
        wrong = [*judged.wrong, *sampler.doubles]
        print(f"{count} rounds in {time.monotonic() - began_s:.0f} s, {judged.made} servers made after a step: {wrong}")
        return 1 if wrong else 0
    finally:
        cloud.remove()


PROGRAMS = {"clocks": clocks, "power-cuts": power_cuts, "evacuations": evacuations, "deletes": servers_deleted}

if __name__ == "__main__":
    sys.exit(main())
