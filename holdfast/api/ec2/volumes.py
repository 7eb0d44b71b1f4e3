"""Volumes: there are none yet. Clients list them to clean up after themselves and must get an empty list."""

from __future__ import annotations

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import filter_of
from holdfast.api.http.call import Call
from holdfast.api.http.policy import READER
from holdfast.base.errors import NotFound

_FILTERS = (
    *("attachment.attach-time", "attachment.delete-on-termination", "attachment.device", "attachment.instance-id"),
    *("attachment.status", "availability-zone", "create-time", "encrypted", "size", "snapshot-id", "status"),
    *("tag-key", "volume-id", "volume-type"),
)


def volumes_describe(call: Call, members: Members) -> Members:
    """DescribeVolumes."""
    filter_of(members.get("Filters", []), _FILTERS, tags=True)
    for text in members.get("VolumeIds", []):
        raise NotFound(f"The volume '{text[:64]}' does not exist.", code="InvalidVolume.NotFound")
    return {"Volumes": []}


RULES = {"volume:get_all": READER}
ACTIONS = {"DescribeVolumes": Action("volume:get_all", volumes_describe)}
