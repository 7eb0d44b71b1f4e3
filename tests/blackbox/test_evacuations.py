"""One round of faults on a small cloud with real guests; `make blackbox` does them for as long as one likes."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.evacuations import Evacuations, make_cloud
from tests.blackbox.sampler import Sampler, locks_to_write
from tests.stories.livecloud import LiveCloud


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    for path in tmp_path.parents[:2]:
        os.chmod(path, 0o711)
    live = make_cloud(tmp_path)
    yield live
    live.remove()


@pytest.mark.root
@pytest.mark.qemu
@pytest.mark.skipif("HOLDFAST_TEST_BLACKBOX" not in os.environ, reason="two minutes; HOLDFAST_TEST_BLACKBOX=1 runs it")
def test_whatever_dies_beside_a_dying_host_each_guest_runs_once(cloud: LiveCloud) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)
    cloud.up("--hosts", "3")
    rounds = Evacuations(cloud, random.Random(seed))
    with Sampler() as sampler:
        rounds.prepare(servers=4)
        rounds.round()
    assert sampler.doubles == [] and sampler.samples > 100


def test_a_process_that_may_write_is_told_from_one_that_only_reads() -> None:
    line = "lock:\t1: OFDLCK ADVISORY  READ -1 fe:00:2285726"
    assert locks_to_write(f"pos:\t0\n{line} 100 101\n")
    assert not locks_to_write(f"pos:\t0\n{line} 100 100\n{line} 201 201\n")
    assert not locks_to_write("lock:\t1: FLOCK  ADVISORY  WRITE 21870 fe:00:2285733 0 EOF\n")
