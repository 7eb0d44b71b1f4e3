"""Small writes that nobody waits for long, and small reads that many want at once: each kind together, in one thread.

A thread that is woken for one heartbeat costs more than the heartbeat does (0.5 ms on a small machine), and a thousand
hosts make two hundred a second. Writes are collected for HEARTBEAT_WINDOW_S, and share a commit; reads for no longer
than the loop needs to see all who ask, and share a snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from holdfast.base.errors import HoldfastError, Unavailable
from holdfast.base.limits import HEARTBEAT_WINDOW_S
from holdfast.control.store.database import Database, Tx

A = TypeVar("A")
T = TypeVar("T")
Alike = Callable[[Tx, Sequence[A]], Sequence[T | HoldfastError | None]]


class Batches:
    """What is done together on one store; used from one loop only."""

    def __init__(self, store: Database) -> None:
        self._writes, self._reads = _Batch(partial(_write_all, store)), _Batch(partial(_read_each, store))

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` with the next ones; its answer, or what it raised, once it is durable."""
        answer: T = await self._writes.join((lambda tx, _: [fn(tx)], None), HEARTBEAT_WINDOW_S)  # like nothing else
        return answer

    async def write_alike(self, fn: Alike[A, T], asked: A) -> T:
        """Have `fn` answer what is asked of it in the meantime, all in one call; once it is durable, this one's answer.

        `fn` answers each in its order, and refuses one by answering with an error. If it raises, it is called again for
        each alone, so that only those fail which do; but for a store that is away.
        """
        answer: T = await self._writes.join((fn, asked), HEARTBEAT_WINDOW_S)
        return answer

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on one snapshot with others."""
        answer: T = await self._reads.join(fn, 0)
        return answer


def _read_each(store: Database, fns: Sequence[Callable[[Tx], Any]]) -> list[Any]:
    def look(tx: Tx) -> list[Any]:
        return [_answer(fn, tx) for fn in fns]

    return store.read(look)


def _answer(fn: Callable[[Tx], Any], tx: Tx) -> Any:
    try:
        return fn(tx)
    except HoldfastError as err:  # about this one; what the store raises is about all
        return err


def _write_all(store: Database, asked: Sequence[tuple[Alike[Any, Any], Any]]) -> list[Any]:
    """The answer to each: one call and one savepoint for all that is asked of one function, one commit for all."""
    alike: dict[Alike[Any, Any], list[int]] = {}
    for place, (fn, _) in enumerate(asked):
        alike.setdefault(fn, []).append(place)
    answers: list[Any] = [None] * len(asked)
    alone: list[int] = []
    for places, found in zip(alike.values(), _write_groups(store, asked, alike.values()), strict=True):
        if isinstance(found, Exception) and not isinstance(found, Unavailable) and len(places) > 1:
            alone += places
            continue
        same = [found] * len(places)
        for place, answer in zip(places, same if isinstance(found, Exception) else found, strict=True):
            answers[place] = answer
    for place, found in zip(alone, _write_groups(store, asked, [[place] for place in alone]), strict=True):
        answers[place] = found if isinstance(found, Exception) else found[0]
    return answers


def _write_groups(
    store: Database, asked: Sequence[tuple[Alike[Any, Any], Any]], groups: Iterable[Sequence[int]]
) -> list[Any]:
    def call(places: Sequence[int]) -> Callable[[Tx], Any]:
        return lambda tx: asked[places[0]][0](tx, [asked[place][1] for place in places])

    calls = [call(places) for places in groups]
    return store.write_each(calls) if calls else []


class _Batch:
    """One kind."""

    def __init__(self, run: Callable[[Sequence[Any]], list[Any]]) -> None:
        self._run_all = run
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def join(self, asked: Any, window_s: float) -> Any:
        """Its answer, or what it raised."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((asked, mine))
        if len(self._waiting) == 1:
            loop.call_later(window_s, self._begin)
        return await mine

    def _begin(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._run(batch))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, batch: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        try:
            answers: list[Any] = await asyncio.to_thread(self._run_all, [asked for asked, _ in batch])
        except BaseException as err:
            answers = [err] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue  # whoever asked went away
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
