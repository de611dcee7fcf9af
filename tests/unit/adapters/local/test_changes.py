"""What a feed hears: other processes by SQLite's own number, this one by a counter."""

import threading
from pathlib import Path

import pytest

from musproj.adapters.local import changes
from musproj.adapters.local.database import LocalDatabase
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger


def test_it_is_quiet_while_nothing_happens(ledger: Ledger) -> None:
    ledger.submit(ledger.ready())
    feed = ledger.queue.listen()
    assert [feed.poll() for _ in range(3)] == [False, False, False]


def test_it_hears_its_own_thread_once(ledger: Ledger) -> None:
    asset = ledger.ready()
    feed = ledger.queue.listen()
    ledger.submit(asset)
    assert [feed.poll(), feed.poll()] == [True, False]


def test_a_beat_or_a_look_of_its_own_process_wakes_no_worker(ledger: Ledger) -> None:
    run = ledger.running(ledger.ready())
    queue, jobs = ledger.queue.listen(), ledger.jobs.listen()
    ledger.beat(run)
    assert (queue.poll(), jobs.poll()) == (False, True)
    ledger.jobs.workers()
    assert ledger.queue.depth() == 0
    assert (queue.poll(), jobs.poll()) == (False, False)


def test_it_hears_another_thread(ledger: Ledger) -> None:
    asset = ledger.ready()
    feed = ledger.queue.listen()
    thread = threading.Thread(target=ledger.submit, args=(asset,))
    thread.start()
    thread.join()
    assert feed.poll()


def test_it_hears_another_handle_of_the_file(ledger: Ledger, path: Path, clock: FakeClock) -> None:
    feed = ledger.queue.listen()
    with LocalDatabase.open(path, clock=clock) as other:
        feed.poll()
        other.write(lambda c: c.execute("INSERT INTO timer VALUES('x', 0)"))
        assert [feed.poll(), feed.poll()] == [True, False]


def test_it_looks_more_often_while_something_happens(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = ledger.queue.listen()
    assert (feed.interval, feed.fileno()) == (changes.BUSY_INTERVAL_S, None)
    later = changes.time.monotonic() + changes.BUSY_FOR_S + 1
    monkeypatch.setattr(changes.time, "monotonic", lambda: later)
    assert feed.interval == changes.IDLE_INTERVAL_S
    ledger.submit(ledger.ready())
    feed.poll()
    assert feed.interval == changes.BUSY_INTERVAL_S


def test_a_closed_feed_is_silent(ledger: Ledger) -> None:
    feed = ledger.jobs.listen()
    feed.close()
    feed.close()
    ledger.ready()
    assert not feed.poll()


def test_on_a_closed_database_it_sends_its_reader_to_look(ledger: Ledger, database: LocalDatabase) -> None:
    feed = ledger.jobs.listen()
    database.close()
    assert feed.poll()
