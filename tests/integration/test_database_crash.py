"""What was acknowledged is there after a kill, a power cut or a full disk."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.system import SystemClock
from musproj.domain.asset import AssetStatus
from musproj.domain.ids import DEFAULT_OWNER, AssetId, JobId
from musproj.domain.job import JobStatus
from musproj.domain.ledger import Rules
from musproj.testing.clock import FakeClock

SCRIPT = Path(__file__).with_name("database_process.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "musproj.db"


def start(name: str, *arguments: object, output: Path) -> subprocess.Popen[bytes]:
    """Start a part of the script that writes what it acknowledges to `output`."""
    with output.open("ab") as file:
        return subprocess.Popen([sys.executable, SCRIPT, name, *map(str, arguments)], stdout=file)


def acknowledged(outputs: Iterable[Path]) -> list[list[str]]:
    return [line.split() for output in outputs for line in output.read_text().splitlines()]


def verify(path: Path, told: list[list[str]]) -> None:
    """Open the database and look for everything that somebody was told."""
    clock = SystemClock()
    with LocalDatabase.open(path, clock=clock) as database:
        assert "in order" in database.check()
        assets, jobs = LocalAssetStore(database, clock), LocalJobStore(database, clock, Rules())
        for kind, key, *number in told:
            if kind == "asset":
                assets.get(DEFAULT_OWNER, AssetId(key))
            elif kind == "ready":
                assert assets.get(DEFAULT_OWNER, AssetId(key)).status is AssetStatus.READY
            elif kind == "job":
                jobs.get(DEFAULT_OWNER, JobId(key))
            else:
                version = assets.version(DEFAULT_OWNER, AssetId(key), int(number[0]))
                assert version.provenance is not None
                job = jobs.get(DEFAULT_OWNER, version.provenance.job_id)
                assert (job.status, job.created_version) == (JobStatus.SUCCEEDED, version.number)


def wait_for(outputs: Iterable[Path], lines: int) -> None:
    deadline = time.monotonic() + 60
    while any(output.read_bytes().count(b"\n") < lines for output in outputs):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_three_writers_killed_at_random_moments_lose_nothing(path: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    outputs = [tmp_path / f"out-{number}" for number in range(3)]
    for lap in range(1, 4):
        running = [start("work", path, f"w{number}", output=output) for number, output in enumerate(outputs)]
        wait_for(outputs, 12 * lap)
        for process in rng.sample(running, 3):
            time.sleep(rng.uniform(0, 0.03))
            process.kill()
        for process in running:
            assert process.wait(30) == -signal.SIGKILL
    told = acknowledged(outputs)
    assert {kind for kind, *_ in told} == {"asset", "ready", "job", "version"}
    verify(path, told)


def test_a_copy_of_the_files_at_any_moment_has_what_was_acknowledged(path: Path, tmp_path: Path) -> None:
    """As after a power cut: the process stands still, what lies on the disk is all there is."""
    output = tmp_path / "out"
    process = start("work", path, "w", output=output)
    rng = random.Random(3)
    try:
        wait_for([output], 4)
        for number in range(12):
            time.sleep(rng.uniform(0.005, 0.05))
            process.send_signal(signal.SIGSTOP)
            told = acknowledged([output])
            folder = tmp_path / f"copy-{number}"
            folder.mkdir()
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{path}{suffix}", folder / f"{path.name}{suffix}")
            process.send_signal(signal.SIGCONT)
            verify(folder / path.name, told)
    finally:
        process.kill()
        process.wait(30)


def test_a_log_that_breaks_off_keeps_every_acknowledged_row(path: Path, tmp_path: Path) -> None:
    """What follows the last synced frame may be cut, torn or old: rows up to it are there, half rows never."""
    log = Path(f"{path}-wal")
    with LocalDatabase.open(path, clock=FakeClock()) as database:
        sizes = []
        for number in range(12):
            database.write(lambda c, n=number: c.execute("INSERT INTO timer VALUES(?, 0)", (f"{n:02}",)))
            sizes.append(log.stat().st_size)
        assert sizes == sorted(set(sizes))
        cuts = [cut for size in sizes for cut in (size, size + 100, size + 3000)]
        for cut in cuts:
            folder = tmp_path / f"cut-{cut}"
            folder.mkdir()
            copy = folder / path.name
            shutil.copyfile(path, copy)
            torn = bytearray(log.read_bytes()[:cut])
            torn += os.urandom(500)
            Path(f"{copy}-wal").write_bytes(torn)
            with LocalDatabase.open(copy, clock=FakeClock()) as opened:
                assert "in order" in opened.check()
                rows = opened.read(lambda c: c.execute("SELECT name FROM timer ORDER BY name").fetchall())
            assert rows == [(f"{number:02}",) for number, size in enumerate(sizes) if size <= cut]


@pytest.mark.parametrize("limit", [200_000, 1_000_000])
def test_a_file_that_may_not_grow_is_told_and_survived(path: Path, limit: int) -> None:
    """As over a quota. SQLite tells this from a full disk; that one is in the unit tests of the database."""
    command = [sys.executable, SCRIPT, "fill", path, str(limit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["error backend_unavailable", "read 0", "rows 1"]
    assert "in order" in lines[3]


def test_a_database_left_open_by_a_killed_process_opens_without_a_word(path: Path, tmp_path: Path) -> None:
    process = start("hammer", path, output=tmp_path / "out")
    wait_for([tmp_path / "out"], 1)
    time.sleep(0.1)
    process.kill()
    process.wait(30)
    with LocalDatabase.open(path, clock=FakeClock()) as database:
        assert "in order" in database.check()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM timer").fetchone()[0] > 0
    connection.close()
