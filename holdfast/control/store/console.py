"""What guests wrote to their serial consoles: the last part of it, kept after the server is gone.

Hosts append; a row is never changed. Whoever asks why a guest did not boot finds it here, whether or not its
host still answers and whether or not the server was deleted (seed 001).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table, delete, insert, select

from holdfast.base.limits import CONSOLE_BYTES
from holdfast.control.store.database import Tx
from holdfast.control.store.schema import metadata

console = Table(
    "console",
    metadata,
    Column("instance_id", String, primary_key=True),
    Column("number", Integer, primary_key=True),  # of this piece
    Column("end", BigInteger, nullable=False),  # position in the host's file after it
    Column("total", BigInteger, nullable=False),  # bytes ever kept, this piece included
    Column("data", LargeBinary, nullable=False),
)


def console_append(tx: Tx, instance_id: str, start: int, data: bytes, restarted: bool) -> int:
    """Add what follows what is known; returns how far the host's file is known now.

    A piece that is known already adds nothing. `restarted`: the file was cut and its positions began again.
    """
    newest = select(console.c.number, console.c.end, console.c.total).where(console.c.instance_id == instance_id)
    rows = tx.all(newest.order_by(console.c.number.desc()).limit(1))
    number, end, total = rows[0] if rows else (0, 0, 0)
    known = 0 if restarted else end
    fresh = data[max(0, known - start) :]
    if not fresh:
        return int(known)
    end, total = start + len(data), total + len(fresh)
    row = {"instance_id": instance_id, "number": number + 1, "end": end, "total": total, "data": fresh}
    tx.run(insert(console), row)
    tx.run(delete(console).where(console.c.instance_id == instance_id, console.c.total <= total - CONSOLE_BYTES))
    return end


def console_read(tx: Tx, instance_id: str) -> bytes:
    """Everything that is kept."""
    statement = select(console.c.data).where(console.c.instance_id == instance_id).order_by(console.c.number)
    return b"".join(row[0] for row in tx.all(statement))[-CONSOLE_BYTES:]


def console_text(tx: Tx, instance_id: str) -> str:
    """The same without control characters: what a terminal would obey must not reach one."""
    text = console_read(tx, instance_id).decode("utf-8", "replace")
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
