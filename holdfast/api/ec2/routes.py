"""EC2's API: every action that this cloud does, and the rule that must allow it.

The rules are those of the OpenStack services that do the same: one policy governs both APIs. Only what
OpenStack has no rule for has one here.
"""

from __future__ import annotations

from holdfast.api.ec2 import images, keypairs, places, tags, volumes
from holdfast.api.ec2.facade import ec2_facades, signer_from_store
from holdfast.api.ec2.instances import acts, attributes, describe, launch
from holdfast.api.ec2.network import addresses, interfaces, security_group_rules, security_groups, subnets

_MODULES = (
    *(acts, addresses, attributes, describe, images, interfaces, keypairs, launch, places),
    *(security_group_rules, security_groups, subnets, tags, volumes),
)
RULES = {**places.RULES, **volumes.RULES}
ACTIONS = {name: action for module in _MODULES for name, action in module.ACTIONS.items()}
# Old clients are let in: libcloud 3.9.1 still signs with version 2 unless told otherwise.
FACADES = ec2_facades(ACTIONS, signer_from_store, old_clients=True)
