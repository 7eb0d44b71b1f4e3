"""A host's right to run its guests, and how it loses it.

    member --fence--> fenced --register--> returning --all departed confirmed--> member
                        |                                                          ^
                        '--register, nothing departed------------------------------'

The lease is granted to one incarnation of a host: every registration begins a new one, and whatever an older one
says or asks is refused. A fenced host is proved not to run anything, so that its instances may be claimed by others;
it gets no lease before it registered again.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from holdfast.base.clock import SECOND_US
from holdfast.base.limits import CLOCK_UNSEEN_S, HOST_LEASE_S, LEASE_MARGIN_S


class HostPhase(StrEnum):
    """What a host may do."""

    MEMBER = "member"  # run its guests, and get new ones
    FENCED = "fenced"  # nothing: it was proved dead, and its guests may run elsewhere
    RETURNING = "returning"  # run its guests; it gets new ones once it confirmed that what left it is gone


class Proof(StrEnum):
    """What shows that a host runs nothing, weakest first."""

    LEASE = "lease"  # an enforced lease lapsed: its keeper ended the guests, or its watchdog reset the host
    WORD = "word"  # an operator said that it is off
    POWER = "power"  # its power was seen off by a fence driver


class HostLease(msgspec.Struct, frozen=True):
    """One row per host, written by registrations, renewals and fencing."""

    host_id: str
    phase: HostPhase
    incarnation: int  # 0: it never registered
    boot_id: str
    machine: str  # digest of the machine and directory that this host is; another one is refused
    until_us: int  # when the last lease that was granted ends, by the store's clock; 0: none ever was
    enforced: bool  # whether its keeper ends the guests then
    renewed_us: int
    fenced_us: int  # 0: not fenced
    fenced_by: str  # kind of the proof

    def lapsed(self, watch: ClockWatch, now_us: int) -> bool:
        """Whether the keeper of a host whose lease is enforced has surely ended its guests."""
        return self.left_s(watch, now_us) == 0

    def left_s(self, watch: ClockWatch, now_us: int) -> float:
        """How long it must yet be seen to be silent until then, at most."""
        return watch.left_s(self.renewed_us, HOST_LEASE_S + LEASE_MARGIN_S, now_us)


class ClockWatch(msgspec.Struct, frozen=True):
    """How long the control plane has seen the store's clock run as one's own does: somebody may set it, and then what
    was written before looks as old, or as new, as it is not."""

    since_us: int
    looked_us: int  # last; both by the store's clock

    def left_s(self, since_us: int, seconds: float, now_us: int) -> float:
        """How much of a time that began at an instant is still to be seen to pass; 0: it passed."""
        if not 0 <= now_us - self.looked_us <= CLOCK_UNSEEN_S * SECOND_US:
            return seconds
        return max(seconds - (self.looked_us - max(since_us, self.since_us)) / SECOND_US, 0.0)


NOBODY_LOOKED = ClockWatch(0, 0)


class FenceProof(msgspec.Struct, frozen=True):
    """Evidence that a host is off, kept as history. It counts while nothing newer was heard of the host."""

    id: str
    host_id: str
    kind: Proof
    at_us: int
    user_id: str  # empty: the cloud itself
    words: str  # what was seen


class Departed(msgspec.Struct, frozen=True):
    """A former holder of an instance that has not yet said that nothing of it is left there.

    Nobody else may hold the instance unless every former holder is fenced, or has no such row any more.
    """

    instance_id: str
    host_id: str
    generation: int  # what it must confirm
    revision: int
    erase: bool  # remove the disks as well: the instance is deleted
    at_us: int


def nobody(host_id: str) -> HostLease:
    """The lease of a host that never registered."""
    return HostLease(host_id, HostPhase.MEMBER, 0, "", "", 0, False, 0, 0, "")
