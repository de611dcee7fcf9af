"""A process that dies anywhere leaves a whole object or none, and nothing that stays in the way."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from musproj.adapters.local.storage import LocalStorage
from musproj.adapters.local.storage_sweep import SWEEP_AGE_S
from musproj.domain.keys import ObjectKey
from musproj.errors import ObjectExistsError

KEY = ObjectKey("assets/ast_1/v1/source.wav")
WHOLE = [f".meta/{KEY}.json", KEY]
CONTENT = b"content" * 300_000
METADATA = {"musproj-job": "job_1"}

# One process forks a child for each step, which kills itself there; a last one gets through.
SCRIPT = """
import io, os, signal, sys
from pathlib import Path
from musproj.adapters.local.storage import LocalStorage

KEY, CONTENT = "assets/ast_1/v1/source.wav", b"content" * 300_000

def put(storage):
    storage.put(KEY, io.BytesIO(CONTENT), size=len(CONTENT), content_type="audio/wav", metadata={"musproj-job": "job_1"})

def delete(storage):
    storage.delete(KEY)

def dies_at(step):
    seen = 0

    def wrapped(function):
        def call(*args, **named):
            nonlocal seen
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **named)
        return call

    for name in ("open", "close", "mkdir", "rmdir", "write", "fsync", "link", "rename", "unlink", "stat"):
        setattr(os, name, wrapped(getattr(os, name)))

folder, what, prepare = Path(sys.argv[1]), globals()[sys.argv[2]], len(sys.argv) > 3
step, survived = 0, False
while not survived:
    step += 1
    storage = LocalStorage(folder / f"{step:03}")
    if prepare:
        put(storage)
    child = os.fork()
    if child == 0:
        dies_at(step)
        what(storage)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    survived = os.WIFEXITED(status)
    assert survived or os.WTERMSIG(status) == signal.SIGKILL, status
    storage.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: nothing here is about a loss of power."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as name:
        yield Path(name)


def die_at_each_step(folder: Path, *arguments: str) -> list[Path]:
    subprocess.run([sys.executable, "-c", SCRIPT, str(folder), *arguments], check=True)
    roots = sorted(folder.iterdir())
    assert len(roots) > 40
    return roots


def put(storage: LocalStorage) -> None:
    storage.put(KEY, BytesIO(CONTENT), size=len(CONTENT), content_type="audio/wav", metadata=METADATA)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def sweep(root: Path) -> None:
    old = time.time() - SWEEP_AGE_S - 1
    for path in (root / ".tmp").iterdir():
        os.utime(path, (old, old))
    LocalStorage(root).close()


def is_whole(storage: LocalStorage) -> bool:
    """Tell whether the object is there; then it must be all of it, metadata included."""
    found = list(storage.list(""))
    if not found:
        return False
    assert found == [storage.stat(KEY)]
    assert (found[0].metadata, found[0].content_type) == (METADATA, "audio/wav")
    assert b"".join(storage.read(KEY)) == CONTENT
    return True


def test_a_put_that_dies_is_done_or_can_be_done_again(folder: Path) -> None:
    done = []
    for root in die_at_each_step(folder, "put"):
        storage = LocalStorage(root)
        done.append(is_whole(storage))
        if done[-1]:
            with pytest.raises(ObjectExistsError):
                put(storage)
        else:
            put(storage)
        assert is_whole(storage)
        storage.close()
        sweep(root)
        assert files(root) == WHOLE
    assert {True, False} == set(done)


def test_what_a_dead_put_left_is_swept(folder: Path) -> None:
    left = []
    for root in die_at_each_step(folder, "put"):
        sweep(root)
        left.append(files(root))
    assert all(names in ([], WHOLE) for names in left)


def test_a_delete_that_dies_can_be_done_again(folder: Path) -> None:
    for root in die_at_each_step(folder, "delete", "prepare"):
        storage = LocalStorage(root)
        is_whole(storage)
        storage.delete(KEY)
        assert files(root) == []
        put(storage)
        assert is_whole(storage)
        storage.close()


# ── a loss of power: what was not flushed is gone ──


def test_everything_is_on_the_disk_when_put_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order: bytes, then the name; and the name of each new folder too."""
    storage = LocalStorage(tmp_path)
    events: list[tuple[str, object]] = []

    def noting(name: str, what: Callable) -> None:
        function = getattr(os, name)

        def call(*args, **named):
            done = function(*args, **named)
            events.append((name, what(*args, **named)))
            return done

        monkeypatch.setattr(os, name, call)

    noting("fsync", lambda fd: os.fstat(fd).st_ino)
    noting("link", lambda source, target, **_: target)
    noting("mkdir", lambda name, dir_fd: (name, os.fstat(dir_fd).st_ino))
    put(storage)
    monkeypatch.undo()

    place = tmp_path / KEY
    linked = events.index(("link", place.name))
    assert ("fsync", place.stat().st_ino) in events[:linked]
    assert ("fsync", (tmp_path / f".meta/{KEY}.json").stat().st_ino) in events[
        : events.index(("link", f"{place.name}.json"))
    ]
    assert events.index(("link", f"{place.name}.json")) < linked
    assert ("fsync", place.parent.stat().st_ino) in events[linked:]
    for folder in (place.parent, place.parent.parent, place.parent.parent.parent):
        above = folder.parent.stat().st_ino
        assert ("fsync", above) in events[events.index(("mkdir", (folder.name, above))) :]
    storage.close()
