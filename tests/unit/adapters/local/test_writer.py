"""Several threads share a transaction, and nothing of one is lost or undone by another."""

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from musproj.adapters.local import writer
from musproj.adapters.local.database import LocalDatabase
from musproj.errors import BackendUnavailableError, JobNotFoundError, StorageFullError
from musproj.testing.clock import FakeClock

Work = Callable[[sqlite3.Connection], object]
PATIENCE = 20.0


def put(name: str) -> Work:
    return lambda connection: connection.execute("INSERT INTO timer VALUES(?, 0)", (name,)).rowcount


def names(database: LocalDatabase) -> set[str]:
    return {row[0] for row in database.read(lambda c: c.execute("SELECT name FROM timer").fetchall())}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as executor:
        yield executor


@contextmanager
def leader_at_work(database: LocalDatabase, pool: ThreadPoolExecutor) -> Iterator[Future[object]]:
    """Keep one thread inside its transaction; what is submitted meanwhile must wait."""
    inside, leave = threading.Event(), threading.Event()

    def work(connection: sqlite3.Connection) -> str:
        put("leader")(connection)
        inside.set()
        leave.wait(PATIENCE)
        return "led"

    led = pool.submit(database.write, work)
    assert inside.wait(PATIENCE)
    try:
        yield led
    finally:
        leave.set()


def all_wait(database: LocalDatabase, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(database._writer._waiting) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


class TestSharing:
    def test_all_that_wait_share_the_next_transaction(self, database: LocalDatabase, pool: ThreadPoolExecutor) -> None:
        with leader_at_work(database, pool) as led:
            waiting = [pool.submit(database.write, put(f"{n}")) for n in range(32)]
            all_wait(database, 32)
            before = database.changes
        assert [future.result(PATIENCE) for future in waiting] == [1] * 32
        assert (led.result(PATIENCE), database.changes) == ("led", before + 2)
        assert names(database) == {"leader", *(f"{n}" for n in range(32))}

    def test_an_error_undoes_its_own_function_alone(self, database: LocalDatabase, pool: ThreadPoolExecutor) -> None:
        def fail(connection: sqlite3.Connection) -> None:
            put("undone")(connection)
            raise JobNotFoundError("no")

        with leader_at_work(database, pool):
            waiting = [pool.submit(database.write, work) for work in (put("a"), fail, put("leader"), put("b"))]
            all_wait(database, 4)
        errors = [future.exception(PATIENCE) for future in waiting]
        assert [type(error) for error in errors] == [type(None), JobNotFoundError, BackendUnavailableError, type(None)]
        assert names(database) == {"leader", "a", "b"}

    def test_more_than_a_batch_is_several(self, database: LocalDatabase, pool: ThreadPoolExecutor) -> None:
        many = ThreadPoolExecutor(200)
        with many, leader_at_work(database, pool):
            waiting = [many.submit(database.write, put(f"{n}")) for n in range(150)]
            all_wait(database, 150)
        assert sum(future.result(PATIENCE) for future in waiting) == 150
        assert len(names(database)) == 151

    def test_order_of_arrival_is_order_of_effect(self, database: LocalDatabase, pool: ThreadPoolExecutor) -> None:
        order: list[int] = []
        with leader_at_work(database, pool):
            waiting = []
            for n in range(20):
                waiting.append(pool.submit(database.write, lambda _, n=n: order.append(n)))
                all_wait(database, n + 1)
        for future in waiting:
            future.result(PATIENCE)
        assert order == list(range(20))

    def test_a_function_that_changes_nothing_is_no_change(self, database: LocalDatabase) -> None:
        before = (database.changes, database.chances)
        assert database.write(lambda connection: connection.execute("SELECT 1").fetchone()) == (1,)
        assert (database.changes, database.chances) == before

    def test_only_work_is_a_chance(self, database: LocalDatabase) -> None:
        before = database.chances
        database.write(put("a"), wakes=False)
        assert database.chances == before
        database.write(put("b"))
        assert database.chances == before + 1


class TestNoRoom:
    def test_the_one_that_is_too_large_spoils_no_other(self, database: LocalDatabase, pool: ThreadPoolExecutor) -> None:
        def large(connection: sqlite3.Connection) -> None:
            for n in range(1000):
                put(f"{n:09}" * 100)(connection)

        def limit(connection: sqlite3.Connection) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + 20}")

        # The limit is the connection's own: every thread that may lead sets it.
        gate = threading.Barrier(8, timeout=PATIENCE)

        def job(work: Work) -> object:
            database.read(limit)
            gate.wait()
            return database.write(work)

        with leader_at_work(database, pool):
            waiting = [pool.submit(job, work) for work in (put("a"), large, *(put(f"{n}") for n in range(6)))]
            all_wait(database, 8)
        errors = [future.exception(PATIENCE) for future in waiting]
        assert [type(error) for error in errors].count(StorageFullError) == 1
        assert isinstance(errors[1], StorageFullError)
        assert names(database) == {"leader", "a", *(f"{n}" for n in range(6))}


class TestWaiting:
    def test_a_follower_gives_up_at_its_own_deadline(self, database: LocalDatabase, pool: ThreadPoolExecutor) -> None:
        with leader_at_work(database, pool):
            started = time.monotonic()
            with pytest.raises(BackendUnavailableError, match="locked"):
                database.write(put("late"), patience=0.05)
            assert time.monotonic() - started < 5
        database.write(put("next"))
        assert names(database) == {"leader", "next"}

    def test_another_process_lock_is_told_after_the_patience(self, database: LocalDatabase, path: Path) -> None:
        with locked_elsewhere(path):
            with pytest.raises(BackendUnavailableError, match=r"locked by another process for 0\.\d s") as caught:
                database.write(put("late"), patience=0.1)
            assert caught.value.retryable
            assert names(database) == set()
        database.write(put("next"))
        assert names(database) == {"next"}

    def test_those_behind_a_leader_that_gave_up_go_on(
        self, database: LocalDatabase, path: Path, pool: ThreadPoolExecutor
    ) -> None:
        with locked_elsewhere(path):
            first = pool.submit(database.write, put("first"), patience=0.2)
            others = [pool.submit(database.write, put(f"{n}"), patience=PATIENCE) for n in range(8)]
            assert isinstance(first.exception(PATIENCE), BackendUnavailableError)
        for future in others:
            future.result(PATIENCE)
        assert names(database) == {f"{n}" for n in range(8)}


class TestCheckpoints:
    """SQLite's own ones may meet a writer of another process, which corrupts files up to 3.51.2."""

    def test_sqlites_own_are_off(self, database: LocalDatabase) -> None:
        assert database.read(lambda c: c.execute("PRAGMA wal_autocheckpoint").fetchone()) == (0,)

    def test_the_log_is_folded_in_now_and_then(
        self, database: LocalDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "CHECKPOINT_EVERY", 5)
        sizes = []
        for n in range(60):
            database.write(put(f"{n:09}" * 50))
            sizes.append((path.stat().st_size, path.with_name("musproj.db-wal").stat().st_size))
        assert sizes[-1][0] > sizes[0][0]
        assert sizes[-1][1] == sizes[30][1]
        assert len(names(database)) == 60

    def test_one_that_meets_a_foreign_lock_is_put_off(
        self, database: LocalDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        database.write(put("a"))
        before = path.stat().st_size
        with locked_elsewhere(path):
            database.read(database._writer.checkpoint)
            assert path.stat().st_size == before
        database.read(database._writer.checkpoint)
        assert path.stat().st_size > before


class TestInterrupts:
    def test_an_interrupted_leader_undoes_the_batch_and_tells_the_others(
        self, database: LocalDatabase, pool: ThreadPoolExecutor
    ) -> None:
        def interrupt(_: sqlite3.Connection) -> None:
            raise KeyboardInterrupt

        with leader_at_work(database, pool):
            waiting = []
            for work in (put("a"), interrupt, put("b")):
                waiting.append(pool.submit(database.write, work))
                all_wait(database, len(waiting))
        errors = [future.exception(PATIENCE) for future in waiting]
        assert isinstance(errors[0], KeyboardInterrupt)  # it led, and the interrupt hit its thread
        assert [type(error) for error in errors[1:]] == [BackendUnavailableError] * 2
        database.write(put("next"))
        assert names(database) == {"leader", "next"}

    def test_who_is_interrupted_while_waiting_holds_nobody_up(
        self, database: LocalDatabase, pool: ThreadPoolExecutor
    ) -> None:
        def interrupt() -> None:
            all_wait(database, 1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        with leader_at_work(database, pool):
            interrupter = pool.submit(interrupt)
            with pytest.raises(KeyboardInterrupt):
                database.write(put("interrupted"))
            assert interrupter.exception(PATIENCE) is None
            after = pool.submit(database.write, put("after"))
        assert after.result(PATIENCE) == 1
        assert names(database) == {"leader", "after"}

    def test_alone_it_undoes_its_own(self, database: LocalDatabase) -> None:
        def interrupt(connection: sqlite3.Connection) -> None:
            put("undone")(connection)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            database.write(interrupt)
        assert names(database) == set()
        database.write(put("next"))
        assert names(database) == {"next"}


def test_a_lone_thread_runs_its_function_itself(database: LocalDatabase) -> None:
    assert database.write(lambda _: threading.get_ident()) == threading.get_ident()


def test_threads_and_handles_lose_nothing(path: Path, clock: FakeClock) -> None:
    with LocalDatabase.open(path, clock=clock) as one, LocalDatabase.open(path, clock=clock) as two:
        with ThreadPoolExecutor(16) as pool:
            calls = [pool.submit((one, two)[n % 2].write, put(f"{n}")) for n in range(400)]
            assert sum(call.result(PATIENCE) for call in calls) == 400
        assert len(names(one)) == 400


@contextmanager
def locked_elsewhere(path: Path) -> Iterator[None]:
    """Hold the write lock as another program does."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()
