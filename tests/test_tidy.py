"""The house style that a machine can check: names, sizes, docstrings, log events, one place for processes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "holdfast"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent.name != "versions")  # a migration is history
VAGUE = {"utils", "util", "helpers", "common", "manager", "core", "misc"}
MODULE_LINES, FUNCTION_LINES, ROOM_FILES = 400, 50, 20


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_is_small_documented_and_named_for_what_it_is(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens with what it is for"
    assert path.stem not in VAGUE, "a vague name"
    assert text.count("\n") <= MODULE_LINES, f"over {MODULE_LINES} lines: two rooms"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES, f"{node.name} has over {FUNCTION_LINES} lines"
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value) == "log"
        ):
            if node.func.attr in {"debug", "info", "warn", "error", "exception"}:
                assert isinstance(node.args[0], ast.Constant), f"line {node.lineno}: a log event is a constant"
        if isinstance(node, ast.Import | ast.ImportFrom) and path != PACKAGE / "base" / "run.py":
            names = [a.name for a in node.names] + [getattr(node, "module", "") or ""]
            assert "subprocess" not in names, f"line {node.lineno}: processes are started by base/run.py only"


def test_no_room_is_crowded() -> None:
    for room in {p.parent for p in MODULES}:
        files = set(room.glob("*.py")) - {room / "__init__.py"}
        assert len(files) <= ROOM_FILES, f"{room.relative_to(ROOT)} has over {ROOM_FILES} files"


def test_no_word_of_a_registry_or_an_unfinished_mark_is_committed() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    for path in [*MODULES, *ROOT.glob("*.lock"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")]:
        text = path.read_text()
        assert not any(mark in text for mark in marks), f"{path.relative_to(ROOT)} has an unfinished mark"
    for path in ROOT.glob("*.lock"):
        assert "://" not in path.read_text(), f"{path.name} names an address"
