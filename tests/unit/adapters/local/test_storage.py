"""What only a folder can do: links, sidecars, hands that reach in, several processes."""

import hashlib
import io
import json
import logging
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musproj.adapters.local.storage import LocalStorage
from musproj.adapters.local.storage_sweep import SWEEP_AGE_S
from musproj.domain.keys import ObjectKey
from musproj.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
)

KEY = ObjectKey("assets/ast_1/v1/source.wav")

HOSTILE_KEYS = (
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../escape",
    "a/../../escape",
    "a/./b",
    "a//b",
    "a/",
    "/a",
    "a\\..\\b",
    "..\\escape",
    "%2e%2e/escape",
    "a/%2e%2e/b",
    "a\0b",
    "a.wav\0.html",
    "a\nb",
    ".meta/a.json",
    ".tmp/a",
    "a/.hidden",
    "~root/a",
    "C:/a",
    "a:stream",
    "a::$DATA",
    "CON",
    "con.wav",
    "assets/NUL",
    "assets/lpt1.wav/a",
    "COM0",
    "a./b",
    "trailing.",
    "a b",
    "ä",
    "a\u202eb",
    "\ud800",
    "x" * 1025,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def storage(root: Path) -> Iterator[LocalStorage]:
    storage = LocalStorage(root)
    yield storage
    storage.close()


def put(storage: LocalStorage, key: str = KEY, content: bytes = b"content", **more):
    return storage.put(ObjectKey(key), io.BytesIO(content), size=len(content), content_type="audio/wav", **more)


def read(storage: LocalStorage, key: str = KEY) -> bytes:
    return b"".join(storage.read(ObjectKey(key)))


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


# ── keys and links ──


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_what_is_no_key_reaches_no_file(storage: LocalStorage, root: Path, key: str) -> None:
    calls = [
        lambda: put(storage, key),
        lambda: storage.stat(ObjectKey(key)),
        lambda: next(storage.read(ObjectKey(key))),
        lambda: storage.delete(ObjectKey(key)),
        lambda: storage.path(ObjectKey(key)),
        lambda: storage.writer(key, expected=None),
    ]
    for call in calls:
        with pytest.raises(InvalidError):
            call()
    assert files(root.parent) == []


@pytest.mark.parametrize("prefix", ["../", "/etc/", "/", ".meta/", ".tmp/", "a/../", "a\0/", "assets/../.meta/"])
def test_a_hostile_prefix_lists_nothing(storage: LocalStorage, prefix: str) -> None:
    put(storage)
    assert list(storage.list(prefix)) == []


def test_a_linked_file_is_no_object(storage: LocalStorage, root: Path, tmp_path: Path) -> None:
    put(storage)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = root / "assets/ast_1/v1/link.wav"
    link.symlink_to(secret)
    key = ObjectKey("assets/ast_1/v1/link.wav")
    for call in (lambda: storage.stat(key), lambda: read(storage, key), lambda: storage.path(key)):
        with pytest.raises(ObjectMissingError):
            call()
    with pytest.raises(ObjectExistsError):
        put(storage, key)
    assert [stored.key for stored in storage.list("")] == [KEY]
    storage.delete(key)
    assert (link.is_symlink(), secret.read_text()) == (False, "secret")


def test_a_linked_folder_leads_nowhere(storage: LocalStorage, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.wav").write_text("outside")
    (root / "assets").symlink_to(outside)
    key = ObjectKey("assets/a.wav")
    for call in (lambda: storage.stat(key), lambda: read(storage, key), lambda: storage.path(key)):
        with pytest.raises(ObjectMissingError):
            call()
    with pytest.raises(ObjectExistsError):
        put(storage, "assets/new.wav")
    storage.delete(key)
    assert list(storage.list("")) == []
    assert files(outside) == ["a.wav"]
    assert list((root / ".tmp").iterdir()) == []


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    storage = LocalStorage(tmp_path / "link")
    put(storage)
    assert storage.path(KEY) == tmp_path / "disk" / KEY
    storage.close()


def test_a_pipe_is_no_object_and_holds_nobody(storage: LocalStorage, root: Path) -> None:
    put(storage)
    os.mkfifo(root / "assets/ast_1/v1/pipe.wav")
    with pytest.raises(ObjectMissingError):
        storage.stat(ObjectKey("assets/ast_1/v1/pipe.wav"))
    assert [stored.key for stored in storage.list("")] == [KEY]


def test_a_folder_is_no_object(storage: LocalStorage) -> None:
    put(storage)
    folder = ObjectKey("assets/ast_1")
    with pytest.raises(ObjectMissingError):
        storage.stat(folder)
    with pytest.raises(ObjectExistsError):
        put(storage, folder)
    storage.delete(folder)
    with pytest.raises(ObjectExistsError):
        put(storage, f"{KEY}/below")
    assert read(storage) == b"content"


def test_a_part_that_the_file_system_cannot_name_is_refused(storage: LocalStorage, root: Path) -> None:
    key = "x" * 300
    with pytest.raises(InvalidError):
        put(storage, key)
    with pytest.raises(ObjectMissingError):
        storage.stat(ObjectKey(key))
    storage.delete(ObjectKey(key))
    assert files(root) == []


# ── doors ──


def test_a_url_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("file:./there", f"file:{tmp_path}/there", f"file://{tmp_path}/there"):
        storage = LocalStorage.from_url(url)
        put(storage, f"key/{len(url)}")
        storage.close()
    assert len(files(tmp_path / "there/key")) == 3


@pytest.mark.parametrize("url", ["file:", "file://", "s3://bucket", "there", ""])
def test_a_url_without_a_folder_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        LocalStorage.from_url(url)


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackendUnavailableError):
        LocalStorage(tmp_path / "file")


def test_a_closed_store_touches_no_other_file(storage: LocalStorage, tmp_path: Path) -> None:
    put(storage)
    storage.close()
    with (tmp_path / "next to get the number").open("wb"), pytest.raises(BackendUnavailableError):
        put(storage, "other")
    with pytest.raises(BackendUnavailableError):
        storage.probe()


def test_the_folder_is_closed_to_others(storage: LocalStorage, root: Path) -> None:
    assert root.stat().st_mode & 0o077 == 0


def test_probe_leaves_nothing(storage: LocalStorage, root: Path) -> None:
    storage.probe()
    assert files(root) == []


# ── sidecars ──


def test_the_sidecar_tells_all(storage: LocalStorage, root: Path) -> None:
    put(storage, metadata={"musproj-job": "job_1"})
    assert json.loads((root / f".meta/{KEY}.json").read_text()) == {
        "schema": 1,
        "key": KEY,
        "size": 7,
        "sha256": sha256(b"content"),
        "contentType": "audio/wav",
        "metadata": {"musproj-job": "job_1"},
    }


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", "{}", '{"schema": 2}', '{"schema": 1, "size": "x"}'])
def test_an_object_without_a_readable_sidecar_is_hashed(storage: LocalStorage, root: Path, text: str | None) -> None:
    stored = put(storage, metadata={"musproj-job": "job_1"})
    sidecar = root / f".meta/{KEY}.json"
    sidecar.unlink() if text is None else sidecar.write_text(text)
    seen = storage.stat(KEY)
    assert (seen.etag, seen.sha256, seen.size_bytes) == (stored.etag, sha256(b"content"), 7)
    assert (seen.content_type, seen.metadata) == (None, {})
    assert b"".join(storage.read(KEY, etag=stored.etag)) == b"content"


def test_a_file_put_there_by_hand_is_an_object(storage: LocalStorage, root: Path) -> None:
    (root / "by").mkdir()
    (root / "by/hand.wav").write_bytes(b"12345")
    (seen,) = storage.list("by/")
    assert seen == storage.stat(ObjectKey("by/hand.wav"))
    assert seen.etag == sha256(b"12345")
    storage.delete(ObjectKey("by/hand.wav"))
    assert files(root) == []


def test_a_hash_is_remembered_until_the_file_looks_different(storage: LocalStorage, root: Path) -> None:
    path = root / "hand.wav"
    path.write_bytes(b"12345")
    known = storage.stat(ObjectKey("hand.wav")).etag
    before = path.stat()
    path.write_bytes(b"54321")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert storage.stat(ObjectKey("hand.wav")).etag == known
    os.utime(path, ns=(1, 1))
    assert storage.stat(ObjectKey("hand.wav")).etag == sha256(b"54321")


def test_not_every_hash_is_remembered_for_ever(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musproj.adapters.local.storage._REMEMBERED", 2)
    for number in range(5):
        (root / f"hand-{number}.wav").write_bytes(bytes([number]))
    assert [stored.etag for stored in storage.list("")] == [sha256(bytes([number])) for number in range(5)]
    assert len(storage._hashes) <= 2


def test_a_file_edited_by_hand_is_another_object(storage: LocalStorage, root: Path) -> None:
    stored = put(storage)
    (root / KEY).write_bytes(b"longer content")
    assert storage.stat(KEY).etag == sha256(b"longer content")
    with pytest.raises(ObjectChangedError):
        next(storage.read(KEY, etag=stored.etag))


def test_a_file_cut_while_it_is_read_is_told(storage: LocalStorage, root: Path) -> None:
    put(storage, content=bytes(3 << 20))
    blocks = storage.read(KEY)
    next(blocks)
    os.truncate(root / KEY, 10)
    with pytest.raises(ObjectChangedError):
        next(blocks)


def test_what_nobody_may_list_is_left_out(storage: LocalStorage, root: Path) -> None:
    put(storage)
    for name in (".DS_Store", "NUL", "umlaut ä", "dot."):
        (root / "assets" / name).touch()
    assert [stored.key for stored in storage.list("")] == [KEY]


def test_a_delete_leaves_no_trace(storage: LocalStorage, root: Path) -> None:
    put(storage)
    put(storage, "assets/ast_2/v1/source.wav")
    storage.delete(KEY)
    assert sorted(path.name for path in (root / "assets").iterdir()) == ["ast_2"]
    assert sorted(path.name for path in (root / ".meta/assets").iterdir()) == ["ast_2"]
    storage.delete(ObjectKey("assets/ast_2/v1/source.wav"))
    assert files(root) == []


def test_an_object_may_be_read_to_its_end_after_its_delete(storage: LocalStorage) -> None:
    content = os.urandom(3 << 20)
    put(storage, content=content)
    blocks = storage.read(KEY)
    seen = next(blocks)
    storage.delete(KEY)
    assert seen + b"".join(blocks) == content


def test_no_file_stays_open(storage: LocalStorage, root: Path) -> None:
    before = open_files()
    put(storage, content=bytes(3 << 20))
    next(storage.read(KEY))
    next(storage.list(""))
    storage.stat(KEY)
    with storage.writer("dropped", expected=None) as writer:
        writer.write(b"half")
    with pytest.raises(ObjectExistsError):
        put(storage)
    storage.delete(KEY)
    assert open_files() == before
    assert files(root) == []


# ── sweep ──


def age(path: Path) -> None:
    old = time.time() - SWEEP_AGE_S - 1
    os.utime(path, (old, old))


def test_old_temporary_files_are_swept(storage: LocalStorage, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("old", "old.json", "damaged.json", "new"):
        (root / ".tmp" / name).write_text("{" if name.startswith("damaged") else json.dumps({"key": "../x"}))
        if name != "new":
            age(root / ".tmp" / name)
    with caplog.at_level(logging.INFO):
        LocalStorage(root).close()
    assert files(root) == [".tmp/new"]
    assert [record.action for record in caplog.records] == ["store_swept"]


def test_the_sidecar_of_an_object_that_never_appeared_is_swept(storage: LocalStorage, root: Path) -> None:
    put(storage)
    lost = ObjectKey("assets/ast_2/v1/lost.wav")
    put(storage, lost)
    for key in (KEY, lost):
        os.link(root / f".meta/{key}.json", root / f".tmp/{key[-8:]}.json")
        age(root / f".tmp/{key[-8:]}.json")
    (root / lost).unlink()
    LocalStorage(root).close()
    assert files(root) == [f".meta/{KEY}.json", KEY]
    assert read(storage) == b"content"


# ── several processes ──


FORKED = """
import errno, io, os, sys
from pathlib import Path
from musproj.adapters.local.storage import LocalStorage
from musproj.errors import ObjectExistsError

root, count = Path(sys.argv[1]), int(sys.argv[2])

def put(storage, key, content, **more):
    storage.put(key, io.BytesIO(content), size=len(content), content_type="audio/wav", **more)

def race(number):
    storage = LocalStorage(root)
    try:
        put(storage, "assets/ast_1/v1/source.wav", bytes([number]) * 100_000, metadata={"musproj-job": str(number)})
    except ObjectExistsError:
        return 1
    return 0

def race_without_links(number):
    def link(*names, **folders):
        raise PermissionError(errno.EPERM, "as FAT has it")

    os.link = link
    return race(number)

def churn(number):
    storage = LocalStorage(root)
    for turn in range(50):
        put(storage, f"churn/ast/v1/{number}-{turn}.wav", b"1")
        storage.delete(f"churn/ast/v1/{number}-{turn}.wav")
    return 0

children = []
for number in range(count):
    child = os.fork()
    if child == 0:
        os._exit(globals()[sys.argv[3]](number))
    children.append(child)
print(*[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def in_processes(count: int, what: str, root: Path) -> list[int]:
    """Let `count` processes do it together; return their exit codes."""
    command = [sys.executable, "-c", FORKED, str(root), str(count), what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return list(map(int, done.stdout.split()))


@pytest.mark.parametrize("how", ["race", "race_without_links"])
def test_of_racing_processes_one_wins(storage: LocalStorage, root: Path, how: str) -> None:
    codes = in_processes(16, how, root)
    assert sorted(codes) == [0] + [1] * 15
    winner = codes.index(0)
    assert read(storage) == bytes([winner]) * 100_000
    # The metadata are the winner's too.
    assert storage.stat(KEY).metadata == {"musproj-job": str(winner)}
    assert files(root) == [f".meta/{KEY}.json", KEY]


def test_folders_may_come_and_go_under_a_put(storage: LocalStorage, root: Path) -> None:
    """Each delete prunes folders that a neighbour may have opened a moment ago."""
    assert in_processes(4, "churn", root) == [0, 0, 0, 0]
    assert files(root) == []


# ── memory ──


def test_memory_stays_flat(tmp_path: Path) -> None:
    script = """
        import resource
        import sys
        from pathlib import Path
        from musproj.adapters.local.storage import LocalStorage

        storage = LocalStorage(Path(sys.argv[1]))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = 256 << 20
        with open(sys.argv[2], "rb") as source:
            storage.put("big", source, size=size, content_type="audio/wav")
        assert sum(map(len, storage.read("big"))) == size
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    sparse = tmp_path / "sparse"
    sparse.touch()
    os.truncate(sparse, 256 << 20)
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "objects"), str(sparse)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # Kilobytes on Linux, bytes on macOS.
    assert grown // (1024 if sys.platform == "darwin" else 1) < 64 << 10
