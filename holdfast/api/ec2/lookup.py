"""From the ids that EC2 clients send to our objects, and the ids that we make for what has none of its own.

An id is looked up only among rows that the caller may see: whoever calls `pick` or `bounds` has restricted
them to the caller's project, so another project's id is as unknown as one that never was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from holdfast.base.ec2_ids import ec2_id, id_bounds, is_ec2_id
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.ids import derived_id
from holdfast.domain.floating_ip import FloatingIp

T = TypeVar("T")
NAMESPACE = "0c0c3b4e-58f2-4f0e-8a4b-2d7f6f3a9d51"  # of the ids below; never change it


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: its id's prefixes, and EC2's codes for an id that is none and one that names nothing."""

    noun: str
    prefixes: tuple[str, ...]
    malformed: str
    missing: str

    def id_of(self, uuid: str) -> str:
        return ec2_id(self.prefixes[0], uuid)


INSTANCE = Kind("instance", ("i",), "InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound")
IMAGE = Kind("image", ("ami", "aki", "ari"), "InvalidAMIID.Malformed", "InvalidAMIID.NotFound")
GROUP = Kind("security group", ("sg",), "InvalidGroupId.Malformed", "InvalidGroup.NotFound")
RULE = Kind("rule", ("sgr",), "InvalidSecurityGroupRuleId.Malformed", "InvalidSecurityGroupRuleId.NotFound")
ADDRESS = Kind("allocation", ("eipalloc",), "InvalidAllocationID.Malformed", "InvalidAllocationID.NotFound")
ASSOCIATION = Kind("association", ("eipassoc",), "InvalidAssociationID.Malformed", "InvalidAssociationID.NotFound")
INTERFACE = Kind(
    "networkInterface", ("eni",), "InvalidNetworkInterfaceId.Malformed", "InvalidNetworkInterfaceID.NotFound"
)
SUBNET = Kind("subnet", ("subnet",), "InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound")
VPC = Kind("vpc", ("vpc",), "InvalidVpcID.Malformed", "InvalidVpcID.NotFound")
KEY = Kind("key pair", ("key",), "InvalidKeyPair.Malformed", "InvalidKeyPair.NotFound")


def check(kind: Kind, asked: Sequence[str]) -> None:
    """Raise BadInput unless every text is an id of this kind."""
    for text in asked:
        if not any(is_ec2_id(prefix, text) for prefix in kind.prefixes):
            raise BadInput(f'Invalid id: "{text[:64]}"', code=kind.malformed)


def bounds(kind: Kind, asked: Sequence[str]) -> list[tuple[str, str]]:
    """The ranges of the primary key that the ids can be in."""
    check(kind, asked)
    return [id_bounds(text) for text in dict.fromkeys(asked)]


def pick(kind: Kind, asked: Sequence[str], rows: Iterable[T], uuid_of: Callable[[T], str]) -> list[T]:
    """The rows that the ids name, in their order, each once; NotFound unless each names exactly one."""
    check(kind, asked)
    named: dict[str, list[T]] = {}
    for row in rows:
        named.setdefault(_digits(kind.id_of(uuid_of(row))), []).append(row)
    found = []
    for text in dict.fromkeys(asked):
        matches = named.get(_digits(text), [])
        if len(matches) != 1:
            raise missing(kind, text)
        found.append(matches[0])
    return found


def missing(kind: Kind, text: str) -> NotFound:
    """EC2's words for what is not there, or not the caller's to see."""
    return NotFound(f"The {kind.noun} ID '{text[:64]}' does not exist", code=kind.missing)


def vpc_id(project_id: str) -> str:
    """The one VPC of a project: all of its networks."""
    return VPC.id_of(derived_id(NAMESPACE, f"vpc {project_id}"))


def key_id(user_id: str, name: str) -> str:
    return KEY.id_of(derived_id(NAMESPACE, f"key {user_id} {name}"))


def association_uuid(floating: FloatingIp) -> str:
    """Of one association: an address that leads elsewhere by now has another, so an old id ends nothing new."""
    return derived_id(NAMESPACE, f"association {floating.id} {floating.port_id} {floating.fixed}")


def _digits(text: str) -> str:
    return text.rpartition("-")[2]
