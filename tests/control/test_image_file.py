"""Rows and files of the image service agree again after any death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from holdfast.base.errors import NoCapacity, Unavailable
from holdfast.base.ids import new_id
from holdfast.control.operations.image import image_create, image_new
from holdfast.control.operations.image_file import MARK, Upload, image_path, image_sweep, images_claim
from holdfast.control.store.database import Database
from holdfast.control.store.image import (
    image_delete,
    image_directory,
    image_directory_mark,
    image_fetch,
    image_move,
)
from holdfast.domain.image import Image, Status
from tests.conftest import HeldClock, open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path: Path, database: Database) -> Path:
    directory = tmp_path / "images"
    directory.mkdir()
    images_claim(database, directory)
    return directory


def names(directory: Path) -> list[str]:
    """What is in it, but for its mark."""
    return [path.name for path in directory.iterdir() if path.name != MARK]


@pytest.fixture
def database(tmp_path: Path, clock: HeldClock) -> Iterator[Database]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}", clock)
    yield opened
    opened.close()


def make(store: Database) -> Image:
    return store.write(lambda tx: image_create(tx, image_new(tx, "blue", disk_format="raw", container_format="bare")))


def written(store: Database, files: Path, image: Image) -> Upload:
    upload = Upload(files, image.id)
    assert store.write(lambda tx: image_move(tx, image.id, "upload", upload.name))
    for future in upload.put(b"x" * 600):
        future.result()
    return upload


def finish(store: Database, image: Image, upload: Upload) -> bool:
    found, md5, sha512 = upload.seal("raw")
    values = {"content": found.format, "virtual_bytes": 600, "size_bytes": 600, "md5": md5, "sha512": sha512}
    return store.write(lambda tx: image_move(tx, image.id, "finish", upload.name, **values))


def status(store: Database, image: Image) -> Status:
    found = store.read(lambda tx: image_fetch(tx, image.id))
    assert found is not None
    return found.status


def test_a_sweep_leaves_the_living_alone(database: Database, files: Path) -> None:
    image = make(database)
    upload = written(database, files, image)
    assert image_sweep(database, files) == {}
    assert finish(database, image, upload)
    assert image_sweep(database, files) == {}  # sealed and named, the lock still held
    upload.close()
    assert image_sweep(database, files) == {}
    now = database.read(lambda tx: image_fetch(tx, image.id))
    assert now is not None and image_path(files, now).read_bytes() == b"x" * 600


def test_a_file_whose_row_is_gone_is_removed_once_nobody_writes_it(database: Database, files: Path) -> None:
    image = make(database)
    upload = written(database, files, image)
    database.write(lambda tx: image_delete(tx, image.id))
    assert image_sweep(database, files) == {}
    assert not finish(database, image, upload)
    upload.close()
    assert image_sweep(database, files) == {"removed": 1}
    assert names(files) == []


def test_strangers_files_are_never_removed(database: Database, files: Path) -> None:
    for name in ("README", f"{new_id()}.backup", "a.b.part", f"{new_id()}"):
        (files / name).write_bytes(b"mine")
    assert image_sweep(database, files) == {}
    assert len(names(files)) == 4


def test_a_missing_file_is_reported_and_nothing_is_changed(database: Database, files: Path) -> None:
    image = make(database)
    upload = written(database, files, image)
    assert finish(database, image, upload)
    upload.close()
    (files / f"{image.id}.{upload.name}").unlink()
    assert image_sweep(database, files) == {"missing": 1}
    assert status(database, image) is Status.ACTIVE


def test_a_directory_that_is_not_mounted_is_not_taken_for_an_empty_one(database: Database, files: Path) -> None:
    image = make(database)
    upload = written(database, files, image)
    assert finish(database, image, upload)
    upload.close()
    other = files.with_name("elsewhere")
    with pytest.raises(Unavailable, match=r"is not there.*mount it"):
        images_claim(database, other)
    other.mkdir()
    with pytest.raises(Unavailable, match="does not have the images of this cloud"):
        images_claim(database, other)
    making = make(database)
    begun = written(database, files, making)
    assert image_sweep(database, other) == {}  # neither is what another replica writes given up
    assert status(database, making) is Status.SAVING
    begun.close()
    assert names(other) == []


def test_images_that_were_there_before_marks_were_are_looked_for(database: Database, files: Path) -> None:
    image = make(database)
    upload = written(database, files, image)
    assert finish(database, image, upload)
    upload.close()
    database.write(lambda tx: tx.run(delete(image_directory_mark)))
    (files / MARK).unlink()
    other = files.with_name("elsewhere")
    other.mkdir()
    with pytest.raises(Unavailable, match="no image of this cloud is in"):
        images_claim(database, other)
    images_claim(database, files)
    images_claim(database, files)
    (files / MARK).unlink()
    with pytest.raises(Unavailable, match=rf"If it is a copy of theirs, write {database.read(image_directory)} into"):
        images_claim(database, files)
    (files / MARK).write_text(database.read(image_directory) + "\n")
    images_claim(database, files)


UPLOADER = """
import os, sys, threading
from pathlib import Path
from sqlalchemy import event
from tests.conftest import HeldClock
from tests.control.test_image_file import finish, written
from holdfast.control.store.database import Database
from holdfast.control.store.image import image_fetch
def upload(state, image_id, steps):
    left = [steps]
    def die(*_):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), 9)
    store = Database(f"sqlite:///{state / 'store.sqlite'}", HeldClock().now_us)
    image = store.read(lambda tx: image_fetch(tx, image_id))
    for name in ("rename", "fsync", "open", "write", "pwrite", "unlink"):
        real = getattr(os, name)
        def counted(*a, _real=real, **k):
            die()
            return _real(*a, **k)
        setattr(os, name, counted)
    event.listen(store._writer, "before_cursor_execute", die)
    event.listen(store._writer, "commit", die)
    upload = written(store, state / "images", image)
    assert finish(store, image, upload)
    upload.close()
for line in sys.stdin:  # forked, so that what takes a second to import is imported once
    image_id, steps = line.split()
    child = os.fork()
    if not child:
        upload(Path(sys.argv[1]), image_id, int(steps))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_before_any_step_the_image_is_queued_or_whole(database: Database, files: Path, tmp_path: Path) -> None:
    """IMG-19: SIGKILL before each file operation and each statement of an upload, in a process of its own."""
    outcomes: list[Status] = []
    argv, pipe = [sys.executable, "-c", UPLOADER, str(tmp_path)], subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, bufsize=1) as uploader:
        assert uploader.stdin and uploader.stdout
        for step in range(40):
            image = make(database)
            uploader.stdin.write(f"{image.id} {step}\n")
            ended = int(uploader.stdout.readline())
            assert ended in (0, -signal.SIGKILL)
            image_sweep(database, files)
            outcomes.append(status(database, image))
            found = [path.name for path in files.iterdir() if path.name.startswith(image.id)]
            if outcomes[-1] is Status.ACTIVE:
                assert len(found) == 1 and (files / found[0]).read_bytes() == b"x" * 600
            else:
                assert (outcomes[-1], found) == (Status.QUEUED, [])
            if ended == 0:
                break
        uploader.stdin.close()
    assert Status.QUEUED in outcomes and outcomes[-1] is Status.ACTIVE
    assert len(outcomes) > 8


def test_a_full_disk_is_said_and_leaves_nothing(database: Database, tmp_path: Path) -> None:
    """IMG-04, on a filesystem of one MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small filesystem")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "hf-img-test", str(small)], check=True)
    try:
        image = make(database)
        upload = Upload(small, image.id)
        with pytest.raises(NoCapacity) as caught:
            for future in upload.put(b"x" * (2 << 20)):
                future.result()
        assert caught.value.code == "disk_full" and str(small) in caught.value.detail
        upload.discard()
        upload.close()
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
