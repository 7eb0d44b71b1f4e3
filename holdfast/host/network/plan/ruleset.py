"""An nftables table as data: rendered whole, or as the smallest change from what is there.

Pure text. Sets and maps hold what changes often, so that a port more is an element more; chains hold the
logic. Either text is one transaction for `nft -f -`: it takes effect as a whole or not at all. A table
carries the digest of its text as the name of an empty chain, so that a new process can tell from the kernel
alone whether the table is the wanted one. Values must be validated before they come here: nothing is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from holdfast.host.network.plan.names import digest

DIGEST_CHAIN = "digest_"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; `hook` is its base chain declaration, empty for a chain that others jump to."""

    name: str
    rules: tuple[str, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set, or a map when its elements are `key : value`."""

    name: str
    declaration: str  # "type ipv4_addr; flags interval;"
    elements: frozenset[str]
    kind: str = "set"

    @property
    def is_passing(self) -> bool:
        """Whether elements come and go outside of any plan."""
        return "timeout" in self.declaration


@dataclass(frozen=True)
class Table:
    """A table of one family."""

    family: str
    name: str
    collections: tuple[Collection, ...]
    chains: tuple[Chain, ...]

    @cached_property
    def body(self) -> str:
        lines: list[str] = []
        for item in self.collections:
            lines.append(f"{item.kind} {item.name} {{ {item.declaration}")
            if item.elements:
                lines.append(f"elements = {{ {', '.join(sorted(item.elements))} }}")
            lines.append("}")
        for chain in self.chains:
            lines.append(f"chain {chain.name} {{ {chain.hook}")
            lines.extend(chain.rules)
            lines.append("}")
        return "\n".join(lines)

    @cached_property
    def digest(self) -> str:
        return digest(f"{self.family} {self.name}\n{self.body}")


def replace(table: Table) -> str:
    """The transaction that puts the table in place of whatever is there under its name."""
    head = f"{table.family} {table.name}"
    return (
        f"add table {head}\ndelete table {head}\n"
        f"table {head} {{\nchain {DIGEST_CHAIN}{table.digest} {{ }}\n{table.body}\n}}\n"
    )


def remove(family: str, name: str) -> str:
    """The transaction that removes a table, there or not."""
    return f"add table {family} {name}\ndelete table {family} {name}\n"


def change(old: Table, new: Table) -> str:
    """The transaction from one to the other; the whole table where a declaration differs."""
    if old.digest == new.digest:
        return ""
    if not _declared_alike(old, new):
        return replace(new)
    head = f"{new.family} {new.name}"
    lines = [*_steps(head, old, new)]
    lines.append(f"delete chain {head} {DIGEST_CHAIN}{old.digest}")
    lines.append(f"add chain {head} {DIGEST_CHAIN}{new.digest}")
    return "\n".join(lines) + "\n"


def _declared_alike(old: Table, new: Table) -> bool:
    """Whether everything that both have is declared alike."""
    before = {item.name: (item.kind, item.declaration) for item in old.collections}
    before |= {chain.name: ("chain", chain.hook) for chain in old.chains}
    after = {item.name: (item.kind, item.declaration) for item in new.collections}
    after |= {chain.name: ("chain", chain.hook) for chain in new.chains}
    return all(after[name] == before[name] for name in before.keys() & after.keys())


def _steps(head: str, old: Table, new: Table) -> Iterator[str]:
    """Names come before their users, users go before their names."""
    old_sets, new_sets = ({item.name: item for item in table.collections} for table in (old, new))
    old_chains, new_chains = ({chain.name: chain for chain in table.chains} for table in (old, new))
    rewritten = [c for c in new.chains if c.name not in old_chains or c.rules != old_chains[c.name].rules]
    gone = [c.name for c in old.chains if c.name not in new_chains]
    for item in new.collections:
        if item.name not in old_sets:
            yield f"add {item.kind} {head} {item.name} {{ {item.declaration} }}"
    for chain in rewritten:
        if chain.name not in old_chains:
            yield f"add chain {head} {chain.name} {{ {chain.hook} }}"
    for name in [*(c.name for c in rewritten if c.name in old_chains), *gone]:
        yield f"flush chain {head} {name}"
    for item in old.collections:
        if item.name in new_sets and (stale := item.elements - new_sets[item.name].elements):
            keys = ", ".join(sorted(element.partition(" : ")[0] for element in stale))
            yield f"delete element {head} {item.name} {{ {keys} }}"
    for chain in rewritten:
        for rule in chain.rules:
            yield f"add rule {head} {chain.name} {rule}"
    for item in new.collections:
        before = old_sets[item.name].elements if item.name in old_sets else frozenset()
        if fresh := item.elements - before:
            yield f"add element {head} {item.name} {{ {', '.join(sorted(fresh))} }}"
    gone_sets = [item for item in old.collections if item.name not in new_sets]
    for item in gone_sets:
        yield f"flush {item.kind} {head} {item.name}"
    for name in gone:
        yield f"delete chain {head} {name}"
    for item in gone_sets:
        yield f"delete {item.kind} {head} {item.name}"
