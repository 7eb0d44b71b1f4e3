"""The rules that the kernel holds: what is there, and the transactions that change it.

The kernel numbers the transactions of a namespace, whoever makes them. Whoever remembers the number that came with
what he saw learns by one question, without a process, whether that still is what is there.
"""

from __future__ import annotations

import json
from collections.abc import Set
from typing import Any

from holdfast.base.errors import HoldfastError
from holdfast.base.limits import NETWORK_COMMAND_S
from holdfast.base.run import CommandFailed, run
from holdfast.host.network import namespace
from holdfast.host.network.plan.names import Names
from holdfast.host.network.plan.ruleset import DIGEST_CHAIN, Table

Key = tuple[str, str]  # family and name of a table
Item = dict[str, Any]  # one line of nft's JSON, by its kind: {"rule": {...}}


def load(space: str, script: str) -> None:
    """One transaction in a namespace."""
    namespace.inside(space, lambda: run(["nft", "-f", "-"], timeout_s=NETWORK_COMMAND_S, stdin=script.encode()))


def generation(space: str) -> int:
    """The number of the last transaction in a namespace; 0 where there is none to be asked."""
    try:
        return namespace.inside(space, namespace.rules_generation_here)
    except (HoldfastError, OSError):
        return 0


def tables_of(space: str, names: Names) -> dict[Key, list[Item]]:
    """Every table of ours in a namespace, with all that is in it."""
    found: dict[Key, list[Item]] = {}
    if space:
        for item in _listed(space, "ruleset"):
            ((kind, body),) = item.items()
            if kind != "metainfo":
                key = body["family"], body["name"] if kind == "table" else body["table"]
                found.setdefault(key, []).append(item)
        return {key: items for key, items in found.items() if key[1] == names.prefix or names.ours(key[1])}
    for item in _listed(space, "tables"):  # the host's own has tables of others, some large
        key = (item["table"]["family"], item["table"]["name"]) if "table" in item else ("", "")
        if names.ours(key[1]):
            try:
                found[key] = _listed(space, "table", *key)
            except CommandFailed:
                found[key] = []  # it went meanwhile
    return found


def is_whole(items: list[Item], table: Table) -> bool:
    """Whether the kernel's table carries the digest and holds as many rules and elements as it should."""
    rules: dict[str, int] = {}
    for item in items:
        if "chain" in item:
            rules.setdefault(item["chain"]["name"], 0)
        elif "rule" in item:
            rules[item["rule"]["chain"]] = rules.get(item["rule"]["chain"], 0) + 1
    elements = {body["name"]: len(body.get("elem", ())) for body in _collections(items)}
    passing = {item.name for item in table.collections if item.is_passing}
    wanted = {chain.name: len(chain.rules) for chain in table.chains} | {f"{DIGEST_CHAIN}{table.digest}": 0}
    counts = {item.name: len(item.elements) for item in table.collections}
    return rules == wanted and {name: 0 if name in passing else n for name, n in elements.items()} == counts


def is_empty(items: list[Item], collection: str) -> bool:
    """Whether a set of a table has no element."""
    return not any(body.get("elem") for body in _collections(items) if body["name"] == collection)


def removal(where: str, elements: Set[str]) -> str:
    """The part of a transaction that takes elements out of a set, in it or not."""
    line = f"element {where} {{ {', '.join(sorted(elements))} }}\n"
    return f"add {line}delete {line}" if elements else ""


def _collections(items: list[Item]) -> list[dict[str, Any]]:
    return [body for item in items if (body := item.get("set") or item.get("map"))]


def _listed(space: str, *what: str) -> list[Item]:
    text = namespace.inside(space, lambda: run(["nft", "-j", "list", *what], timeout_s=NETWORK_COMMAND_S))
    found: list[Item] = json.loads(text)["nftables"]
    return found
