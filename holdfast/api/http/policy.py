"""Policy: OpenStack's rule names and check language, compiled to closures once, at start.

    "os_compute_api:servers:create": "role:member and project_id:%(project_id)s"

Words: `role:NAME`, `rule:NAME`, `KEY:%(target)s` (a credential's attribute equals the target's), `KEY:literal`,
`@` (always), `!` (never), and, or, not, parentheses. Anything that cannot be read denies: a typing error
in an operator's file must never open a door, so `compile_rules` refuses it by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.base.errors import BadInput
from holdfast.domain.credentials import Credentials

Check = Callable[[Mapping[str, Any], Credentials], bool]
_WORD = re.compile(r"\s*(\(|\)|and\b|or\b|not\b|@|!|(?:%\([\w.]+\)s|[^\s()])+)")
_TARGET = re.compile(r"%\(([\w.]+)\)s")

ADMIN = "role:admin"
MEMBER = "role:admin or (role:member and project_id:%(project_id)s)"
READER = "role:admin or (role:reader and project_id:%(project_id)s)"
SERVICE = "role:admin or role:service"


class Policy:
    """The compiled rules of one cloud."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._checks: dict[str, Check] = {}
        for name, text in rules.items():
            self._checks[name] = self._compile(name, text, rules)

    def allows(self, rule: str, target: Mapping[str, Any], credentials: Credentials) -> bool:
        """Say whether a rule holds; a rule that nobody wrote is for administrators only."""
        check = self._checks.get(rule)
        return check(target, credentials) if check else credentials.is_admin

    def _compile(self, name: str, text: str, rules: Mapping[str, str]) -> Check:
        words = _WORD.findall(text)
        if not words:
            return lambda _t, _c: True  # oslo.policy: an empty rule always holds
        try:
            check = self._either(words, rules)
        except (IndexError, KeyError) as err:
            raise BadInput(f"policy rule {name!r} cannot be read: {text!r}") from err
        if words:
            raise BadInput(f"policy rule {name!r} has words left over: {' '.join(words)!r}")
        return check

    def _either(self, words: list[str], rules: Mapping[str, str]) -> Check:
        left = self._both(words, rules)
        while words and words[0] == "or":
            words.pop(0)
            left = _or(left, self._both(words, rules))
        return left

    def _both(self, words: list[str], rules: Mapping[str, str]) -> Check:
        left = self._single(words, rules)
        while words and words[0] == "and":
            words.pop(0)
            left = _and(left, self._single(words, rules))
        return left

    def _single(self, words: list[str], rules: Mapping[str, str]) -> Check:
        word = words.pop(0)
        if word == "not":
            inner = self._single(words, rules)
            return lambda target, credentials: not inner(target, credentials)
        if word == "(":
            inner = self._either(words, rules)
            if words.pop(0) != ")":
                raise KeyError(word)
            return inner
        if word in ("@", "!"):
            return lambda _t, _c: word == "@"
        kind, colon, value = word.partition(":")
        if not colon:
            raise KeyError(word)
        if kind == "rule":
            _ = rules[value]  # a name that does not exist is a typing error
            return lambda target, credentials: self._checks[value](target, credentials)
        return _role(value) if kind == "role" else _attribute(kind, value)


def _or(left: Check, right: Check) -> Check:
    return lambda target, credentials: left(target, credentials) or right(target, credentials)


def _and(left: Check, right: Check) -> Check:
    return lambda target, credentials: left(target, credentials) and right(target, credentials)


def _role(name: str) -> Check:
    return lambda _t, credentials: name in credentials.roles


def _attribute(key: str, value: str) -> Check:
    wanted = _TARGET.fullmatch(value)

    def check(target: Mapping[str, Any], credentials: Credentials) -> bool:
        mine = _credential(key, credentials)
        theirs = target.get(wanted[1]) if wanted else value
        return bool(mine) and mine == theirs

    return check


def _credential(key: str, credentials: Credentials) -> str:
    if key == "is_admin":
        return str(credentials.is_admin)
    if key == "system_scope":
        return "all" if credentials.system else ""
    return str(getattr(credentials, key, "") or "")
