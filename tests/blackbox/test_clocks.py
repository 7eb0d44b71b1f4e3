"""A few steps of the clock of a small cloud with real guests; `make blackbox WHAT=clocks` does all of them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.clocks import Clocks, SteppedCloud, clocks_cloud
from tests.blackbox.sampler import Sampler


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[SteppedCloud]:
    for path in tmp_path.parents[:2]:
        os.chmod(path, 0o711)
    live = clocks_cloud(tmp_path)
    yield live
    live.remove()


@pytest.mark.root
@pytest.mark.qemu
@pytest.mark.skipif("HOLDFAST_TEST_BLACKBOX" not in os.environ, reason="two minutes; HOLDFAST_TEST_BLACKBOX=1 runs it")
def test_whoever_sets_the_clock_kills_nobody(cloud: SteppedCloud) -> None:
    cloud.up("--hosts", "3")
    clocks = Clocks(cloud, random.Random(1))
    with Sampler() as sampler:
        clocks.prepare(servers=3)
        clocks.step(86_400)
        clocks.host_dies(-3600)
    assert clocks.wrong == sampler.doubles == [] and sampler.samples > 100
