"""EC2's `Filter` parameter and its pages, the same for every Describe action.

Filters are and-ed, the values of one are or-ed; `*` stands for any text and `?` for any one character, `\\`
before them for themselves. A filter that an action does not have is refused: ignoring it would answer, or
terminate, what was not meant. Matching takes time proportional to the texts, whatever the pattern: patterns
are the caller's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from holdfast.base.errors import BadInput
from holdfast.base.limits import EC2_FILTER_VALUES, PAGE_ROWS

Facts = Mapping[str, Sequence[str]]  # filter name -> what the object has under it; tags as `tag:KEY`
T = TypeVar("T")
_ANY, _ONE = object(), object()


def filter_of(
    filters: Sequence[Mapping[str, Any]], known: Iterable[str], *, tags: bool = False
) -> Callable[[Facts], bool]:
    """Return what says whether an object passes; raises BadInput for a filter that is not `known`.

    `tags`: the objects carry tags, so `tag:KEY` is known for every key.
    """
    names, count = frozenset(known), 0
    wanted: list[tuple[str, list[list[object]]]] = []
    for given in filters:
        name, values = given.get("Name", ""), given.get("Values", [])
        if name not in names and not (tags and name.startswith("tag:")):
            raise BadInput(f"The filter '{name[:64]}' is invalid", code="InvalidParameterValue")
        count += len(values)
        wanted.append((name, [_pattern(value) for value in values]))
    if count > EC2_FILTER_VALUES:
        raise BadInput(f"At most {EC2_FILTER_VALUES} filter values.", code="FilterLimitExceeded")

    def passes(facts: Facts) -> bool:
        return all(
            any(_matches(p, fact) for fact in facts.get(name, ()) for p in patterns) for name, patterns in wanted
        )

    return passes


def page_of(rows: Sequence[T], members: Mapping[str, Any], key_of: Callable[[T], str]) -> tuple[list[T], str | None]:
    """Return one page of rows, which are sorted by their key, and the token of the next (None: the last page)."""
    after, limit = after_of(members), limit_of(members)
    return first_page([row for row in rows if key_of(row) > after], limit, key_of)


def first_page(rows: Sequence[T], limit: int, key_of: Callable[[T], str]) -> tuple[list[T], str | None]:
    """Return the first rows and the token of the rest (None: there is none)."""
    more = len(rows) > limit
    return list(rows[:limit]), base64.urlsafe_b64encode(key_of(rows[limit - 1]).encode()).decode() if more else None


def limit_of(members: Mapping[str, Any]) -> int:
    """Return how many rows are wanted."""
    limit: int = members.get("MaxResults", PAGE_ROWS)
    if not 0 < limit <= PAGE_ROWS:
        raise BadInput(f"MaxResults must be from 1 to {PAGE_ROWS}.", code="InvalidParameterValue")
    return limit


def after_of(members: Mapping[str, Any]) -> str:
    """Return the key of the last row that the caller has; empty: of none."""
    try:
        return base64.b64decode(members.get("NextToken", ""), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as err:
        raise BadInput("The NextToken is none that was given out.", code="InvalidNextToken") from err


def _pattern(text: str) -> list[object]:
    """The characters of a pattern, with the two that stand for others told apart from themselves."""
    found: list[object] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            found.append(next(characters, "\\"))
        else:
            found.append({"*": _ANY, "?": _ONE}.get(character, character))
    return found


def _matches(pattern: list[object], text: str) -> bool:
    """Match from the left; at a mismatch only the last `*` takes one character more."""
    at = here = 0
    star, resume = -1, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] is _ANY:
            star, resume = at, here
            at += 1
        elif at < len(pattern) and (pattern[at] is _ONE or pattern[at] == text[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return all(rest is _ANY for rest in pattern[at:])
