"""One writer at a time, and one fsync for all that wait: flat combining.

A thread that wants to write queues its function. Whoever finds nobody leading leads: it takes the write lock of
the database, runs what is queued by then, each function in a savepoint of its own, commits once, and hands the
lead to the first of those who came meanwhile. So 32 concurrent requests share an fsync, and a lone thread runs its
function itself, without any hop.
"""

import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from musproj.adapters.local.connections import Connections, Seat
from musproj.adapters.local.faults import is_full, is_locked, locked, translated
from musproj.errors import BackendUnavailableError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""Reads and writes in the transaction it is given; runs again, alone, where its batch found no room on the disk."""

BATCH = 64
"""Functions per transaction: enough to make the fsync cheap, few enough that the first need not wait for long."""
RETRY_S = 0.001
"""Mean pause between two tries for the lock. SQLite's own back-off grows to 100 ms and starved a writer for 22.9 s."""
CHECKPOINT_EVERY = 200
"""Transactions of this process; at some five pages each it is the thousand pages of SQLite's own rule."""
CHECKPOINT_RETRY = 20
"""Transactions after a checkpoint that found another process writing."""


class _Ticket(Generic[T]):
    """One function on its way into a transaction."""

    __slots__ = ("bell", "deadline", "error", "is_done", "is_kept", "leads", "result", "wakes", "work")

    def __init__(self, work: Work[T], *, wakes: bool, patience: float) -> None:
        self.work = work
        self.wakes = wakes
        self.deadline = time.monotonic() + patience
        self.is_done = False
        self.is_kept = False
        """Committed."""
        self.leads = False
        self.result: T | None = None
        self.error: BaseException | None = None
        self.bell: threading.Lock | None = None
        """Held while the thread waits; released to wake it."""

    def settle(self) -> None:
        """Let the thread go on, if it waits; a second call does nothing."""
        if self.is_done:
            return
        self.is_done = True
        if self.bell is not None:
            self.bell.release()

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        if not self.is_kept:
            raise BackendUnavailableError("The thread that wrote was interrupted; whether it wrote is not known.")
        return cast("T", self.result)


class Writer:
    """Runs functions in durable transactions of one database; usable from several threads."""

    def __init__(self, connections: Connections, path: Path) -> None:
        """Write through `connections`; `path` names the file in errors."""
        self._connections = connections
        self._path = path
        self.changes = 0
        """Grows with each transaction of this process that changed something."""
        self.chances = 0
        """Grows with those that may have given a worker something to do."""
        self._since_checkpoint = 0
        self.start_over()

    def start_over(self) -> None:
        """Forget who leads and who waits: in a forked child none of them is left."""
        self._mutex = threading.Lock()
        self._is_led = False
        self._waiting: deque[_Ticket[Any]] = deque()

    def run(self, work: Work[T], *, wakes: bool, patience: float) -> T:
        """Run `work` in a transaction, durable on return.

        Raises:
            BackendUnavailableError: another process held the lock for `patience` seconds, and nothing was done; or
                the file failed.
            StorageFullError: there is no room; nothing was kept.
        """
        ticket = _Ticket(work, wakes=wakes, patience=patience)
        with self._mutex:
            if self._is_led:
                ticket.bell = threading.Lock()
                ticket.bell.acquire()
                self._waiting.append(ticket)
            else:
                self._is_led = ticket.leads = True
        if ticket.bell is not None:
            self._wait(ticket, ticket.bell)
        if not ticket.is_done:
            self._lead(ticket)
        return ticket.outcome()

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Fold the log into the file while nobody can write, if that is possible at once; it loses nothing else.

        SQLite up to 3.51.2 may corrupt the file where another connection resets the log in the moment in which a
        checkpoint begins (sqlite.org/wal.html, section 11). So its own checkpoints are off, and ours hold the write
        lock through a second connection: the first one's would forbid the checkpoint.
        """
        self._since_checkpoint = CHECKPOINT_EVERY - CHECKPOINT_RETRY
        with suppress(sqlite3.Error), closing(self._connections.open_apart()) as guard:
            guard.execute("BEGIN IMMEDIATE")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._since_checkpoint = 0

    # ── those who wait ──

    def _wait(self, ticket: _Ticket[Any], bell: threading.Lock) -> None:
        """Return when the ticket is done or has the lead."""
        try:
            if bell.acquire(timeout=max(0.0, ticket.deadline - time.monotonic())):
                return
            if not self._withdraw(ticket):
                bell.acquire()  # somebody took it at the last moment
                return
        except BaseException:
            self._withdraw(ticket)
            if ticket.leads and not ticket.is_done:
                self._hand_on()
            raise
        raise locked(self._path, waited=None)

    def _withdraw(self, ticket: _Ticket[Any]) -> bool:
        with self._mutex:
            if ticket not in self._waiting:
                return False
            self._waiting.remove(ticket)
            return True

    # ── the one who leads ──

    def _lead(self, ticket: _Ticket[Any]) -> None:
        batch = [ticket]
        try:
            seat = self._begin(ticket.deadline)
            try:
                self._fill(batch)
                self._perform(batch, seat)
                _settle(batch)
                if self._since_checkpoint >= CHECKPOINT_EVERY and seat.connection is not None:
                    self.checkpoint(seat.connection)
            finally:
                self._connections.leave(seat)
        except sqlite3.Error as exc:
            raise translated(exc, self._path) from exc
        finally:
            _settle(batch)
            self._hand_on()

    def _hand_on(self) -> None:
        with self._mutex:
            self._is_led = bool(self._waiting)
            if not self._is_led:
                return
            successor = self._waiting.popleft()
            successor.leads = True
        assert successor.bell is not None
        successor.bell.release()

    def _begin(self, deadline: float) -> Seat:
        """Enter and take the write lock; out of SQLite while it waits, so that no fork waits for another process."""
        started = time.monotonic()
        while True:
            try:
                return self._try_to_begin()
            except sqlite3.Error as exc:
                if not is_locked(exc):
                    raise
                if time.monotonic() >= deadline:
                    raise locked(self._path, waited=time.monotonic() - started) from exc
            time.sleep(RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret

    def _try_to_begin(self) -> Seat:
        seat = self._connections.enter()
        try:
            _of(seat).execute("BEGIN IMMEDIATE")
        except BaseException:
            self._connections.leave(seat)
            raise
        return seat

    def _fill(self, batch: list[_Ticket[Any]]) -> None:
        with self._mutex:
            while self._waiting and len(batch) < BATCH:
                batch.append(self._waiting.popleft())

    def _perform(self, batch: list[_Ticket[Any]], seat: Seat) -> None:
        """Run the batch and commit, in the transaction that has begun."""
        connection = _of(seat)
        before = connection.total_changes
        try:
            if len(batch) == 1:
                batch[0].result = batch[0].work(connection)
            else:
                for ticket in batch:
                    self._run_apart(ticket, connection)
            connection.execute("COMMIT")
        except BaseException as exc:  # noqa: BLE001 - each thread is told its own error by its ticket
            _roll_back(seat)
            if len(batch) > 1 and isinstance(exc, sqlite3.Error) and is_full(exc):
                self._perform_each(batch)
            else:
                self._fail(batch, exc)
            return
        for ticket in batch:
            ticket.is_kept = True
        if connection.total_changes != before:
            self.changes += 1
            self._since_checkpoint += 1
            self.chances += any(ticket.wakes for ticket in batch)

    def _run_apart(self, ticket: _Ticket[Any], connection: sqlite3.Connection) -> None:
        """Run one function so that its error undoes nothing of the others."""
        connection.execute("SAVEPOINT one")
        try:
            ticket.result = ticket.work(connection)
        except Exception as exc:
            if not connection.in_transaction or (isinstance(exc, sqlite3.Error) and is_full(exc)):
                raise  # SQLite gave the whole transaction up
            connection.execute("ROLLBACK TO one")
            ticket.error = translated(exc, self._path) if isinstance(exc, sqlite3.Error) else exc
        connection.execute("RELEASE one")

    def _perform_each(self, batch: list[_Ticket[Any]]) -> None:
        """Do again, one by one, what had no room together: the one that is too large spoils no other."""
        for ticket in batch:
            ticket.result = ticket.error = None
            try:
                seat = self._begin(time.monotonic())
            except (sqlite3.Error, BackendUnavailableError) as exc:
                self._fail([ticket], exc)
                continue
            self._perform([ticket], seat)
            self._connections.leave(seat)

    def _fail(self, batch: list[_Ticket[Any]], exc: BaseException) -> None:
        """Note why nothing of the batch was kept; an interrupt is for the thread alone that it hit."""
        if not isinstance(exc, sqlite3.Error):
            batch[0].error = exc
            return
        for ticket in batch:
            ticket.error = translated(exc, self._path)
            ticket.error.__cause__ = exc


def _settle(batch: list[_Ticket[Any]]) -> None:
    for ticket in batch:
        ticket.settle()


def _of(seat: Seat) -> sqlite3.Connection:
    assert seat.connection is not None
    return seat.connection


def _roll_back(seat: Seat) -> None:
    connection = _of(seat)
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
    if connection.in_transaction:
        seat.close()  # it is beyond repair; the next call opens a new one
