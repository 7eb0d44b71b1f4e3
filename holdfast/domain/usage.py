"""What an instance used in a period. It is counted from its launch until its end, whatever its power was."""

from __future__ import annotations

import msgspec

from holdfast.base.clock import SECOND_US
from holdfast.domain.desired import Power
from holdfast.domain.instance import Flavor, InstanceState


class InstanceRun(msgspec.Struct, frozen=True):
    """What of an instance's row usage is counted from."""

    id: str
    project_id: str
    name: str
    flavor: Flavor
    state: InstanceState
    power: Power
    launched_us: int
    terminated_us: int  # 0: still there

    def hours_within(self, start_us: int, end_us: int) -> float:
        """Hours of it between two instants."""
        stop_us = min(end_us, self.terminated_us or end_us)
        return max(stop_us - max(start_us, self.launched_us), 0) / (3600 * SECOND_US)

    def lived_s(self, now_us: int) -> int:
        """Seconds from its launch until its end, or now."""
        return max((self.terminated_us or now_us) - self.launched_us, 0) // SECOND_US
