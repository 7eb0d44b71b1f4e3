"""Docker's and a firewall's FORWARD policy, where it would drop what our public network forwards.

Tenant traffic is in namespaces that no such policy reaches; only the way out through the host's own
namespace meets it. Where the `ip filter` table (iptables over nft) drops forwarded packets by policy, accept
rules for our external bridges go first, in DOCKER-USER when there is one, because Docker leaves that chain
to others. Each carries a comment with our prefix; no rule without it is ever touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from holdfast.base.limits import NETWORK_COMMAND_S
from holdfast.base.run import CommandFailed, run

_TABLE = "ip filter"


def accept_forwarding(prefix: str, bridges: Iterable[str]) -> bool:
    """Have the accept rules of these bridges and no other of ours, where a policy needs them; True when changed."""
    listing = _listing()
    chains = {item["chain"]["name"]: item["chain"] for item in listing if "chain" in item}
    drops = chains.get("FORWARD", {}).get("policy") == "drop"
    target = "DOCKER-USER" if "DOCKER-USER" in chains else "FORWARD"
    wanted = {(target, f"{prefix}-{way}-{bridge}") for bridge in bridges for way in ("in", "out")} if drops else set()
    here = {(rule["chain"], rule["comment"]): rule["handle"] for rule in _ours(prefix, listing)}
    lines = [f"delete rule {_TABLE} {key[0]} handle {handle}" for key, handle in here.items() if key not in wanted]
    for chain, comment in sorted(wanted - here.keys()):
        _, way, bridge = comment.split("-", 2)
        side = "iifname" if way == "in" else "oifname"
        lines.append(f'insert rule {_TABLE} {chain} {side} "{bridge}" counter accept comment "{comment}"')
    if lines:
        run(["nft", "-f", "-"], timeout_s=NETWORK_COMMAND_S, stdin="".join(f"{line}\n" for line in lines).encode())
    return bool(lines)


def accepted(prefix: str) -> list[str]:
    """The comments of our rules in foreign chains: for audit."""
    return sorted(rule["comment"] for rule in _ours(prefix, _listing()))


def _ours(prefix: str, listing: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rules = (item["rule"] for item in listing if "rule" in item)
    return [rule for rule in rules if str(rule.get("comment", "")).startswith(f"{prefix}-")]


def _listing() -> list[dict[str, Any]]:
    try:
        text = run(["nft", "-j", "-a", "list", "table", *_TABLE.split()], timeout_s=NETWORK_COMMAND_S)
    except CommandFailed as err:
        if "No such file" not in err.message:
            raise
        return []  # no such table: nothing drops
    found: list[dict[str, Any]] = json.loads(text)["nftables"]
    return found
