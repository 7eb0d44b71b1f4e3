"""EC2's codes: those that a client may meet, and which of them says what an operation says in OpenStack's words.

Clients decide by the code what to do. A word that is neither EC2's nor said here in EC2's words is never sent:
its class's word is (http/faults).
"""

from __future__ import annotations

_QUOTA = {
    "RunInstances": "InstanceLimitExceeded",
    "AllocateAddress": "AddressLimitExceeded",
    "CreateSecurityGroup": "SecurityGroupLimitExceeded",
    "AuthorizeSecurityGroupIngress": "RulesPerSecurityGroupLimitExceeded",
    "AuthorizeSecurityGroupEgress": "RulesPerSecurityGroupLimitExceeded",
}
_CODES = {
    # instances
    "idempotency_key_reused": "IdempotentParameterMismatch",
    "keypair_unknown": "InvalidKeyPair.NotFound",
    "keypair_exists": "InvalidKeyPair.Duplicate",
    "security_group_unknown": "InvalidGroup.NotFound",
    "port_unknown": "InvalidNetworkInterfaceID.NotFound",
    "PortInUse": "InvalidNetworkInterface.InUse",
    "PortBound": "InvalidNetworkInterface.InUse",
    "PortNotFound": "InvalidNetworkInterfaceID.NotFound",
    "NetworkAmbiguous": "VPCIdNotSpecified",
    "NetworkNotFound": "InvalidSubnetID.NotFound",
    "SubnetNotFound": "InvalidSubnetID.NotFound",
    "IpAddressAlreadyAllocated": "InvalidIPAddress.InUse",
    "IpAddressGenerationFailure": "InsufficientFreeAddressesInSubnet",
    "MacAddressGenerationFailure": "InsufficientFreeAddressesInSubnet",
    # images
    "image_unknown": "InvalidAMIID.NotFound",
    "image_not_found": "InvalidAMIID.NotFound",
    "image_not_active": "InvalidAMIID.Unavailable",
    "image_protected": "OperationNotPermitted",
    # security groups
    "SecurityGroupNotFound": "InvalidGroup.NotFound",
    "SecurityGroupInUse": "InvalidGroup.InUse",
    "SecurityGroupCannotRemoveDefault": "CannotDelete",
    "SecurityGroupDefaultAlreadyExists": "InvalidGroup.Reserved",
    "SecurityGroupRuleExists": "InvalidPermission.Duplicate",
    "PortSecurityAndIPRequiredForSecurityGroups": "InvalidParameterCombination",
    # addresses
    "ExternalNetworkNotFound": "InsufficientAddressCapacity",
    "ExternalGatewayForFloatingIPNotFound": "Gateway.NotAttached",
    "FloatingIPPortAlreadyAssociated": "Resource.AlreadyAssociated",
}
_EC2 = frozenset(
    {
        *_CODES.values(),
        *_QUOTA.values(),
        *("AuthFailure", "DryRunOperation", "FilterLimitExceeded", "IdempotentInstanceTerminated"),
        *("IncompleteSignature", "IncorrectInstanceState", "IncorrectState", "InsufficientInstanceCapacity"),
        *("InvalidAMIID.Malformed", "InvalidAMIName.Duplicate", "InvalidAMIName.Malformed", "InvalidAction"),
        *("InvalidAddress.NotFound", "InvalidAllocationID.Malformed", "InvalidAllocationID.NotFound"),
        *("InvalidAssociationID.Malformed", "InvalidAssociationID.NotFound", "InvalidClientTokenId"),
        *("InvalidGroup.Duplicate", "InvalidGroupId.Malformed", "InvalidInstanceID"),
        *("InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound", "InvalidKey.Format"),
        *("InvalidKeyPair.Malformed", "InvalidNetworkInterfaceId.Malformed", "InvalidNextToken"),
        *("InvalidParameterValue", "InvalidPermission.NotFound", "InvalidPublicIpv4PoolID.NotFound"),
        *("InvalidQueryParameter", "InvalidSecurityGroupRuleId.Malformed"),
        *("InvalidSecurityGroupRuleId.NotFound", "InvalidSubnetID.Malformed", "InvalidVolume.NotFound"),
        *("InvalidVpcID.Malformed", "InvalidVpcID.NotFound", "MalformedQueryString", "MissingAction"),
        *("MissingAuthenticationToken", "MissingParameter", "NoSuchVersion", "RequestExpired"),
        *("SignatureDoesNotMatch", "TagLimitExceeded", "UnknownParameter", "UnsupportedOperation"),
    }
)
"""Every code of ours: what is raised for EC2's sake alone, and what stands above."""


def ec2_code(action: str, code: str) -> str:
    """The code to answer with; one in small letters stands for its class's word."""
    if code == "OverQuota":
        return _QUOTA.get(action, "quota")
    said = _CODES.get(code, code)
    return said if said in _EC2 else said.lower()
