"""One connection per thread, and none that outlives a fork.

SQLite keeps its locks in two places: in the kernel, per process, and in a table of its own memory. A forked child
inherits the second without the first: a connection that it opens while the parent's are open believes to hold
locks that it does not hold, and the parent's clean close then deletes the write-ahead log below it. Acknowledged
rows are lost that way (measured; sqlite.org/howtocorrupt.html 2.6 only forbids to use an inherited connection).
So a fork waits until no thread is inside SQLite and closes all connections before it; both sides open new ones
on their next call, which costs about half a millisecond.
"""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from musproj.errors import BackendUnavailableError

FORK_PATIENCE_S = 30.0
"""How long a fork waits for a thread that is inside SQLite: far longer than any transaction here takes."""

_POLL_S = 0.0002


class Seat:
    """A thread's connection, which a fork or a close may take away while the thread is not inside."""

    __slots__ = ("__weakref__", "_pid", "connection", "depth", "generation")

    def __init__(self) -> None:
        """Begin without a connection."""
        self._pid = os.getpid()
        self.connection: sqlite3.Connection | None = None
        self.depth = 0
        """How many calls of the thread are inside; nested ones share the connection."""
        self.generation = 0
        """Grows with each new connection."""

    def close(self) -> None:
        """Close the connection, if there is one and it is this process' own."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if os.getpid() != self._pid:
            _inherited.append(connection)
            return
        with suppress(sqlite3.Error):
            connection.close()

    def __del__(self) -> None:
        """Close the connection of a thread that ended."""
        self.close()


class Connections:
    """Hands each thread its own connection and keeps forks and the last close away from those in use."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Open with `connect`, on the first use by each thread."""
        self._connect = connect
        self._is_closed = False
        self._followers: list[Callable[[], None]] = []
        self._start_over()
        _watch(self)

    def after_fork(self, callback: Callable[[], None]) -> None:
        """Call `callback` in each forked child before anybody uses a connection there."""
        self._followers.append(callback)

    def enter(self) -> Seat:
        """Return the thread's seat with an open connection; `leave` must follow.

        Raises:
            BackendUnavailableError: it was closed, or this process was forked behind its back.
            sqlite3.Error: it cannot be opened.
        """
        if _inherited or os.getpid() != self._pid:
            raise BackendUnavailableError(
                "This process was forked while the database was in use, so SQLite's locks cannot be trusted here.",
                hint="Fork with os.fork and outside of transactions, or start a fresh process.",
            )
        seat: Seat = getattr(self._here, "seat", None) or self._take_seat()
        seat.depth += 1
        while self._is_halted and seat.depth == 1:
            seat.depth = 0
            self._resumed.wait()
            seat.depth = 1
        if seat.connection is None:
            try:
                self._open(seat)
            except BaseException:
                seat.depth -= 1
                raise
        return seat

    @staticmethod
    def leave(seat: Seat) -> None:
        """Give the seat back."""
        seat.depth -= 1

    def open_apart(self) -> sqlite3.Connection:
        """Return one more connection to a thread that is inside; it closes it before it leaves.

        Raises:
            sqlite3.Error: it cannot be opened.
        """
        return self._connect()

    def halt(self) -> list[Seat]:
        """Let nobody in any more and close every connection; return the seats that are still in use."""
        self._resumed.clear()
        self._is_halted = True
        mine = getattr(self._here, "seat", None)
        deadline = time.monotonic() + FORK_PATIENCE_S
        busy: list[Seat] = []
        for seat in self._all_seats():
            while seat.depth and seat is not mine and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            if seat.depth:
                busy.append(seat)
            else:
                seat.close()
        return busy

    def resume(self) -> None:
        """Let everybody in again."""
        self._is_halted = False
        self._resumed.set()

    def close(self) -> None:
        """Close every connection for good; a second call does nothing."""
        self._is_closed = True
        self.halt()
        self.resume()

    def restart_in_child(self) -> None:
        """Forget what the parent's threads had."""
        for seat in list(self._seats):
            seat.close()  # which keeps it, being the parent's
        self._start_over()
        for callback in self._followers:
            callback()

    def _start_over(self) -> None:
        self._pid = os.getpid()
        self._here = threading.local()
        self._seats: weakref.WeakSet[Seat] = weakref.WeakSet()
        self._register = threading.Lock()
        self._resumed = threading.Event()
        self.resume()

    def _take_seat(self) -> Seat:
        seat = Seat()
        with self._register:
            self._seats.add(seat)
        self._here.seat = seat
        return seat

    def _all_seats(self) -> list[Seat]:
        with self._register:
            return list(self._seats)

    def _open(self, seat: Seat) -> None:
        if self._is_closed:
            raise BackendUnavailableError("The database was closed.")
        seat.connection = self._connect()
        seat.generation += 1


# ── forks ────────────────────────────────────────────────────────────────────────────────────────

_watched: weakref.WeakSet[Connections] = weakref.WeakSet()
_busy: list[Seat] = []
"""Seats in use at the fork that is under way."""
_inherited: list[sqlite3.Connection] = []
"""In a child, for ever: what was open at its fork. To close such a connection could write, so none ever is."""
_forking = threading.Lock()
_is_hooked = False


def _watch(connections: Connections) -> None:
    global _is_hooked  # noqa: PLW0603 - hooks of the interpreter cannot be taken back, so they are set once
    with _forking:
        if not _is_hooked and hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
            _is_hooked = True
        _watched.add(connections)


def _before_fork() -> None:
    _forking.acquire()
    for connections in list(_watched):
        _busy.extend(connections.halt())


def _after_in_parent() -> None:
    _busy.clear()
    for connections in list(_watched):
        connections.resume()
    _forking.release()


def _after_in_child() -> None:
    global _forking  # noqa: PLW0603 - the parent's may be waited for by threads that the child does not have
    _forking = threading.Lock()
    for connections in list(_watched):
        connections.restart_in_child()
    _busy.clear()
