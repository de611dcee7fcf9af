"""A disk that is full, failing or read-only: an error that says so, and nothing half done."""

import errno
import fcntl
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import NoReturn

import pytest

from musproj.adapters.local.storage import LocalStorage
from musproj.domain.keys import ObjectKey
from musproj.errors import (
    BackendUnavailableError,
    ObjectExistsError,
    ObjectMissingError,
    StorageFullError,
    UnavailableError,
)

KEY = ObjectKey("assets/ast_1/v1/source.wav")
WHOLE = [f".meta/{KEY}.json", KEY]
STEPS = ("open", "mkdir", "write", "fsync", "link")
PAGE = 4096


def put(storage: LocalStorage, content: bytes = b"content", key: str = KEY) -> None:
    storage.put(ObjectKey(key), BytesIO(content), size=len(content), content_type="audio/wav")


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


class FailsAt:
    """Lets the n-th call of a function of `os` fail."""

    def __init__(self, step: int, code: int, function: Callable) -> None:
        self.left = step
        self.code = code
        self.function = function

    def __call__(self, *args, **named):
        self.left -= 1
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code))
        return self.function(*args, **named)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE])
def test_each_call_of_a_put_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    full = code in (errno.ENOSPC, errno.EDQUOT)
    for step in range(1, 100):
        root = tmp_path / str(step)
        storage = LocalStorage(root)
        before = open_files()
        failing = FailsAt(step, code, getattr(os, name))
        with monkeypatch.context() as patched:
            patched.setattr(os, name, failing)
            try:
                put(storage)
            except UnavailableError as exc:
                error = exc
            else:
                error = None
        assert open_files() == before
        assert list((root / ".tmp").iterdir()) == []
        if failing.left > 0:
            break
        # After the link, the object is there; that its name may not be on the disk yet is another error than "full".
        assert files(root) in ([], WHOLE)
        assert isinstance(error, StorageFullError if full and files(root) == [] else BackendUnavailableError)
        with suppress(ObjectExistsError):
            put(storage)
        assert files(root) == WHOLE
        storage.close()
    assert step > 1
    assert error is None


def test_each_call_of_the_others_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args, **named) -> NoReturn:
        raise OSError(errno.EIO, "failing")

    storage = LocalStorage(tmp_path)
    put(storage)
    storage.path(KEY)
    (tmp_path / f".meta/{KEY}.json").unlink()
    calls = {
        "open": [storage.stat, storage.path, storage.delete, lambda key: list(storage.list(key)), storage.read],
        "pread": [storage.stat, storage.read],
        "scandir": [lambda key: list(storage.list(""))],
        "unlink": [storage.delete, lambda key: storage.probe()],
        "fsync": [storage.delete],
        "write": [lambda key: storage.probe()],
    }
    for name, uses in calls.items():
        for use in uses:
            with monkeypatch.context() as patched, pytest.raises(BackendUnavailableError):  # noqa: PT012
                patched.setattr(os, name, failing)
                result = use(KEY)
                list(result)
        with suppress(ObjectExistsError):
            put(storage)


def test_a_name_that_could_not_be_settled_is_settled_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever relies on an object, since it was taken or looked at, brings its name to the disk first."""
    storage = LocalStorage(tmp_path)
    put(storage)
    (tmp_path / ".tmp/draft").hardlink_to(tmp_path / KEY)
    settled = []
    fsync = os.fsync

    def noting(fd: int) -> None:
        settled.append(os.path.samestat(os.fstat(fd), (tmp_path / KEY).parent.stat()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    storage.stat(KEY)
    assert settled == [True]
    with pytest.raises(ObjectExistsError):
        put(storage)
    assert settled == [True, True]
    (tmp_path / ".tmp/draft").unlink()
    storage.stat(KEY)
    assert settled == [True, True]


def test_a_limit_of_the_files_size_counts_as_full(tmp_path: Path) -> None:
    script = """
        import io, resource, sys
        from pathlib import Path
        from musproj.adapters.local.storage import LocalStorage
        from musproj.errors import StorageFullError

        storage = LocalStorage(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
        content = bytes(4_000_000)
        try:
            storage.put("big", io.BytesIO(content), size=len(content), content_type="audio/wav")
        except StorageFullError as exc:
            print(exc)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told == "The store cannot write an object: File too large.\n"
    assert files(tmp_path) == []


# ── a real small disk ──


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 1 MiB."""
    point = tmp_path / "disk"
    point.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "none", str(point))
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def test_what_cannot_fit_is_refused_before_it_fills_the_disk(disk: Path) -> None:
    storage = LocalStorage(disk)
    with pytest.raises(StorageFullError):
        storage.put(KEY, BytesIO(), size=2 << 20, content_type="audio/wav")
    assert files(disk) == []
    storage.close()


def test_a_disk_that_fills_up_while_writing_keeps_nothing(disk: Path) -> None:
    storage = LocalStorage(disk)
    with storage.writer(KEY, expected=None) as writer, pytest.raises(StorageFullError):  # noqa: PT012
        for _ in range(100):
            writer.write(bytes(PAGE * 10))
    assert files(disk) == []
    put(storage)
    assert files(disk) == WHOLE
    storage.close()


def test_whatever_room_is_left_a_put_is_whole_or_nothing(disk: Path) -> None:
    storage = LocalStorage(disk)
    outcomes = []
    for pages in range(12):
        with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(PAGE)):
                pass
        os.truncate(disk / "filler", max(0, (disk / "filler").stat().st_size - pages * PAGE))
        try:
            put(storage, b"x" * (PAGE + 1))
        except StorageFullError:
            assert files(disk) == ["filler"]
            outcomes.append(False)
        else:
            outcomes.append(True)
        (disk / "filler").unlink()
        storage.delete(KEY)
    assert outcomes == sorted(outcomes)
    assert {True, False} == set(outcomes)
    storage.close()


def test_a_disk_mounted_read_only_can_be_read(disk: Path) -> None:
    storage = LocalStorage(disk)
    put(storage)
    storage.close()
    mount("-o", "remount,ro", str(disk))
    storage = LocalStorage(disk)
    assert b"".join(storage.read(KEY)) == b"content"
    for call in (storage.probe, lambda: put(storage, key="other"), lambda: storage.delete(KEY)):
        with pytest.raises(BackendUnavailableError) as caught:
            call()
        assert "read-only" in f"{caught.value} {caught.value.hint}"
        assert str(disk) not in f"{caught.value} {caught.value.hint}"
    mount("-o", "remount,rw", str(disk))
    put(storage, key="other")
    storage.probe()
    storage.close()


def test_a_missing_object_on_a_failing_disk_is_not_missing(tmp_path: Path) -> None:
    """Only what the disk says is not there is missing."""
    storage = LocalStorage(tmp_path)
    with pytest.raises(ObjectMissingError):
        storage.stat(KEY)
    storage.close()
    with pytest.raises(BackendUnavailableError):
        storage.stat(KEY)


# ── races, acted out ──


def test_a_file_that_appears_at_the_last_moment_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put there by hand, past the lock."""
    storage = LocalStorage(tmp_path)
    link = os.link

    def meddled(source: str, target: str, **folders: int) -> None:
        if target.endswith(".wav"):
            (tmp_path / KEY).write_bytes(b"by hand")
        link(source, target, **folders)

    monkeypatch.setattr(os, "link", meddled)
    with pytest.raises(ObjectExistsError):
        put(storage)
    assert files(tmp_path) == [KEY]
    assert b"".join(storage.read(KEY)) == b"by hand"
    storage.close()


def test_without_links_a_taken_key_is_still_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)

    def meddled(source: str, target: str, **folders: int) -> None:
        if target.endswith(".wav"):
            (tmp_path / KEY).write_bytes(b"by hand")
        raise OSError(errno.EPERM, "as FAT has it")

    monkeypatch.setattr(os, "link", meddled)
    with pytest.raises(ObjectExistsError):
        put(storage)
    assert files(tmp_path) == [KEY]
    storage.close()


@pytest.mark.parametrize("times", [1, 1000])
def test_a_folder_pruned_while_it_was_waited_for_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    storage = LocalStorage(tmp_path)
    left = [None] * times
    flock = fcntl.flock

    def pruned_by_another(fd: int, operation: int) -> None:
        if left:
            left.pop()
            (tmp_path / f".meta/{KEY}").parent.rmdir()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", pruned_by_another)
    if times == 1:
        put(storage)
        assert files(tmp_path) == WHOLE
    else:
        with pytest.raises(BackendUnavailableError):
            put(storage)
        assert files(tmp_path) == []
    storage.close()


def test_an_object_deleted_as_soon_as_it_appeared_was_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    other = LocalStorage(tmp_path)
    link = os.link

    def link_then_delete(source: str, target: str, **folders: int) -> None:
        link(source, target, **folders)
        if target.endswith(".wav"):
            (tmp_path / KEY).unlink()
            (tmp_path / KEY).parent.rmdir()

    monkeypatch.setattr(os, "link", link_then_delete)
    put(storage)
    monkeypatch.undo()
    other.delete(KEY)
    assert files(tmp_path) == []
    storage.close()
    other.close()


def test_an_object_deleted_while_it_is_listed_is_left_out(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for name in ("a/1", "a/2", "a/3"):
        put(storage, key=name)
    listed = storage.list("a/")
    assert next(listed).key == "a/1"
    storage.delete(ObjectKey("a/2"))
    assert [stored.key for stored in listed] == ["a/3"]
    storage.close()


def test_a_folder_that_cannot_be_a_store_is_let_go(tmp_path: Path) -> None:
    (tmp_path / ".tmp").symlink_to(tmp_path)
    before = open_files()
    with pytest.raises(BackendUnavailableError):
        LocalStorage(tmp_path)
    assert open_files() == before


def test_a_sidecar_that_cannot_be_read_is_no_missing_one(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    put(storage)
    (tmp_path / f".meta/{KEY}.json").unlink()
    (tmp_path / f".meta/{KEY}.json").mkdir()
    with pytest.raises(BackendUnavailableError):
        storage.stat(KEY)
    storage.close()
