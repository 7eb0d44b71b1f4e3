"""A few servers that are deleted while they are made; `make blackbox WHAT=deletes` does two hundred."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.deletes import FLAGS, Deletes
from tests.blackbox.evacuations import make_cloud
from tests.stories.livecloud import LiveCloud

SERVERS = 6


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    for path in tmp_path.parents[:2]:
        os.chmod(path, 0o711)
    live = make_cloud(tmp_path, FLAGS)
    yield live
    live.remove()


@pytest.mark.root
@pytest.mark.qemu
def test_nothing_is_left_of_servers_that_are_deleted_while_they_are_made(cloud: LiveCloud) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)
    cloud.up()
    deletes = Deletes(cloud, random.Random(seed))
    deletes.run(SERVERS)
    assert deletes.left == []
    assert deletes.ended == SERVERS
