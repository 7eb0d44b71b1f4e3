"""The figures of a run: per step how often it went well and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.validate.steps import FAILED, OK, Result


class Figures(NamedTuple):
    """One step over all loops and clients; times of those that went well, in seconds."""

    number: int
    step: str
    ok: int
    failed: int
    min_s: float | None
    median_s: float | None
    p95_s: float | None
    max_s: float | None


def figures_of(results: Sequence[Result]) -> list[Figures]:
    """One row per step, in the order of the steps."""
    steps = sorted({(result.number, result.step) for result in results})
    return [_figures(number, step, [r for r in results if r.number == number]) for number, step in steps]


def _figures(number: int, step: str, results: Sequence[Result]) -> Figures:
    times = sorted(result.took_s for result in results if result.outcome == OK)
    failed = sum(result.outcome == FAILED for result in results)
    found = [at(times, share) for share in (0.0, 0.5, 0.95, 1.0)]
    return Figures(number, step, len(times), failed, *found)


def at(times: Sequence[float], share: float) -> float | None:
    """The smallest time that at least this share of the sorted times does not exceed; None of none."""
    if not times:
        return None
    return round(times[max(0, -int(-share * len(times) // 1) - 1)], 3)


def seconds(value: float | None) -> str:
    """A time as it stands in a table."""
    return "-" if value is None else f"{value:.2f}"
