"""Who waits for a change hears of it on a connection of its own."""

import selectors
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.connection import Connection
from redis.exceptions import RedisError

from musproj.adapters.redis.connection import Command, RedisConnection
from musproj.adapters.redis.faults import translated
from musproj.errors import MusProjError
from musproj.ports.changes import ChangeFeed

RETRY_S = 1.0
"""Between two tries to connect anew."""
FAILED_RETRY = 5
"""So many times as long after a try that failed."""
PATIENCE_S = 1.0
"""What a connection may take to be made: who waits for changes has other things to do."""
_AWAY = (RedisError, OSError)


class Line:
    """A connection that waits for what the server says, behind one descriptor that outlives it."""

    def __init__(self, connection: RedisConnection, greeting: Sequence[Command] = ()) -> None:
        """Connect and say `greeting`, now and after each outage; a reply to each of its commands is awaited.

        Raises:
            BackendUnavailableError: the server does not answer.
        """
        self._connection = connection
        self._greeting = greeting
        self._selector = selectors.DefaultSelector()
        self._peer: Connection | None = None
        self._retry_at = 0.0
        self.greeted: list[Any] = []
        """The replies to the greeting."""
        self._open()

    @property
    def is_open(self) -> bool:
        """Whether the server can be heard."""
        return self._peer is not None

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when there is something to hear, None while the connection is broken."""
        if self._peer is None:
            return None
        of_selector = getattr(self._selector, "fileno", None)
        found: int | None = of_selector() if of_selector is not None else None
        return found

    def say(self, *command: str | bytes | float) -> bool:
        """Send a command, whose reply will be heard; tell whether it could be sent."""
        if self._peer is None:
            return False
        try:
            self._peer.send_command(*command, check_health=False)  # type: ignore[no-untyped-call]
        except _AWAY:
            self.hang_up()
            return False
        return True

    def hear(self) -> list[Any]:
        """Return what the server has said and nobody has heard, without waiting; it may hang up meanwhile."""
        found: list[Any] = []
        while self._peer is not None:
            try:
                if not self._peer.can_read(0):
                    break
                found.append(self._peer.read_response())
            except _AWAY:
                self.hang_up()
        return found

    def await_reply(self, seconds: float) -> list[Any]:
        """Return what the server says next, waiting so long for it."""
        if self._peer is not None:
            with suppress(*_AWAY):
                self._peer.can_read(seconds)
        return self.hear()

    def reopen(self) -> bool:
        """Connect anew where the connection broke; tell whether it did so."""
        if self._peer is not None or time.monotonic() < self._retry_at:
            return False
        with suppress(MusProjError):
            self._open()
        # After the attempt: one may take as long as a silent server lets it.
        self._retry_at = time.monotonic() + RETRY_S * (1 if self.is_open else FAILED_RETRY)
        return self.is_open

    def hang_up(self) -> None:
        """Give up a connection that broke."""
        if self._peer is None:
            return
        peer, self._peer = self._peer, None
        with suppress(KeyError, ValueError, OSError):
            self._selector.unregister(_descriptor_of(peer))
        with suppress(Exception):
            peer.disconnect()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close everything; a second call does nothing."""
        self.hang_up()
        self._retry_at = float("inf")
        self._selector.close()

    def _open(self) -> None:
        peer = self._connection.open_apart(patience_s=PATIENCE_S)
        self._peer = peer
        self._selector.register(_descriptor_of(peer), selectors.EVENT_READ)
        for command in self._greeting:
            self.say(*command)
        try:
            self.greeted = [peer.read_response() for _ in self._greeting]
        except _AWAY as exc:
            self.hang_up()
            raise translated(exc, self._connection.where) from exc


def _descriptor_of(peer: Connection) -> int:
    found: Any = peer._sock  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] -- it has no other door to it
    return -1 if found is None else found.fileno()


QUIET_S = 10.0
"""Then a feed asks whether anybody is still there."""
OVERDUE_S = 5.0
"""How long the answer may take."""


class RedisFeed(ChangeFeed):
    """Hears what is published about changes; after an outage it tells of one, since it may have missed some.

    A peer that vanished without a word, as behind a firewall that forgot the connection, is found out by a PING.
    """

    def __init__(self, connection: RedisConnection, channel: str) -> None:
        """Subscribe.

        Raises:
            BackendUnavailableError: the server does not answer.
        """
        self._line = Line(connection, [("SUBSCRIBE", channel)])
        self._is_closed = False
        self._heard_at = time.monotonic()
        self._asked_at: float | None = None

    @property
    def interval(self) -> float:
        """Between two looks where nobody selects on the descriptor, and between two tries to connect anew."""
        return RETRY_S

    def fileno(self) -> int | None:
        """Return a descriptor that is readable on a change."""
        return None if self._is_closed else self._line.fileno()

    def poll(self) -> bool:
        """Tell whether anything was published, or may have been while the connection was broken."""
        if self._is_closed:
            return False
        if not self._line.is_open:
            self._heard_at, self._asked_at = time.monotonic(), None
            return self._line.reopen()
        heard = self._line.hear()
        if heard:
            self._heard_at, self._asked_at = time.monotonic(), None
        else:
            self._see_whether_anybody_is_there()
        return not all(map(_is_pong, heard)) or not self._line.is_open

    def close(self) -> None:
        """Close the connection."""
        self._is_closed = True
        self._line.close()

    def _see_whether_anybody_is_there(self) -> None:
        now = time.monotonic()
        if self._asked_at is not None:
            if now > self._asked_at + OVERDUE_S:
                self._line.hang_up()
        elif now > self._heard_at + QUIET_S and self._line.say("PING"):
            self._asked_at = now


def _is_pong(word: Any) -> bool:
    """Tell an answer to PING, as a list where RESP 2 is spoken to a subscriber."""
    return (word[0] if isinstance(word, list) else word) in (b"pong", b"PONG", "PONG")
