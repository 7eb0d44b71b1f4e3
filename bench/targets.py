"""What the figures are read against. A target that is missed is shown, never hidden, and never an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bench.load import Figures


class Target(NamedTuple):
    """A bound of one figure."""

    benchmark: str
    figure: str
    bound: float
    least: bool = False  # the figure must be at least, not at most, the bound

    def met(self, value: float) -> bool:
        return value >= self.bound if self.least else value <= self.bound


TARGETS = (
    Target("guests", "up_s", 10),
    Target("guests", "second_up_s", 1),
    Target("guests", "launch_over_bare_s", 1.5),
    Target("start", "second_up_s", 1),
    Target("create_none", "servers_per_s", 100, least=True),
    Target("create_none", "cpu_s_per_server", 0.015),
    Target("create_auto", "servers_per_s", 100, least=True),
    Target("create_auto", "cpu_s_per_server", 0.015),
    Target("lists", "list_median_ms", 50),
    Target("tokens", "issue_16_clients_per_s", 300, least=True),
    Target("tokens", "validate_16_clients_per_s", 300, least=True),
    Target("idle", "pss_mb", 150),
    Target("commands", "list_by_python", 6),
    Target("hosts", "control_cpu_percent_of_a_core", 20),
    Target("hosts", "renewals_late", 0),
    Target("network", "rule_added_ms_1_networks", 200),
    Target("network", "rule_removed_ms_1_networks", 200),
    Target("network", "rule_transactions_1_networks", 1),
    Target("network", "rule_added_ms_20_networks", 200),
    Target("network", "rule_removed_ms_20_networks", 200),
    Target("network", "rule_cut_ms_1_networks", 200),
    Target("network", "start_again_s", 3),
    Target("network", "start_again_lost", 0),
    Target("network", "fixed_throughput_by_hand", 0.95, least=True),
    Target("network", "fixed_speed_by_hand", 0.95, least=True),
    Target("network", "floating_throughput_by_hand", 0.95, least=True),
    Target("network", "floating_speed_by_hand", 0.95, least=True),
    Target("dead_host", "running_s", 10),
    Target("evacuation", "beyond_lease_and_boot_s", 2),
    *(Target("kills", f"{name}_active_of_24", 24, least=True) for name in ("control", "agent", "keeper", "supervisor")),
)


def verdict(benchmark: str, figure: str, value: float) -> str:
    """Words about a figure that has a target; empty for the others."""
    for target in TARGETS:
        if (target.benchmark, target.figure) == (benchmark, figure):
            sign = ">=" if target.least else "<="
            return f"{'met' if target.met(value) else 'MISSED'} ({sign} {target.bound:g})"
    return ""


def table(results: Mapping[str, Figures]) -> str:
    """Every figure, one line each."""
    lines = []
    for benchmark, figures in results.items():
        for name, value in figures.items():
            words = verdict(benchmark, name, value) if isinstance(value, int | float) else ""
            lines.append(f"{benchmark:<13} {name:<34} {value:>12}  {words}".rstrip())
    return "\n".join(lines)
