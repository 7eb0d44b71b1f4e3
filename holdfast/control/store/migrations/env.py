"""Alembic's way into our store: it runs on the connection that control/store/migrate gives it, and nowhere else.

A migration names plain column types: it must mean the same after our own types have changed.
"""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy.types import TypeDecorator

from holdfast.control.store.tables import metadata


def render_item(kind: str, item: Any, _: Any) -> Any:
    """Write a type of ours as the plain one that it is stored as."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    render_item=render_item,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
