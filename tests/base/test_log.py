"""Logs: every line says whom it is about, a guest's text forges none, and no sink can stop a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base import log as logs

ROOT = Path(__file__).parents[2]
INSTANCE, REQUEST = "0f0e0d0c-1111-4222-8333-444455556666", "req-7"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \d+ [A-Z]+ test\.part \[req-7\] \[instance: [0-9a-f-]{36}\] ")
log = logs.get("holdfast.part")


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "logs" / "test.log"
    with logs.into_file(path, "test"):
        yield path


def fail_deeply(depth: int) -> None:
    if depth:
        fail_deeply(depth - 1)
    raise ValueError("two\nlines")


def test_every_line_of_a_traceback_carries_time_request_and_instance(written: Path) -> None:
    with logs.bind(instance=INSTANCE, request=REQUEST):
        try:
            fail_deeply(3)
        except ValueError:
            log.exception("step_raised")
    lines = written.read_text().splitlines()
    assert len(lines) > 10 and "ValueError: two" in lines[-2] and lines[-1].endswith("| lines")
    assert all(LINE.match(line) for line in lines), lines


def test_an_instance_named_by_a_field_alone_is_where_a_bound_one_is(written: Path) -> None:
    with logs.bind(request=REQUEST):
        log.info("seen", instance=INSTANCE)
    assert LINE.match(written.read_text())


def test_what_is_bound_ends_with_its_block_and_stays_out_of_other_threads(written: Path) -> None:
    with logs.bind(instance=INSTANCE):
        other = threading.Thread(target=log.info, args=("elsewhere",))
        other.start()
        other.join()
    log.info("after")
    assert INSTANCE not in written.read_text() and written.read_text().count("\n") == 2


def test_a_text_with_line_breaks_forges_no_line(written: Path) -> None:
    log.info("guest_said", words="x\n2026-01-01 00:00:00.000 1 ERROR forged\r\x1b[2Jy" + "z" * 10_000)
    text = written.read_text()
    assert text.count("\n") == 1 and "\x1b" not in text and "\r" not in text and len(text) < 3_000


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    with logs.into_file(Path("/dev/full"), "test"):
        before = logs.sink.dropped
        log.error("lost")
        assert logs.sink.dropped == before + 1


def test_a_dead_reader_of_standard_error_ends_nobody() -> None:
    """Seed 004: a restarted journald sent SIGPIPE to the daemons that wrote to it."""
    script = "from holdfast.base import log; [log.get('x').info('line') for _ in range(9)]; print(log.sink.dropped)"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", script], stderr=write, stdout=subprocess.PIPE, cwd=ROOT)
    os.close(write)
    assert (done.returncode, done.stdout) == (0, b"9\n")


def test_a_file_has_two_generations_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_FILE_BYTES", 10_000)
    path = tmp_path / "test.log"
    with logs.into_file(path, "test"):
        for _ in range(500):
            log.info("line", words="w" * 100)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["test.log", "test.log.1"]
    assert all(each.stat().st_size < 11_000 for each in tmp_path.iterdir())
