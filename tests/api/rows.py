"""Every row of a cloud's store: for tests that see that whoever was refused changed nothing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from holdfast.control.store.database import Tx
from holdfast.control.store.tables import metadata
from tests.api.image_cloud import ImageCloud
from tests.conftest import Cloud


def everything(cloud: Cloud | ImageCloud) -> dict[str, list[Any]]:
    """Every row of every table."""

    def read(tx: Tx) -> dict[str, list[Any]]:
        return {name: sorted(map(str, tx.all(select(table)))) for name, table in metadata.tables.items()}

    return cloud.services.store.read(read)
