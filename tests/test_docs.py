"""Documents that cannot rot: every test they name exists, every word of the code that they need is there."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from holdfast.base.config import Settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(path: Path) -> None:
    text = path.read_text()
    named = set(re.findall(r"\b(tests/[\w/]+\.py|docs/[\w/-]+\.md)\b", text))
    named |= {str((path.parent / link).resolve().relative_to(ROOT)) for link in _links(text)}
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert missing == [], f"{path.name} names what is not there"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_test_that_a_document_names_exists(path: Path) -> None:
    named = set(re.findall(r"\b(tests/[\w/]+\.py)::(\w+)", path.read_text()))
    missing = sorted(f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text())
    assert missing == [], f"{path.name} names what is not there"


def _links(text: str) -> list[str]:
    found = re.findall(r"\]\(([^)#\s]+)\)", text)
    return [link for link in found if not link.startswith(("http", "mailto"))]


def test_the_front_page_is_short() -> None:
    for name, lines in (("README.md", 120), ("ARCHITECTURE.md", 250), ("CONTRIBUTING.md", 100)):
        assert (ROOT / name).read_text().count("\n") <= lines, f"{name} has over {lines} lines"


def test_every_limit_has_its_reason() -> None:
    for number, line in enumerate((ROOT / "holdfast/base/limits.py").read_text().splitlines(), 1):
        if ": Final" in line:
            assert "#" in line, f"limits.py line {number}: {line.split(':')[0]} has no reason"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (\w+) \| `?([^|`]+?)`? \|", (ROOT / "docs/operators/settings.md").read_text(), re.M))
    found = {name: "" if default == "empty" else default for name, default in rows.items() if name != "name"}
    defaults = Settings()
    assert found == {field.name: _in_toml(getattr(defaults, field.name)) for field in dataclasses.fields(Settings)}


def _in_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
