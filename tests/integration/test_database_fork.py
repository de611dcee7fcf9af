"""The database across a fork: no acknowledged row is lost, nobody hangs."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("database_process.py")
QUIET = ["-W", "ignore::DeprecationWarning"]  # Python 3.12 warns of any fork beside threads; that is what is tested


def run(name: str, path: Path) -> list[str]:
    command = [sys.executable, *QUIET, SCRIPT, name, path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "musproj.db"


def test_a_fork_beside_writing_threads_loses_nothing(path: Path) -> None:
    assert "in order" in run("fork", path)[-1]


def test_a_child_outlives_its_parents_close(path: Path) -> None:
    """An inherited lock would be none: the close would delete the log below the child, and its row with it."""
    assert run("orphan", path) == ["second"]
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name FROM timer ORDER BY name").fetchall()
    connection.close()
    assert rows == [("before",), ("first",), ("second",)]


def test_a_fork_behind_pythons_back_spares_the_parent(path: Path) -> None:
    refused, rows, check = run("fork_raw", path)
    assert (refused, rows) == ("refused True", "rows ['before', 'parent']")
    assert "in order" in check


def test_a_fork_inside_a_transaction_spares_the_parent(path: Path) -> None:
    assert run("fork_inside", path) == ["refused True", "rows ['parent']"]
