"""Small writes that nobody waits for long, and small reads that many want at once: each kind together, in one thread.

A thread that is woken for one heartbeat costs more than the heartbeat does (0.5 ms on a small machine), and a thousand
hosts make two hundred a second. Writes are collected for HEARTBEAT_WINDOW_S, and share a commit; reads for no longer
than the loop needs to see all who ask, and share a snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from holdfast.base.errors import HoldfastError
from holdfast.base.limits import HEARTBEAT_WINDOW_S
from holdfast.control.store.database import Database, Tx

T = TypeVar("T")


class Batches:
    """What is done together on one store; used from one loop only."""

    def __init__(self, store: Database) -> None:
        self._writes, self._reads = _Batch(store.write_each), _Batch(partial(_read_each, store))

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` with the next ones; its answer, or what it raised, once it is durable."""
        return await self._writes.join(fn, HEARTBEAT_WINDOW_S)

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on one snapshot with others."""
        return await self._reads.join(fn, 0)


def _read_each(store: Database, fns: Sequence[Callable[[Tx], Any]]) -> list[Any]:
    def look(tx: Tx) -> list[Any]:
        return [_answer(fn, tx) for fn in fns]

    return store.read(look)


def _answer(fn: Callable[[Tx], Any], tx: Tx) -> Any:
    try:
        return fn(tx)
    except HoldfastError as err:  # about this one; what the store raises is about all
        return err


class _Batch:
    """One kind."""

    def __init__(self, run: Callable[[Sequence[Callable[[Tx], Any]]], list[Any]]) -> None:
        self._run_all = run
        self._waiting: list[tuple[Callable[[Tx], Any], asyncio.Future[Any]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def join(self, fn: Callable[[Tx], T], window_s: float) -> T:
        """Its answer, or what it raised."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[T] = loop.create_future()
        self._waiting.append((fn, mine))
        if len(self._waiting) == 1:
            loop.call_later(window_s, self._begin)
        return await mine

    def _begin(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._run(batch))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, batch: list[tuple[Callable[[Tx], Any], asyncio.Future[Any]]]) -> None:
        try:
            answers: list[Any] = await asyncio.to_thread(self._run_all, [fn for fn, _ in batch])
        except BaseException as err:
            answers = [err] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue  # whoever asked went away
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
