"""Rules of security groups, between EC2's permissions and ours.

    a permission   a protocol with ports, and any number of ranges and groups that it is for
    a rule         one protocol with ports and one range or one group, of one IP version

EC2 knows no IP version for a group that is let in: such a permission is a rule for each version, shown as
one. A rule for everybody is 0.0.0.0/0 or ::/0 in EC2, and may have no range at all in ours: `same` is what
two rules have in common that let the same through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from holdfast.api.ec2.facade import Members
from holdfast.api.ec2.lookup import GROUP, RULE
from holdfast.base.errors import BadInput, NotSupported
from holdfast.domain.security_group import (
    ANY,
    V4,
    V6,
    WITH_PORTS,
    RuleWanted,
    SecurityGroup,
    SecurityGroupRule,
    rule_make,
)

EVERYBODY = {V4: "0.0.0.0/0", V6: "::/0"}
_ICMP = {"icmp": V4, "icmpv6": V6, "ipv6-icmp": V6, "1": V4, "58": V6}
Same = tuple[str, str, str, int, int, str, str]
GroupOf = Callable[[Mapping[str, str]], SecurityGroup]


def rules_wanted(
    group: SecurityGroup, direction: str, permissions: Iterable[Members], group_of: GroupOf
) -> list[list[RuleWanted]]:
    """Every rule of the permissions; rules that stand for one thing of EC2's are together."""
    return [rules for given in permissions for rules in _rules(group, direction, given, group_of)]


def _rules(group: SecurityGroup, direction: str, given: Members, group_of: GroupOf) -> list[list[RuleWanted]]:
    if given.get("PrefixListIds"):
        raise NotSupported("There are no prefix lists in this cloud.")
    protocol, low, high = _protocol(given)

    def rule(ethertype: str, description: str, cidr: str = "", remote_group: str = "") -> RuleWanted:
        return RuleWanted(group.id, direction, ethertype, protocol, low, high, cidr, remote_group, description)

    found = [[rule(V4, _words(item), _cidr(item, "CidrIp"))] for item in given.get("IpRanges", [])]
    found += [[rule(V6, _words(item), _cidr(item, "CidrIpv6"))] for item in given.get("Ipv6Ranges", [])]
    for pair in given.get("UserIdGroupPairs", []):
        versions = [_ICMP[protocol]] if protocol in _ICMP else [V4, V6]
        remote = group_of(pair).id
        found.append([rule(version, _words(pair), remote_group=remote) for version in versions])
    if not found:
        raise BadInput("A permission needs an IP range or a security group.", code="MissingParameter")
    return found


def _words(item: Mapping[str, str]) -> str:
    words = item.get("Description", "")
    if len(words) > 255 or not words.isprintable():
        raise BadInput("A description has at most 255 printable characters.", code="InvalidParameterValue")
    return words


def _cidr(item: Mapping[str, str], name: str) -> str:
    text = item.get(name, "")
    if not text:
        raise BadInput(f"The request must contain the parameter {name}", code="MissingParameter")
    return text


def _protocol(given: Members) -> tuple[str, int | None, int | None]:
    """The protocol and its ports, or ICMP's type and code; None where anything goes."""
    if not given.get("IpProtocol"):
        raise BadInput("The request must contain the parameter IpProtocol", code="MissingParameter")
    protocol = given["IpProtocol"].lower()
    if protocol in ("-1", "all", "any"):
        return "", None, None
    protocol = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}.get(protocol, protocol)
    low, high = given.get("FromPort", ANY), given.get("ToPort", ANY)
    if protocol in _ICMP:
        return protocol, None if low == ANY else low, None if high == ANY else high
    if protocol not in WITH_PORTS:
        return protocol, None, None
    if ("FromPort" in given) != ("ToPort" in given) or (protocol in ("tcp", "udp") and "FromPort" not in given):
        raise BadInput(
            "Invalid value for portRange. Must specify both from and to ports with TCP/UDP.",
            code="InvalidParameterValue",
        )
    if (low, high) in ((ANY, ANY), (0, 65_535)):
        return protocol, None, None
    if not 0 <= low <= high <= 65_535:
        raise BadInput(f"Invalid TCP/UDP port range ({low}:{high})", code="InvalidParameterValue")
    return protocol, max(low, 1), max(high, 1)


def same(rule: SecurityGroupRule) -> Same:
    """What a rule lets through, however it was written."""
    remote = rule.remote_cidr or ("" if rule.remote_group else EVERYBODY[rule.ethertype])
    ports = (rule.port_min, rule.port_max)
    return (rule.direction, rule.ethertype, rule.protocol, *ports, remote, rule.remote_group)


def same_wanted(wanted: RuleWanted) -> Same:
    """The same of a rule that is not there yet; BadInput for what is no rule."""
    return same(rule_make(wanted, "", "", 0))


def shown(rules: Sequence[SecurityGroupRule]) -> list[SecurityGroupRule]:
    """The rules that EC2 shows: of the two versions of one that is for a group, the first."""
    twins = {_group_key(rule) for rule in rules if rule.remote_group and rule.ethertype == V4}
    return [r for r in rules if not (r.remote_group and r.ethertype == V6 and _group_key(r) in twins)]


def twins_of(rule: SecurityGroupRule, rules: Sequence[SecurityGroupRule]) -> list[SecurityGroupRule]:
    """The rule and the other version of it."""
    if not rule.remote_group:
        return [rule]
    return [other for other in rules if other.remote_group and _group_key(other) == _group_key(rule)]


def _group_key(rule: SecurityGroupRule) -> tuple[str, str, int, int, str]:
    return (rule.direction, rule.protocol, rule.port_min, rule.port_max, rule.remote_group)


def permissions_view(rules: Sequence[SecurityGroupRule], names: Mapping[str, SecurityGroup]) -> list[Members]:
    """`IpPermissions`: rules of one protocol and ports together."""
    found: dict[tuple[str, int | None, int | None], Members] = {}
    for rule in shown(rules):
        key = _ports_view(rule)
        permission = found.setdefault(
            key,
            {
                "IpProtocol": key[0],
                "FromPort": key[1],
                "ToPort": key[2],
                "UserIdGroupPairs": [],
                "IpRanges": [],
                "Ipv6Ranges": [],
                "PrefixListIds": [],
            },
        )
        words = {"Description": rule.description} if rule.description else {}
        if rule.remote_group:
            pair = {"UserId": rule.project_id, "GroupId": GROUP.id_of(rule.remote_group)}
            name = {"GroupName": names[rule.remote_group].name} if rule.remote_group in names else {}
            permission["UserIdGroupPairs"].append({**pair, **name, **words})
        elif rule.ethertype == V4:
            permission["IpRanges"].append({"CidrIp": same(rule)[5], **words})
        else:
            permission["Ipv6Ranges"].append({"CidrIpv6": same(rule)[5], **words})
    return list(found.values())


def rule_view(rule: SecurityGroupRule) -> Members:
    """One rule, as DescribeSecurityGroupRules shows it."""
    protocol, low, high = _ports_view(rule)
    view: dict[str, Any] = {
        "SecurityGroupRuleId": RULE.id_of(rule.id),
        "GroupId": GROUP.id_of(rule.group_id),
        "GroupOwnerId": rule.project_id,
        "IsEgress": rule.direction == "egress",
        "IpProtocol": protocol,
        "FromPort": ANY if low is None else low,
        "ToPort": ANY if high is None else high,
        "Description": rule.description or None,
        "Tags": [],
    }
    if rule.remote_group:
        view["ReferencedGroupInfo"] = {"GroupId": GROUP.id_of(rule.remote_group), "UserId": rule.project_id}
    else:
        view["CidrIpv4" if rule.ethertype == V4 else "CidrIpv6"] = same(rule)[5]
    return view


def _ports_view(rule: SecurityGroupRule) -> tuple[str, int | None, int | None]:
    """EC2's protocol and ports: -1 and no ports for any protocol, 0 to 65535 for any port."""
    protocol = {"": "-1", "ipv6-icmp": "icmpv6"}.get(rule.protocol, rule.protocol)
    if rule.protocol in ("icmp", "ipv6-icmp"):
        return protocol, rule.port_min, rule.port_max
    if rule.protocol not in WITH_PORTS:
        return protocol, None, None
    return (protocol, 0, 65_535) if rule.port_min == ANY else (protocol, rule.port_min, rule.port_max)
