"""PostgreSQL below the transaction runner: what time it is, and what is done when a connection breaks.

Each transaction begins with one statement. It shows whether the pooled connection lives and reads the database's
clock: leases compare with one clock, however many replicas there are. In a write it also puts the mark of this
attempt into the row of its lane, so that a commit whose answer was lost can be looked up.

    broken before the commit      nothing happened: again
    broken in the commit          the row of the lane is written again, which waits for whatever the old backend
                                  still does with it; it then says whether the commit happened, and is not undone
    conflict with another writer  again; after a few times alone, so that everybody comes through
    a standby, no server, a start again until STORE_AWAY_S are over: a failover takes seconds
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import TextClause, create_engine, event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from holdfast.base import ids
from holdfast.base import log as logs
from holdfast.base.errors import Unavailable
from holdfast.base.limits import (
    HANDLER_THREADS,
    STORE_ALONE_AFTER,
    STORE_AWAY_S,
    STORE_CONNECT_S,
    STORE_FROZEN_S,
    STORE_RETRIES,
)

log = logs.get(__name__)
T = TypeVar("T")

CLOCK = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
_NOW = text(f"SELECT {CLOCK}")
_MARK = text(
    f"INSERT INTO commit_mark (lane, mark, at_us) VALUES (:lane, :mark, {CLOCK}) "  # noqa: S608 (no value is in it)
    "ON CONFLICT (lane) DO UPDATE SET mark = excluded.mark, at_us = excluded.at_us RETURNING at_us"
)
_WHETHER = text(
    "INSERT INTO commit_mark (lane, mark, at_us) VALUES (:lane, '', 0) "
    "ON CONFLICT (lane) DO UPDATE SET mark = commit_mark.mark RETURNING mark"
)
_ALONE = text("LOCK TABLE commit_mark IN EXCLUSIVE MODE")  # before anything is read: the snapshot is newer than it
_CONFLICTS = ("40001", "40P01", "23505")  # the last: a query that looks before it writes sees the other's row next time
_AWAY = ("25006", "25P03", "53300", "57P01", "57P02", "57P03")  # a standby, frozen too long, full, stopped, starting
_SESSION = (
    "SELECT set_config('idle_in_transaction_session_timeout', '{frozen_s}s', false), "
    "CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END"
)


class Patience:
    """How long a store that is away is waited for, by one caller."""

    def __init__(self) -> None:
        self._until_s, self._pause_s = time.monotonic() + STORE_AWAY_S, 0.02

    def wait(self, err: DBAPIError | PoolTimeout, asked: bool = False) -> None:
        """Pause after an error of a server that is away; raises any other error, and Unavailable after too long.

        `asked`: a commit was asked for, and nobody knows whether it happened.
        """
        if not _is_away(err):
            raise err
        if time.monotonic() + self._pause_s > self._until_s:
            words = "the store does not answer; try again"
            if asked:
                words = "the store went away while it wrote: look whether it was done before you try again"
            raise Unavailable(words, code="outcome_unknown" if asked else "unavailable", detail=str(err)) from err
        log.warn("store_away", reason=type(err).__name__, state=_state(err))
        time.sleep(self._pause_s * random.uniform(0.5, 1))  # noqa: S311 (only spreads callers)
        self._pause_s = min(self._pause_s * 2, 1.0)


class Postgresql:
    """The connections of one process. `fn` is given a connection and the instant of its transaction."""

    def __init__(self, url: str, now_us: Callable[[], int] | None) -> None:
        self._given_us = now_us  # a test's clock in place of the database's
        self._ahead_us = 0  # of the database's clock before this machine's monotonic one
        self._lanes: deque[str] = deque()
        self.writer = create_engine(
            url_of(url),
            isolation_level="SERIALIZABLE",
            pool_size=HANDLER_THREADS,
            hide_parameters=True,  # an error with its values would put secrets into the log
            connect_args={
                "connect_timeout": STORE_CONNECT_S,
                "keepalives_idle": STORE_CONNECT_S,  # a server that lost its power says nothing any more
                "keepalives_interval": 1,
                "keepalives_count": STORE_CONNECT_S,
                "tcp_user_timeout": STORE_CONNECT_S * 1000,
            },
        )
        event.listen(self.writer, "connect", _prepare)
        # a read decides nothing: one snapshot is enough, and it never conflicts
        self.reader = self.writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._resolver = self.writer.execution_options(isolation_level="READ COMMITTED")

    def now_us(self) -> int:
        """The database's clock, as it was at the last transaction, and the time since."""
        return self._given_us() if self._given_us else self._ahead_us + time.monotonic_ns() // 1000

    def read(self, fn: Callable[[Connection, int], T]) -> T:
        """Run `fn` on one snapshot."""
        patience = Patience()
        while True:
            try:
                with self.reader.connect() as connection:
                    return fn(connection, self._begin(connection, _NOW))
            except (DBAPIError, PoolTimeout) as err:
                patience.wait(err)

    def write(self, fn: Callable[[Connection, int], T]) -> T:
        """Run `fn` in a transaction and return its answer once it is durable."""
        patience, conflicts = Patience(), 0
        with self._lane() as lane:
            while conflicts <= STORE_RETRIES:
                mark, asked = ids.new_id(), False
                try:
                    with self.writer.connect() as connection:
                        if conflicts >= STORE_ALONE_AFTER:
                            connection.execute(_ALONE)
                        answer = fn(connection, self._begin(connection, _MARK, lane=lane, mark=mark))
                        asked = True
                        connection.commit()
                        return answer
                except (DBAPIError, PoolTimeout) as err:
                    if _state(err) in _CONFLICTS:
                        conflicts += 1
                        log.info("store_transaction_repeated", conflicts=conflicts, state=_state(err))
                        continue
                    patience.wait(err, asked)
                if asked and self._happened(lane, mark, patience):
                    return answer
        raise Unavailable("the store is too busy with conflicting writes; try again")

    def close(self) -> None:
        """Give every connection back."""
        self.writer.dispose()

    def _begin(self, connection: Connection, statement: TextClause, **values: str) -> int:
        try:
            at_us = int(connection.execute(statement, values).scalar_one())
        except DBAPIError as err:
            if _state(err) in _AWAY:
                connection.invalidate()  # a primary that is a standby now: the next connection finds the new one
            raise
        self._ahead_us = at_us - time.monotonic_ns() // 1000
        return self._given_us() if self._given_us else at_us

    def _happened(self, lane: str, mark: str, patience: Patience) -> bool:
        """Whether a commit whose answer was lost has happened; from here on it cannot happen any more."""
        while True:
            try:
                with self._resolver.connect() as connection:
                    found = connection.execute(_WHETHER, {"lane": lane}).scalar_one()
                    connection.commit()  # after the commit that it speaks of: on a synchronous standby, too
            except (DBAPIError, PoolTimeout) as err:
                patience.wait(err, asked=True)
            else:
                log.warn("store_commit_resolved", happened=found == mark)
                return bool(found == mark)

    @contextmanager
    def _lane(self) -> Iterator[str]:
        try:
            lane = self._lanes.pop()
        except IndexError:
            lane = ids.new_id()
        try:
            yield lane
        finally:
            self._lanes.append(lane)


def url_of(text: str) -> URL:
    """The URL for SQLAlchemy; several servers are named as libpq has it, `user@a:5432,b:5432/database`.

    Of several, the one that can be written to is used: whichever the primary is.
    """
    head, separator, tail = text.partition("://")
    server, slash, rest = tail.partition("/")
    user, at, hosts = server.rpartition("@")
    if "," in hosts:
        query = "&".join(f"host={each}" for each in hosts.split(","))
        rest += ("&" if "?" in rest else "?") + query
        if "target_session_attrs=" not in rest:
            rest += "&target_session_attrs=read-write"
        text = f"{head}{separator}{user}{at}{slash or '/'}{rest}"
    return make_url(text).set(drivername="postgresql+psycopg")


def _prepare(connection: Any, _: object) -> None:
    """What holds for every transaction of a new connection."""
    connection.autocommit = True
    connection.execute(_SESSION.format(frozen_s=STORE_FROZEN_S))
    connection.autocommit = False


def _state(err: DBAPIError | PoolTimeout) -> str:
    """The SQLSTATE; empty where the server said nothing any more."""
    return str(getattr(getattr(err, "orig", None), "sqlstate", None) or "")


def _is_away(err: DBAPIError | PoolTimeout) -> bool:
    """Whether the server, or the way to it, is gone for now; also when all connections wait for that."""
    if isinstance(err, PoolTimeout) or err.connection_invalidated or _state(err) in _AWAY:
        return True
    return isinstance(err, OperationalError) and not _state(err)
