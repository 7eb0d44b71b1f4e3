"""A store whose files are damaged is not started on: FAULTS DBT-11. What a power cut leaves is not damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdfast.base.config import Settings
from holdfast.base.errors import Unavailable
from holdfast.control.store.database import Database
from holdfast.control.store.quota import quota_set
from holdfast.daemon.bootstrap import opened
from tests.blackbox.power_cuts import kept
from tests.conftest import HeldClock

PAGE, HEADER, FRAME = 4096, 32, 24
WRITES = 12


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a cloud whose processes were killed: its last writes are in the log of the store, and nowhere else."""
    lived, state = tmp_path / "lived", tmp_path / "state"
    lived.mkdir()
    state.mkdir()
    with opened(Settings(state=str(lived))):
        pass
    store = Database(Settings(state=str(lived)).store_url, HeldClock().now_us)
    for number in range(WRITES):
        store.write(lambda tx, key=f"p{number}": quota_set(tx, key, {"cores": 1}))  # type: ignore[misc]
    for file in lived.glob("*.sqlite*"):
        shutil.copyfile(file, state / file.name)
    store.close()
    return Settings(state=str(state))


def files(settings: Settings) -> tuple[Path, Path]:
    path = Path(settings.store_url.removeprefix("sqlite:///"))
    return path, path.with_name(f"{path.name}-wal")


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def frames(log: Path) -> int:
    return (log.stat().st_size - HEADER) // (FRAME + PAGE)


def test_a_store_that_a_kill_left_is_whole_and_has_every_answered_write(settings: Settings) -> None:
    path, log = files(settings)
    assert frames(log) >= WRITES
    with opened(settings):
        pass
    assert kept(path.parent) == {f"p{number}" for number in range(WRITES)}


def refused(settings: Settings) -> str:
    """Why it is not opened; nothing of what is there may have changed but that SQLite wrote its log into the file."""
    with pytest.raises(Unavailable) as caught, opened(settings):
        pass
    assert (caught.value.code, caught.value.retryable) == ("store_damaged", False)
    return caught.value.message


@pytest.mark.parametrize("number", [0, 1, WRITES // 2])
@pytest.mark.parametrize("at", [0, FRAME - 1, FRAME + PAGE // 2])
def test_one_wrong_byte_in_the_log_is_told_before_answered_writes_are_forgotten(
    number: int, at: int, settings: Settings
) -> None:
    path, log = files(settings)
    where = HEADER + number * (FRAME + PAGE) + at
    overwrite(log, where, bytes([log.read_bytes()[where] ^ 0x10]))
    before = {file: file.read_bytes() for file in (path, log)}
    words = refused(settings)
    assert f"page {number + 1} of it is wrong" in words and str(log) in words
    assert {file: file.read_bytes() for file in (path, log)} == before


@pytest.mark.parametrize("cut_bytes", [1, PAGE - 1, FRAME + PAGE - 1])
def test_a_last_write_that_was_cut_off_is_no_damage_and_the_others_are_there(
    cut_bytes: int, settings: Settings
) -> None:
    path, log = files(settings)
    with log.open("r+b") as file:
        file.truncate(HEADER + frames(log) * (FRAME + PAGE) - cut_bytes)
    with opened(settings):
        pass
    assert kept(path.parent) == {f"p{number}" for number in range(WRITES - 1)}


def test_a_last_write_whose_pages_came_out_of_order_is_no_damage(settings: Settings, tmp_path: Path) -> None:
    path, log = files(settings)
    store = Database(settings.store_url, HeldClock().now_us)
    before = frames(log)
    store.write(lambda tx: quota_set(tx, "large" * 4 * PAGE, {"cores": 1}))
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in path.parent.glob("*.sqlite*"):
        shutil.copyfile(file, cut / file.name)
    store.close()
    assert frames(cut / log.name) > before + 2
    overwrite(cut / log.name, HEADER + before * (FRAME + PAGE) + FRAME, bytes(PAGE))  # its first one never arrived
    with opened(Settings(state=str(cut))):
        pass
    assert kept(cut) == {f"p{number}" for number in range(WRITES)}


@pytest.mark.parametrize("page", [0, 1, 40])
def test_a_wrong_page_of_the_store_is_told(page: int, settings: Settings) -> None:
    path, log = files(settings)
    with opened(settings):
        pass  # and with it the log is in the file
    assert not log.exists()
    overwrite(path, page * PAGE, b"\xff" * PAGE)
    words = refused(settings)
    assert str(path) in words and "copy of the store" in words and ".recover" in words


def test_a_store_that_lost_its_end_is_told(settings: Settings) -> None:
    path, log = files(settings)
    log.unlink()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert str(path) in refused(settings)


def test_a_store_that_is_made_only_now_is_whole(tmp_path: Path) -> None:
    with opened(Settings(state=str(tmp_path))):
        pass
    assert kept(tmp_path) == set()
