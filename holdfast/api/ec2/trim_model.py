"""Write `model.json`, the part of EC2's service model that Holdfast speaks; a developer runs it, no user does.

    python -m holdfast.api.ec2.trim_model .../botocore/data/ec2/2016-11-15/service-2.json.gz "botocore 1.44.5"

The model is data of botocore (Apache-2.0, see NOTICE): names, wire names and types of every parameter and
answer. It is trimmed rather than retyped, so that a wire name can never be a typing mistake. Requests and
answers spell the same member differently, therefore they are kept apart; a member is
`[name, wire name, type]` and a fourth `true` where a request must have it, a type is a scalar's word, the
name of a structure, or either of these after `[` for a list.

Do not edit model.json: whatever this module did not write is lost with the next botocore.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

ACTIONS = (
    "AllocateAddress",
    "AssociateAddress",
    "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress",
    "CreateImage",
    "CreateKeyPair",
    "CreateSecurityGroup",
    "CreateTags",
    "DeleteKeyPair",
    "DeleteSecurityGroup",
    "DeleteTags",
    "DeregisterImage",
    "DescribeAccountAttributes",
    "DescribeAddresses",
    "DescribeAvailabilityZones",
    "DescribeImages",
    "DescribeInstanceAttribute",
    "DescribeInstanceStatus",
    "DescribeInstanceTypes",
    "DescribeInstances",
    "DescribeKeyPairs",
    "DescribeNetworkInterfaces",
    "DescribeRegions",
    "DescribeSecurityGroupRules",
    "DescribeSecurityGroups",
    "DescribeSubnets",
    "DescribeTags",
    "DescribeVolumes",
    "DescribeVpcs",
    "DisassociateAddress",
    "GetConsoleOutput",
    "ImportKeyPair",
    "ModifyInstanceAttribute",
    "RebootInstances",
    "RegisterImage",
    "ReleaseAddress",
    "RevokeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "RunInstances",
    "StartInstances",
    "StopInstances",
    "TerminateInstances",
)

Shapes = dict[str, Any]


def trim(service: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the trimmed model of `service`, botocore's `service-2.json`."""
    actions: dict[str, list[str]] = {}
    model: dict[str, Any] = {
        "source": source,
        "version": service["metadata"]["apiVersion"],
        "actions": actions,
        "input": {},
        "output": {},
    }
    for action in ACTIONS:
        operation = service["operations"][action]
        names = [operation.get(side, {}).get("shape", "") for side in ("input", "output")]
        actions[action] = names
        for side, name in zip(("input", "output"), names, strict=True):
            if name:
                _collect(service["shapes"], name, side, model[side])
    return model


def _collect(shapes: Shapes, name: str, side: str, found: dict[str, list[list[object]]]) -> None:
    """Add structure `name` and every structure below it to `found`."""
    if name in found:
        return
    shape = shapes[name]
    members = found[name] = []
    for member, reference in shape["members"].items():
        wire = _request_name(member, reference) if side == "input" else reference.get("locationName", member)
        required = [True] if side == "input" and member in shape.get("required", ()) else []
        members.append([member, wire, _type(shapes, reference["shape"]), *required])
        below = shapes[reference["shape"]]
        below_name = below["member"]["shape"] if below["type"] == "list" else reference["shape"]
        if shapes[below_name]["type"] == "structure":
            _collect(shapes, below_name, side, found)
    if len({member[1] for member in members}) != len(members):
        raise ValueError(f"{name}: two members share a wire name")


def _request_name(member: str, reference: dict[str, str]) -> str:
    """How EC2's query protocol names a parameter: its query name, else its location name capitalised."""
    location = reference.get("locationName", member)
    return reference.get("queryName") or (location[0].upper() + location[1:])


def _type(shapes: Shapes, name: str) -> str:
    shape = shapes[name]
    match shape["type"]:
        case "structure":
            return name
        case "list":
            return "[" + _type(shapes, shape["member"]["shape"])
        case "map":
            raise ValueError(f"{name}: EC2 has no maps, the wire layer neither")
        case scalar:
            return str(scalar)


def to_text(model: dict[str, Any]) -> str:
    """One line per action and structure: a new botocore shows as a readable difference."""
    blocks = [f"{json.dumps(key)}: {json.dumps(model[key])}" for key in ("source", "version")]
    for key in ("actions", "input", "output"):
        rows = ",\n".join(
            f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}" for name, value in model[key].items()
        )
        blocks.append(f"{json.dumps(key)}: {{\n{rows}\n}}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def main(argv: list[str]) -> None:
    path, source = argv
    data = Path(path).read_bytes()
    service = json.loads(gzip.decompress(data) if path.endswith(".gz") else data)
    Path(__file__).with_name("model.json").write_text(to_text(trim(service, source)))


if __name__ == "__main__":
    main(sys.argv[1:])
