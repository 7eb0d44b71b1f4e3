"""The two databases' common ground: column types, naming, and rows to structs.

Every noun's file declares its tables on `metadata`. All constraints are named, so that a migration can
drop them on SQLite too. An instant is an integer of microseconds (base/clock) and nothing else gets in.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, MetaData, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from holdfast.base.errors import Bug

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[int]):
    """Microseconds since the epoch, UTC. Refuses everything but an integer: never text, never a float."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:
        if value is None or type(value) is int:
            return value
        raise Bug(f"an instant is an integer of microseconds, not {type(value).__name__}")


class Json(TypeDecorator[Any]):
    """A small document that is read and written whole, as `kind`; nothing is ever searched inside it."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: Any = Any) -> None:
        super().__init__()
        self.kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """The decoder itself: a list of servers has seven thousand of these."""
        decode = self._decoder.decode
        return lambda value: None if value is None else decode(value)


class Word(TypeDecorator[Any]):
    """A member of an enum, stored as its text."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__(40)
        self.kind = kind
        self._members = {member.value: member for member in kind}

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else str(self.kind(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else self._members[value]


def instant(name: str, nullable: bool = False) -> Column[int]:
    """Declare a column of an instant; its name ends in `_us`."""
    return Column(name, Instant, nullable=nullable)
