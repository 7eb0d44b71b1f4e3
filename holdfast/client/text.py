"""Text from elsewhere, made safe to show: names, errors and consoles are a guest's or a stranger's words.

Nothing that reaches a terminal may hold a control character: an escape sequence in a name could rewrite what
an operator sees, or type for him.
"""

from __future__ import annotations

import calendar

_KEEP = frozenset("\n\t")
_DIGITS = ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))


def one_line(text: object) -> str:
    """The text with every character that is not printable written as an escape, on one line."""
    words = str(text)
    return words if words.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in words)


def console_text(text: str) -> str:
    """A console's text: lines and tabs stay, carriage returns go, other control characters are escapes."""
    kept = text.replace("\r", "")
    return "".join(c if c in _KEEP or c.isprintable() else _escaped(c) for c in kept)


def instant_s(text: str) -> int:
    """The instant in `2026-11-21T03:20:00.000000Z`, whole seconds since the epoch. ValueError for anything else.

    Cut by hand: time.strptime imports more than a list needs.
    """
    year, month, day, hour, minute, second = (int(text[i:j]) for i, j in _DIGITS)
    return calendar.timegm((year, month, day, hour, minute, second))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii") if character != "\n" else "\\n"
