"""A few power cuts of the store; `make blackbox` does a thousand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.blackbox.power_cuts import PowerCuts

CUTS = 12


@pytest.mark.root
def test_no_answered_write_is_lost_however_often_the_power_goes(tmp_path: Path) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)
    cuts = PowerCuts(tmp_path, random.Random(seed))
    cuts.run(CUTS)
    assert cuts.cuts == CUTS and cuts.total > CUTS
