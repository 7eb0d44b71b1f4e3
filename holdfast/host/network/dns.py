"""Names that a network's dnsmasq does not know, asked of the host's resolvers.

A tenant network's namespace has no way to the host, and gets none for this: dnsmasq asks a socket that we
hold inside its namespace, and the loop carries the datagram to a resolver from the host's own namespace, and
the answer back. What waits is bounded, per network too, so that one tenant cannot take the service from the
others. Over TCP nothing is carried.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from holdfast.base.limits import DNS_ANSWER_S, DNS_DATAGRAM_BYTES, DNS_QUESTIONS, DNS_QUESTIONS_PER_NETWORK
from holdfast.host.network import namespace
from holdfast.host.network.loop import READ, Loop
from holdfast.host.network.plan.dhcp import RELAY

_UDP = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A datagram on its way: its own socket towards the resolver, and where the answer goes."""

    upstream: socket.socket
    space: str
    listener: socket.socket
    asker: tuple[str, int]
    deadline_s: float


class DnsRelay:
    """The relay of one host; `resolvers` are (address, port), asked in turn."""

    def __init__(self, loop: Loop, resolvers: Sequence[tuple[str, int]]) -> None:
        self._loop = loop
        self._resolvers = resolvers
        self._turn = 0
        self._listening: dict[str, socket.socket] = {}
        self._questions: set[Question] = set()
        loop.tick(self._forget_late)

    def listen(self, space: str, anew: bool = False) -> None:
        """Have a socket in a namespace; `anew` when the namespace is another one of the same name."""
        if anew:
            self.forget(space)
        if self._resolvers and space not in self._listening:
            listener = namespace.inside(space, _listener)
            self._listening[space] = listener
            self._loop.call(lambda: self._loop.watch(listener, READ, partial(self._ask, space, listener)))

    def forget(self, space: str) -> None:
        """Close the socket in a namespace (an open one would keep the namespace alive)."""
        listener = self._listening.pop(space, None)
        if listener is not None:
            self._loop.call(lambda: self._loop.drop(listener))

    def _ask(self, space: str, listener: socket.socket) -> None:
        data, asker = listener.recvfrom(DNS_DATAGRAM_BYTES)
        mine = sum(question.space == space for question in self._questions)
        if len(self._questions) >= DNS_QUESTIONS or mine >= DNS_QUESTIONS_PER_NETWORK:
            return
        self._turn += 1
        resolver = self._resolvers[self._turn % len(self._resolvers)]
        upstream = socket.socket(socket.AF_INET6 if ":" in resolver[0] else socket.AF_INET, _UDP)
        question = Question(upstream, space, listener, asker, time.monotonic() + DNS_ANSWER_S)
        self._questions.add(question)
        self._loop.watch(upstream, READ, partial(self._answer, question))
        with suppress(OSError):
            upstream.connect(resolver)
            upstream.send(data)

    def _answer(self, question: Question) -> None:
        with suppress(OSError):
            question.listener.sendto(question.upstream.recv(DNS_DATAGRAM_BYTES), question.asker)
        self._end(question)

    def _forget_late(self) -> None:
        now = time.monotonic()
        for question in [question for question in self._questions if question.deadline_s < now]:
            self._end(question)

    def _end(self, question: Question) -> None:
        self._questions.discard(question)
        self._loop.drop(question.upstream)


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, _UDP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(RELAY)
    return listener
