"""What is found of processes: those that are somebody's, and not whoever asks."""

from __future__ import annotations

import subprocess
import sys

from holdfast.base.ids import new_id
from holdfast.base.run import pids_of
from tests.waiting import eventually


def test_a_process_is_found_by_its_words_and_whoever_began_the_search_is_not() -> None:
    needle = f"/tmp/{new_id()}/"
    ask = f"from holdfast.base.run import pids_of; print(pids_of({needle!r}))"
    under_another = ("env", "sh", "-c", f'"$0" -c "{ask}"; true {needle}', sys.executable)
    assert subprocess.run(under_another, capture_output=True, text=True, check=True).stdout == "[]\n"
    with subprocess.Popen(("sh", "-c", f"read line; true {needle}"), stdin=subprocess.PIPE) as other:
        eventually(lambda: pids_of(needle) == [other.pid])
        said = subprocess.run(under_another, capture_output=True, text=True, check=True).stdout
        assert said == f"[{other.pid}]\n"
        other.communicate(b"\n")
