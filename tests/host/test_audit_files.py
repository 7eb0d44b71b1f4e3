"""The audit's look at a host's files: in its own directories, and in those that hosts share."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.daemon.audit import files_audit
from holdfast.daemon.storage import CHOICE
from holdfast.domain.desired import HostUpdate, VolumeFile

MINE, THEIRS = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
UPDATE = HostUpdate(1, True, (), None, (VolumeFile(MINE, 1, True, True, 1, None, ""),))


@pytest.mark.parametrize("shared", [False, True])
def test_a_made_volume_is_looked_for_where_it_is_and_others_files_are_strangers_only_at_home(
    tmp_path: Path, shared: bool
) -> None:
    home, root = tmp_path / "h1", tmp_path / ("shared" if shared else "h1")
    for path in (home, root / "disks" / THEIRS, root / "volumes"):
        path.mkdir(parents=True, exist_ok=True)
    (home / CHOICE).write_text(f"{root if shared else ''}\n")
    (root / "volumes" / f"{THEIRS}.raw").touch()
    strangers = set() if shared else {"file-unknown"}
    assert {code for code, *_ in files_audit(home, UPDATE)} == {"file-missing"} | strangers
    (root / "volumes" / f"{MINE}.raw").touch()
    assert {code for code, *_ in files_audit(home, UPDATE)} == strangers
