"""Transactions, and nothing else: how a read or a write reaches either database.

    read(fn)    fn runs on a connection that cannot write
    write(fn)   fn runs in a serialisable transaction; the answer is returned when it is durable

SQLite: writers queue on a file lock before BEGIN IMMEDIATE. A deferred transaction that upgrades fails
with "database is locked" whatever its timeout, and SQLite's own waiting is unfair (MEASURED.md, seed 001).
Whoever gets the lock runs every write that is waiting, each in its own savepoint, and makes one commit:
many small transactions share one fsync, and a reply leaves only after it. SQLite copies its log to the file in a
commit, so no process copies while another one begins the log anew: releases up to 3.51.2 lose writes in that race.

PostgreSQL: SERIALIZABLE, repeated on a conflict and after a failover (postgresql/connections.py). `fn` may therefore
run more than once and must have no effect but through its transaction; whoever should look after the commit is named
to `tx.notify`.
"""

from __future__ import annotations

import contextvars
import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Executable, create_engine, event
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.pool import QueuePool

from holdfast.base import log as logs
from holdfast.base.clock import SystemClock
from holdfast.base.errors import BadInput, Unavailable
from holdfast.base.limits import HANDLER_THREADS, STORE_BUSY_S, STORE_WAL_BYTES
from holdfast.control.signals import Signals
from holdfast.control.store.postgresql.connections import Postgresql
from holdfast.control.store.postgresql.hints import Hints
from holdfast.control.store.sqlite.prepared import Prepared, prepared, rows_of, touched_by
from holdfast.control.store.sqlite.transaction import execute_on_driver, require_open, savepoint

log = logs.get(__name__)
T = TypeVar("T")


class Tx:
    """One transaction: what a query function is given."""

    __slots__ = ("_connection", "now_us", "topics")

    def __init__(self, connection: Connection, now_us: int) -> None:
        self._connection = connection
        self.topics: set[str] = set()
        self.now_us = now_us  # one instant for everything written in it

    def all(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """Every row."""
        return self._connection.execute(statement, values or {}).all()

    def structs(self, kind: type[T], statement: Executable, values: Mapping[str, Any] | None = None) -> list[T]:
        """Every row as `kind`; the statement selects its fields in their order."""
        return [kind(*row) for row in self._rows(statement, values or {})]

    def struct(self, kind: type[T], statement: Executable, values: Mapping[str, Any] | None = None) -> T | None:
        """The first row as `kind`, or None."""
        row = next(iter(self._rows(statement, values or {})), None)
        return None if row is None else kind(*row)

    def value(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        row = next(iter(self._rows(statement, values or {})), None)
        return None if row is None else row[0]

    def run(self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None) -> int:
        """Execute, once per mapping of a sequence, and return how many rows were touched."""
        if isinstance(values, Sequence) and not values:
            return 0
        if isinstance(values, Mapping) and (form := self._prepared(statement, values)) and not form.has_rows:
            return touched_by(self._connection, form, values)
        return int(self._connection.execute(statement, cast(Any, values or {})).rowcount)

    def _rows(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        if form := self._prepared(statement, values):
            return rows_of(self._connection, form, values)
        return self._connection.execute(statement, values).all()

    def _prepared(self, statement: Executable, values: Mapping[str, Any]) -> Prepared | None:
        return None if self.is_postgresql else prepared(self._connection, statement, values)

    def attempt(self, change: Callable[[], T]) -> T:
        """Run a part that may fail: what it raises comes out, and only what that part wrote is undone."""
        with self._connection.begin_nested() if self.is_postgresql else savepoint(self._connection):
            return change()

    def notify(self, topic: str) -> None:
        """Wake whoever listens to the topic once this is durable. Only a hint: a crash in between loses it."""
        self.topics.add(topic)

    @property
    def is_postgresql(self) -> bool:
        return self._connection.dialect.name == "postgresql"


class Database:
    """The open database of one process."""

    def __init__(
        self,
        url: str,
        now_us: Callable[[], int] | None = None,
        before_statement: Callable[[str], None] | None = None,
    ):
        """Open it. Instants are those of the machine's clock, of the server's with PostgreSQL, or of `now_us`.

        `before_statement` is called with each SQL text: where a test crashes or fails the Nth one.
        """
        self.signals = Signals()
        self._hints: Hints | None = None
        self._waiting: deque[tuple[contextvars.Context, Callable[[Tx], Any], Future[Any]]] = deque()
        self._leading = threading.Lock()
        self.is_sqlite = url.startswith("sqlite:")
        if self.is_sqlite:
            path = self.path = Path(make_url(url).database or "")
            self._lock_fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._writer = _sqlite_engine(path, read_only=False)
            with self._writer.connect():
                pass  # makes the file before a reader opens it
            self._reader = _sqlite_engine(path, read_only=True)
            self.now_us = now_us or SystemClock().now_us
        else:
            self._server = Postgresql(url, now_us)
            self._writer, self._reader, self.now_us = self._server.writer, self._server.reader, self._server.now_us
        if before_statement is not None:
            hook = before_statement
            for engine in {self._writer, self._reader} if self.is_sqlite else {self._writer}:
                event.listen(engine, "before_cursor_execute", lambda *args: hook(str(args[2])))

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on one consistent snapshot."""
        try:
            if not self.is_sqlite:
                return self._server.read(lambda connection, now_us: fn(Tx(connection, now_us)))
            with self._reader.connect() as connection:
                return fn(Tx(connection, self.now_us()))
        except DataError as err:
            raise _unfit(err) from err
        except OperationalError as err:
            raise Unavailable("the store does not answer; try again", detail=str(err)) from err

    def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` and return its answer once it is durable. What `fn` raises comes out, and nothing is written."""
        return self._write_grouped(fn) if self.is_sqlite else self._write_repeated(fn)

    def write_each(self, fns: Sequence[Callable[[Tx], T]]) -> list[T | Exception]:
        """Run several writes, each on its own, with one fsync if possible; one that raises is answered with that."""
        if not self.is_sqlite:
            return [_answer(lambda fn=fn: self._write_repeated(fn)) for fn in fns]  # type: ignore[misc]
        futures: list[Future[T]] = [Future() for _ in fns]
        context = contextvars.copy_context()
        self._waiting.extend((context.copy(), fn, future) for fn, future in zip(fns, futures, strict=True))
        with self._leading:
            if not all(future.done() for future in futures):
                self._lead()
        return [_answer(future.result) for future in futures]

    def join_replicas(self) -> None:
        """Wake the other replicas on this store after each commit, and be woken by them. With SQLite there are none."""
        if not self.is_sqlite:
            self._hints = Hints(self._writer, self.signals)

    def close(self) -> None:
        """Give every connection back."""
        if self._hints is not None:
            self._hints.close()
        self._reader.dispose()
        self._writer.dispose()
        if self.is_sqlite:
            os.close(self._lock_fd)

    def connect_for_migration(self) -> Connection:
        """A bare connection; only migrations use it."""
        return self._writer.connect()

    @contextmanager
    def writers_held(self) -> Iterator[None]:
        """Keep every process from writing to SQLite, this one's `write` too: for what writes past it."""
        with _held(self._lock_fd):
            yield

    def _wake(self, tx: Tx) -> None:
        for topic in tx.topics:
            self.signals.notify(topic)
        if self._hints is not None and tx.topics:
            self._hints.send(tx.topics)

    # SQLite

    def _write_grouped(self, fn: Callable[[Tx], T]) -> T:
        mine: Future[T] = Future()
        self._waiting.append((contextvars.copy_context(), fn, mine))
        with self._leading:
            if not mine.done():
                self._lead()
        return mine.result()

    def _lead(self) -> None:
        """Run everything that waits, in one commit. Whoever waits meanwhile is led by the next."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        done: list[tuple[Future[Any], Any, Tx]] = []
        try:
            with _held(self._lock_fd), self._writer.begin() as connection:
                for context, fn, future in batch:
                    tx = Tx(connection, self.now_us())
                    try:
                        with savepoint(connection):
                            answer = context.run(fn, tx)
                    except Exception as err:  # the caller's own: handed back, and the others go on
                        future.set_exception(_outward(err))
                    else:
                        done.append((future, answer, tx))
                require_open(connection)
        except BaseException as err:
            for _, _, future in batch:
                if not future.done():
                    future.set_exception(_outward(err))
            if not isinstance(err, Exception):
                raise
            return
        for future, answer, tx in done:
            self._wake(tx)  # before the writer goes on: what it does next meets no cache that it made stale
            future.set_result(answer)

    # PostgreSQL

    def _write_repeated(self, fn: Callable[[Tx], T]) -> T:
        def change(connection: Connection, now_us: int) -> tuple[T, Tx]:
            tx = Tx(connection, now_us)
            return fn(tx), tx

        try:
            answer, tx = self._server.write(change)
        except DataError as err:
            raise _unfit(err) from err
        self._wake(tx)
        return answer


class StoreClock:
    """The store's clock, for what is not asked in a transaction: all replicas say the same of a host."""

    def __init__(self, store: Database) -> None:
        self._store = store

    def now_us(self) -> int:
        return self._store.now_us()

    def monotonic_s(self) -> float:
        return time.monotonic()


def _answer(get: Callable[[], T]) -> T | Exception:
    try:
        return get()
    except Exception as err:
        return err


def _outward(err: BaseException) -> BaseException:
    """A full or failing disk is the store's trouble, not the caller's: nothing was written."""
    if not isinstance(err, OperationalError):
        return err
    unavailable = Unavailable("the store cannot write now; nothing was changed, try again", detail=str(err))
    unavailable.__cause__ = err
    return unavailable


def _unfit(err: DataError) -> BadInput:
    """A value that came from outside and that PostgreSQL cannot hold, like text with a NUL: the caller's mistake."""
    return BadInput("a value in the request cannot be stored or looked for", detail=str(err))


@contextmanager
def _held(fd: int) -> Iterator[None]:
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


_WAL_SHRINKS = f"journal_size_limit={STORE_WAL_BYTES}"


def _sqlite_engine(path: Path, read_only: bool) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=1 if not read_only else HANDLER_THREADS,
        max_overflow=0 if not read_only else HANDLER_THREADS,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": STORE_BUSY_S, "cached_statements": 512},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        settings = ["foreign_keys=ON", "temp_store=MEMORY", "cache_size=-8192"]
        settings += ["query_only=ON"] if read_only else ["journal_mode=WAL", "synchronous=FULL", _WAL_SHRINKS]
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        execute_on_driver(connection, "BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
