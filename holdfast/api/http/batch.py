"""Small writes that nobody waits for long, collected for a moment and made in one thread, with one commit.

A thread that is woken for one heartbeat costs more than the heartbeat does (0.5 ms on a small machine), and a thousand
hosts make two hundred a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from holdfast.base.limits import HEARTBEAT_WINDOW_S
from holdfast.control.store.database import Database, Tx

T = TypeVar("T")


class Batch:
    """Writes that are made together. One per application; used from its loop only."""

    def __init__(self, store: Database) -> None:
        self._store = store
        self._waiting: list[tuple[Callable[[Tx], Any], asyncio.Future[Any]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` with the next ones; its answer, or what it raised, once it is durable."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[T] = loop.create_future()
        self._waiting.append((fn, mine))
        if len(self._waiting) == 1:
            loop.call_later(HEARTBEAT_WINDOW_S, self._begin)
        return await mine

    def _begin(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._run(batch))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, batch: list[tuple[Callable[[Tx], Any], asyncio.Future[Any]]]) -> None:
        try:
            answers = await asyncio.to_thread(self._store.write_each, [fn for fn, _ in batch])
        except BaseException as err:
            answers = [err] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue  # whoever asked went away
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
