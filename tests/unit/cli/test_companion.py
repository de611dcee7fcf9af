"""The keeper of a process, with small programs in the place of a worker."""

import logging
import sys
import threading
import time

import pytest

from musproj.cli import companion
from musproj.cli.companion import Companion

PATIENT = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); signal.pause()"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@pytest.fixture
def keep(monkeypatch, tmp_path):
    """Keep a program instead of a worker; stop it at the end."""
    kept = []

    def start(program):
        keeper = Companion([])
        monkeypatch.setattr(keeper, "_command", [sys.executable, "-c", program])
        kept.append(keeper)
        keeper.start()
        return keeper

    with (tmp_path / "stderr").open("w") as log:
        monkeypatch.setattr(sys, "stderr", log)  # the process writes into what this names
        yield start
        for keeper in kept:
            keeper.end(5)


def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_dies_is_started_again_later_each_time(keep, monkeypatch, caplog):
    monkeypatch.setattr(companion, "FIRST_PAUSE", 0.05)
    caplog.set_level(logging.ERROR)
    keep("raise SystemExit(3)")

    eventually(lambda: len(caplog.records) >= 2)

    assert "The worker ended (exit 3); it starts again" in caplog.messages[0]
    assert {record.action for record in caplog.records} == {"worker_died"}


def test_end_waits_for_one_that_takes_its_time(keep):
    keeper = keep(PATIENT)
    assert keeper.pid is not None

    keeper.end(10)

    assert keeper._process.returncode in (0, -15)


def test_one_that_does_not_end_is_killed(keep):
    keeper = keep(DEAF)
    time.sleep(0.3)  # until it is deaf

    keeper.end(0.2)

    eventually(lambda: keeper._process.poll() == -9)


def test_a_drain_while_it_rests_between_two_starts_starts_none(keep, caplog):
    caplog.set_level(logging.ERROR)
    keeper = keep("raise SystemExit(1)")
    eventually(lambda: caplog.records)

    keeper.end(5)

    assert keeper._process.returncode == 1
    assert not any(thread.name == "musproj-companion" for thread in threading.enumerate())


def test_one_that_never_started_has_nothing_to_end():
    keeper = Companion([])
    keeper.end(1)

    assert keeper.pid is None
