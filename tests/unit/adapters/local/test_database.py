"""What opening checks, what closing leaves, and how SQLite's troubles are told."""

import sqlite3
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from musproj.adapters.local import database as module
from musproj.adapters.local import schema
from musproj.adapters.local.database import LocalDatabase
from musproj.domain.times import to_millis
from musproj.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidError,
    SchemaTooNewError,
    StorageFullError,
)
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def mark(database: LocalDatabase, name: str, at: int = 0) -> None:
    database.write(lambda connection: connection.execute("INSERT INTO timer VALUES(?, ?)", (name, at)))


def marks(database: LocalDatabase) -> list[str]:
    return [row[0] for row in database.read(lambda c: c.execute("SELECT name FROM timer ORDER BY name").fetchall())]


def pragma(database: LocalDatabase, name: str) -> object:
    return database.read(lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0])


class TestOpen:
    def test_it_makes_the_folder_and_the_file(self, tmp_path: Path, clock: FakeClock) -> None:
        with LocalDatabase.open(tmp_path / "new" / "folder" / "musproj.db", clock=clock) as database:
            assert database.path == tmp_path / "new" / "folder" / "musproj.db"
            assert "in order" in database.check()

    def test_each_connection_is_durable_and_never_waits_inside_sqlite(self, database: LocalDatabase) -> None:
        facts = [(pragma(database, name)) for name in ("journal_mode", "synchronous", "busy_timeout")]
        assert facts == ["wal", 2, 0]
        found = []
        thread = threading.Thread(target=lambda: found.append(pragma(database, "synchronous")))
        thread.start()
        thread.join()
        assert found == [2]

    def test_what_was_written_is_there_again(self, path: Path, clock: FakeClock) -> None:
        with LocalDatabase.open(path, clock=clock) as first:
            mark(first, "kept")
        with LocalDatabase.open(path, clock=clock) as second:
            assert marks(second) == ["kept"]

    def test_a_newer_schema_is_refused_and_left_alone(self, path: Path, clock: FakeClock) -> None:
        with LocalDatabase.open(path, clock=clock) as first:
            first.write(lambda connection: connection.execute(f"PRAGMA user_version = {schema.CURRENT + 1}"))
        with pytest.raises(SchemaTooNewError, match=f"schema {schema.CURRENT + 1}; this musproj knows up to"):
            LocalDatabase.open(path, clock=clock)
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (schema.CURRENT + 1,)
        connection.close()

    def test_another_programs_database_is_refused_and_left_alone(self, path: Path, clock: FakeClock) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs(a)")
        connection.close()
        with pytest.raises(ConfigurationError, match="another program"):
            LocalDatabase.open(path, clock=clock)
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
        connection.close()

    def test_a_file_that_is_no_database_is_told_with_its_way_out(self, path: Path, clock: FakeClock) -> None:
        path.write_bytes(b"not a database at all, but long enough to look at" * 100)
        with pytest.raises(BackendUnavailableError, match="damaged: file is not a database") as caught:
            LocalDatabase.open(path, clock=clock)
        assert ".recover" in (caught.value.hint or "")

    def test_a_network_file_system_is_refused(
        self, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "network_file_system", lambda _: "nfs4")
        with pytest.raises(ConfigurationError, match=r"network file system \(nfs4\)"):
            LocalDatabase.open(path, clock=clock)
        assert not path.exists()

    def test_an_old_sqlite_is_refused(self, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MIN_SQLITE", (9, 1, 0))
        with pytest.raises(ConfigurationError, match=r"too old; musproj needs 9\.1\.0"):
            LocalDatabase.open(path, clock=clock)

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path: Path, clock: FakeClock) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(ConfigurationError, match="cannot be used"):
            LocalDatabase.open(tmp_path / "file" / "musproj.db", clock=clock)

    def test_a_path_that_is_a_folder_is_told(self, tmp_path: Path, clock: FakeClock) -> None:
        with pytest.raises(BackendUnavailableError, match="cannot be opened"):
            LocalDatabase.open(tmp_path, clock=clock)


class TestOtherHosts:
    def worker(self, database: LocalDatabase, boot: str, host: str, seen_at: int) -> None:
        row = ("w", host, boot, 1, "[]", "[]", 1, seen_at)
        database.write(lambda c: c.execute("INSERT INTO worker VALUES(?, ?, ?, ?, ?, ?, ?, ?)", row))

    def test_a_live_worker_of_another_machine_is_refused(
        self, database: LocalDatabase, path: Path, clock: FakeClock
    ) -> None:
        self.worker(database, "another-boot", "studio-2", to_millis(clock.now()))
        with pytest.raises(ConfigurationError, match="another machine, 'studio-2'") as caught:
            LocalDatabase.open(path, clock=clock)
        assert "another data folder" in (caught.value.hint or "")

    def test_one_that_is_long_silent_is_not(self, database: LocalDatabase, path: Path, clock: FakeClock) -> None:
        self.worker(database, "another-boot", "studio-2", to_millis(clock.now()))
        clock.advance(timedelta(minutes=2))
        LocalDatabase.open(path, clock=clock).close()

    def test_a_container_under_the_same_kernel_is_not(
        self, ledger: Ledger, database: LocalDatabase, path: Path, clock: FakeClock
    ) -> None:
        self.worker(database, module.boot_id(), "container-b", to_millis(clock.now()))
        LocalDatabase.open(path, clock=clock).close()

    def test_this_machine_after_a_restart_is_not(
        self, database: LocalDatabase, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module.socket, "gethostname", lambda: "studio-1")
        self.worker(database, "boot-before", "studio-1", to_millis(clock.now()))
        LocalDatabase.open(path, clock=clock).close()


class TestClose:
    def test_it_folds_the_log_into_the_file(self, path: Path, clock: FakeClock) -> None:
        database = LocalDatabase.open(path, clock=clock)
        mark(database, "kept")
        database.close()
        database.close()
        assert sorted(item.name for item in path.parent.iterdir()) == ["musproj.db"]
        with LocalDatabase.open(path, clock=clock) as again:
            assert marks(again) == ["kept"]

    def test_afterwards_every_call_says_so(self, database: LocalDatabase) -> None:
        database.close()
        for call in (lambda: marks(database), lambda: mark(database, "late"), database.check, database.data_version):
            with pytest.raises(BackendUnavailableError, match="was closed"):
                call()

    @needs_proc
    def test_it_closes_the_connections_of_other_threads(self, database: LocalDatabase) -> None:
        inside, leave = threading.Event(), threading.Event()

        def live() -> None:
            marks(database)
            inside.set()
            leave.wait(10)

        thread = threading.Thread(target=live)
        thread.start()
        inside.wait(10)
        before = open_files(database.path)
        database.close()
        leave.set()
        thread.join()
        assert (len(before) > 0, open_files(database.path)) == (True, [])

    @needs_proc
    def test_a_thread_that_ends_takes_its_connection_along(self, database: LocalDatabase) -> None:
        marks(database)
        before = len(open_files(database.path))
        for _ in range(20):
            thread = threading.Thread(target=marks, args=(database,))
            thread.start()
            thread.join()
        # SQLite puts off one close while another connection of the process holds a lock, and uses the file again.
        assert len(open_files(database.path)) <= before + 1


class TestTroubles:
    def test_text_that_utf_8_cannot_hold_is_the_callers_fault(self, database: LocalDatabase) -> None:
        with pytest.raises(InvalidError):
            mark(database, "\ud800")
        with pytest.raises(InvalidError):
            database.read(lambda connection: connection.execute("SELECT ?", ("\ud800",)))
        mark(database, "fine")

    def test_a_damaged_page_is_told_by_check_and_by_calls(self, path: Path, clock: FakeClock) -> None:
        with LocalDatabase.open(path, clock=clock) as database:
            for number in range(200):
                mark(database, f"{number:04}" * 20)
        size = path.stat().st_size
        with path.open("r+b") as file:
            for page in range(1, size // 4096):  # all but the first, which holds the schema
                file.seek(page * 4096)
                file.write(b"\xa5" * 4096)
        with pytest.raises(BackendUnavailableError, match="damaged"):
            LocalDatabase.open(path, clock=clock)

    def test_check_names_what_it_found(self, database: LocalDatabase, path: Path) -> None:
        for number in range(200):
            mark(database, f"{number:04}" * 20)
        database.write(lambda c: c.execute("PRAGMA writable_schema = ON"))
        database.write(
            lambda c: c.execute("UPDATE sqlite_master SET rootpage = 3 WHERE name = 'gc_due_at'"),
        )
        other = sqlite3.connect(path)
        other.close()
        with LocalDatabase.open(path, clock=FakeClock()) as again, pytest.raises(BackendUnavailableError) as caught:
            again.check()
        assert ".recover" in (caught.value.hint or "")

    def test_no_room_undoes_the_transaction_and_the_next_one_works(self, database: LocalDatabase) -> None:
        pages = pragma(database, "page_count")
        pragma(database, f"max_page_count = {pages}")
        with pytest.raises(StorageFullError, match="no room"):
            database.write(
                lambda c: [c.execute("INSERT INTO timer VALUES(?, 0)", (f"{n:09}" * 100,)) for n in range(100)]
            )
        assert marks(database) == []
        pragma(database, f"max_page_count = {1 << 30}")
        mark(database, "after")
        assert marks(database) == ["after"]

    def test_a_read_only_file_is_told(self, path: Path, clock: FakeClock) -> None:
        with LocalDatabase.open(path, clock=clock) as database:
            database.write(lambda c: c.execute("PRAGMA query_only = ON"))
            with pytest.raises(BackendUnavailableError, match="cannot be opened or written"):
                mark(database, "no")

    def test_a_mistake_in_the_sql_is_told_and_kept_as_cause(self, database: LocalDatabase) -> None:
        with pytest.raises(BackendUnavailableError, match="no such table") as caught:
            database.read(lambda connection: connection.execute("SELECT * FROM nowhere"))
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)

    def test_a_snapshot_sees_one_state(self, database: LocalDatabase) -> None:
        def twice(connection: sqlite3.Connection) -> list[int]:
            counts = [connection.execute("SELECT count(*) FROM timer").fetchone()[0]]
            thread = threading.Thread(target=mark, args=(database, f"row-{counts[0]}-{threading.get_ident()}"))
            thread.start()
            thread.join()
            return [*counts, connection.execute("SELECT count(*) FROM timer").fetchone()[0]]

        assert database.read(twice, snapshot=True) == [0, 0]
        assert database.read(twice) == [1, 2]


def open_files(path: Path) -> list[str]:
    """Return this process' descriptors of a database and its companions."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.append(str(descriptor.readlink()))
    return [link for link in links if link.startswith(str(path))]


def test_a_file_that_is_moved_away_is_missed_not_made_anew(tmp_path):
    path, away = tmp_path / "musproj.db", tmp_path / "away.db"
    with LocalDatabase.open(path, clock=FakeClock()) as database:
        database._connections.close()
        database._connections._is_closed = False
        path.rename(away)
        with pytest.raises(BackendUnavailableError):
            database.read(lambda connection: connection.execute("SELECT count(*) FROM job").fetchone())
        assert not path.exists()
        away.rename(path)
        assert database.read(lambda connection: connection.execute("SELECT count(*) FROM job").fetchone()) == (0,)
