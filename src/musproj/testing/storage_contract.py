"""The laws of a `Storage`."""

import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from musproj.domain.keys import MAX_KEY_BYTES, ObjectKey, object_key
from musproj.errors import (
    BackendUnavailableError,
    ChecksumMismatchError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
)
from musproj.ports.storage import BLOCK_BYTES, Storage, StoredObject
from musproj.testing.contract import need
from musproj.testing.threads import at_once, error_of

KEY = object_key("assets/ast_1/v1/source.wav")
ABSENT = object_key("assets/ast_1/v9/nothing.wav")
EDGE_SIZES = (0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 7)
AWKWARD_KEYS = (
    "a",
    "a/b",
    "assets/ast_1/v10/source.wav",
    "assets/ast_1/v1/take.one.final.wav",
    "assets/ast_1/v1/-dash_under.wav",
    "assets/ast_1/v1/peaks-job_01.json",
    "UPPER/Case.WAV",
    "/".join(["deep"] * 40),
    "assets/" + "x" * 200 + "/v1/source.wav",
)


class StorageContract:
    """Override `storage`; `cut_off` and `reopened` are powers that an adapter's fixture may add."""

    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        """Give an empty store, and close it."""
        raise NotImplementedError("override the fixture `storage`: an empty store")

    @pytest.fixture
    def reopened(self) -> Callable[[], Storage] | None:
        """Return a function that opens the store under test through another handle, or None."""
        return None

    @pytest.fixture
    def cut_off(self) -> Callable[[], None] | None:
        """Return a function that makes the backend of `storage` unreachable, or None."""
        return None

    @pytest.fixture
    def page_keys(self) -> int:
        """Return how many keys the backend puts into one page of a listing; S3 does 1,000."""
        return 1_000

    # ── put, stat, read ──

    @pytest.mark.parametrize("size", EDGE_SIZES)
    def test_every_byte_comes_back(self, storage: Storage, size: int) -> None:
        """At sizes around the block, empty included."""
        content = some_bytes(size)
        stored = put(storage, KEY, content)
        assert (stored.key, stored.size_bytes) == (KEY, size)
        assert read(storage, KEY) == content
        assert storage.stat(KEY).size_bytes == size

    def test_blocks_are_no_larger_than_agreed(self, storage: Storage) -> None:
        """Nobody has to hold a whole object."""
        put(storage, KEY, some_bytes(2 * BLOCK_BYTES + 1))
        assert all(0 < len(block) <= BLOCK_BYTES for block in storage.read(KEY))

    def test_put_reads_in_pieces(self, storage: Storage) -> None:
        """A source that gives less than it was asked for is no short source."""
        content = some_bytes(10_000)
        storage.put(KEY, Trickle(content), size=len(content), content_type="audio/wav")
        assert read(storage, KEY) == content

    def test_metadata_and_type_come_back(self, storage: Storage) -> None:
        """What the writer gave is what `stat` tells."""
        content = some_bytes(100)
        given = {"musproj-job": "job_01", "sha256": sha256(content)}
        stored = put(storage, KEY, content, content_type="audio/flac", sha256=sha256(content), metadata=given)
        seen = storage.stat(KEY)
        assert seen.metadata == stored.metadata == given
        assert seen.content_type == stored.content_type == "audio/flac"
        assert seen.etag == stored.etag
        assert '"' not in seen.etag

    def test_a_verified_sha256_is_told(self, storage: Storage) -> None:
        """Either the right one, or nothing."""
        content = some_bytes(100)
        put(storage, KEY, content, sha256=sha256(content))
        assert storage.stat(KEY).sha256 in (sha256(content), None)

    def test_the_time_is_aware(self, storage: Storage) -> None:
        """A store that keeps the time of writing keeps its zone."""
        put(storage, KEY, b"1")
        modified_at = storage.stat(KEY).modified_at
        assert modified_at is None or modified_at.tzinfo is not None

    @pytest.mark.parametrize("key", AWKWARD_KEYS)
    def test_every_legal_key_is_taken(self, storage: Storage, key: str) -> None:
        """As it is, and found again by `list`."""
        put(storage, object_key(key), b"legal")
        assert read(storage, object_key(key)) == b"legal"
        assert keys(storage, key) == [key]

    def test_no_key_of_our_grammar_is_too_long(self, storage: Storage) -> None:
        """The longest key is as good as any."""
        key = ("x" * 200 + "/") * 5
        key = object_key(key + "y" * (MAX_KEY_BYTES - len(key)))
        put(storage, key, b"long")
        assert read(storage, key) == b"long"

    # ── all or nothing, and only once ──

    @pytest.mark.parametrize(("announced", "sent"), [(10, 9), (10, 11), (10, 0), (0, 1), (BLOCK_BYTES, 3)])
    def test_another_length_than_announced_leaves_nothing(self, storage: Storage, announced: int, sent: int) -> None:
        """Neither a short nor a long source becomes an object."""
        with pytest.raises(ChecksumMismatchError):
            storage.put(KEY, io.BytesIO(some_bytes(sent)), size=announced, content_type="audio/wav")
        assert_free(storage, KEY)

    def test_other_bytes_than_announced_leave_nothing(self, storage: Storage) -> None:
        """The sha256 is checked before the object is visible."""
        with pytest.raises(ChecksumMismatchError):
            put(storage, KEY, b"these", sha256=sha256(b"those"))
        assert_free(storage, KEY)

    def test_a_source_that_breaks_leaves_nothing(self, storage: Storage) -> None:
        """An error of the source comes through, in the first block or later."""
        for good in (0, 10, BLOCK_BYTES + 10):
            source = Breaking(some_bytes(good))
            with pytest.raises((SourceBrokeError, BackendUnavailableError)):
                storage.put(KEY, source, size=3 * BLOCK_BYTES, content_type="audio/wav")
            assert_free(storage, KEY)

    def test_an_object_is_never_replaced(self, storage: Storage) -> None:
        """Not even by the same bytes."""
        first = put(storage, KEY, b"first")
        for content in (b"second", b"first"):
            with pytest.raises(ObjectExistsError):
                put(storage, KEY, content)
        assert read(storage, KEY) == b"first"
        assert storage.stat(KEY).etag == first.etag

    def test_of_16_racing_writers_one_wins(self, storage: Storage) -> None:
        """The others are told; the content is the winner's, whole."""
        contents = [bytes([number]) * (BLOCK_BYTES // 4) for number in range(16)]

        def write(content: bytes) -> Callable[[], Exception | None]:
            return lambda: error_of(lambda: put(storage, KEY, content), ObjectExistsError)

        errors = at_once([write(content) for content in contents])
        assert errors.count(None) == 1
        assert read(storage, KEY) == contents[errors.index(None)]

    def test_many_writers_of_many_keys(self, storage: Storage) -> None:
        """Threads share a store without meeting each other."""
        numbers = range(16)

        def write(number: int) -> Callable[[], StoredObject]:
            return lambda: put(storage, object_key(f"many/{number}.wav"), bytes([number]) * 1000)

        at_once([write(number) for number in numbers])
        assert [read(storage, object_key(f"many/{number}.wav"))[:1] for number in numbers] == [
            bytes([number]) for number in numbers
        ]

    # ── parts of an object ──

    @pytest.mark.parametrize(
        ("start", "length"),
        [(0, None), (0, 1), (0, 0), (1, 3), (5, None), (9, 1), (9, 100), (0, 100), (10, None), (99, 5)],
    )
    def test_a_range_is_a_slice(self, storage: Storage, start: int, length: int | None) -> None:
        """Beyond the end there is nothing."""
        put(storage, KEY, b"0123456789")
        end = None if length is None else start + length
        assert b"".join(storage.read(KEY, start=start, length=length)) == b"0123456789"[start:end]

    def test_a_range_crosses_blocks(self, storage: Storage) -> None:
        """A range may begin and end anywhere."""
        content = some_bytes(3 * BLOCK_BYTES)
        put(storage, KEY, content)
        start, length = BLOCK_BYTES - 5, BLOCK_BYTES + 11
        assert b"".join(storage.read(KEY, start=start, length=length)) == content[start : start + length]

    def test_a_read_is_pinned_by_the_entity_tag(self, storage: Storage) -> None:
        """The right one reads, another one is refused at the first block."""
        stored = put(storage, KEY, b"pinned")
        assert b"".join(storage.read(KEY, etag=stored.etag)) == b"pinned"
        with pytest.raises(ObjectChangedError):
            next(storage.read(KEY, etag="0" * len(stored.etag)))

    def test_an_object_made_anew_with_other_bytes_has_another_tag(self, storage: Storage) -> None:
        """What was recorded of a deleted object does not match its successor."""
        old = put(storage, KEY, b"old bytes")
        storage.delete(KEY)
        put(storage, KEY, b"new bytes")
        with pytest.raises(ObjectChangedError):
            next(storage.read(KEY, etag=old.etag))

    def test_what_is_not_there_is_missing(self, storage: Storage) -> None:
        """For `stat` at once, for `read` at the first block."""
        with pytest.raises(ObjectMissingError):
            storage.stat(ABSENT)
        blocks = storage.read(ABSENT)
        with pytest.raises(ObjectMissingError):
            next(blocks)

    # ── list ──

    def test_list_takes_the_prefix_literally(self, storage: Storage) -> None:
        """`a/` is not `a2/`, and a prefix may end inside a name."""
        for key in ("assets/a/v1/x.wav", "assets/a2/v1/x.wav", "assets/a/v10/x.wav", "assets/a/v1/y.wav", "b"):
            put(storage, object_key(key), b"1")
        assert keys(storage, "assets/a/") == ["assets/a/v1/x.wav", "assets/a/v1/y.wav", "assets/a/v10/x.wav"]
        assert keys(storage, "assets/a/v1/") == ["assets/a/v1/x.wav", "assets/a/v1/y.wav"]
        assert keys(storage, "assets/a2") == ["assets/a2/v1/x.wav"]
        assert keys(storage, "assets/a/v1/x") == ["assets/a/v1/x.wav"]
        assert keys(storage, "assets/none/") == []

    def test_list_is_in_key_order(self, storage: Storage) -> None:
        """Byte by byte, slashes included, however the store nests its keys."""
        names = ["p/a-b/1", "p/a.b", "p/a/2", "p/a/1", "p/a0", "p/B", "p/b", "p/a_b/1"]
        for name in names:
            put(storage, object_key(name), b"1")
        assert keys(storage, "p/") == sorted(names)
        assert keys(storage, "") == sorted(names)

    def test_list_goes_on_beyond_one_page(self, storage: Storage, page_keys: int) -> None:
        """One key more than a page has, each once."""
        names = [f"page/{number:04}.wav" for number in range(page_keys + 1)]
        for name in names:
            put(storage, object_key(name), b"1")
        assert keys(storage, "page/") == names

    def test_list_tells_size_and_tag(self, storage: Storage) -> None:
        """Enough to compare with the records."""
        stored = put(storage, KEY, b"12345")
        (seen,) = storage.list(KEY)
        assert (seen.size_bytes, seen.etag) == (5, stored.etag)

    def test_list_survives_what_it_is_used_for(self, storage: Storage) -> None:
        """Deleting each object while going on, as gc does."""
        for number in range(20):
            put(storage, object_key(f"gone/{number:02}"), b"1")
        for stored in storage.list("gone/"):
            storage.delete(stored.key)
        assert keys(storage, "gone/") == []

    # ── delete, close ──

    def test_delete_is_repeatable_and_frees_the_key(self, storage: Storage) -> None:
        """Of nothing, it does nothing."""
        storage.delete(ABSENT)
        put(storage, KEY, b"old", metadata={"musproj-job": "job_old"})
        storage.delete(KEY)
        storage.delete(KEY)
        assert_free(storage, KEY)
        put(storage, KEY, b"new")
        assert storage.stat(KEY).metadata.get("musproj-job") is None

    def test_delete_spares_the_neighbours(self, storage: Storage) -> None:
        """A key that begins with the deleted one stays."""
        put(storage, object_key("n/a.wav"), b"1")
        put(storage, object_key("n/a.wav2"), b"2")
        storage.delete(object_key("n/a.wav"))
        assert keys(storage, "n/") == ["n/a.wav2"]

    def test_close_is_repeatable(self, storage: Storage) -> None:
        """A second call does nothing."""
        storage.close()
        storage.close()

    # ── powers of some ──

    def test_another_handle_sees_the_object(self, storage: Storage, reopened: Callable[[], Storage] | None) -> None:
        """Durable on return, and create-only across handles."""
        put(storage, KEY, b"durable", metadata={"musproj-job": "job_1"})
        other = need(reopened, "reopened: the store cannot be opened a second time")()
        assert read(other, KEY) == b"durable"
        assert other.stat(KEY) == storage.stat(KEY)
        with pytest.raises(ObjectExistsError):
            put(other, KEY, b"again")

    def test_an_unreachable_backend_is_told_as_such(self, storage: Storage, cut_off: Callable[[], None] | None) -> None:
        """By each method, also where the error comes while an iterator is read."""
        put(storage, KEY, some_bytes(2 * BLOCK_BYTES))
        need(cut_off, "cut_off: its backend cannot be made unreachable")()
        calls: list[Callable[[], object]] = [
            lambda: put(storage, ABSENT, b"1"),
            lambda: storage.stat(KEY),
            lambda: list(storage.read(KEY)),
            lambda: list(storage.list("assets/")),
            lambda: storage.delete(KEY),
        ]
        for call in calls:
            with pytest.raises(BackendUnavailableError):
                call()

    def test_a_backend_that_breaks_half_way_is_told_as_such(
        self, storage: Storage, cut_off: Callable[[], None] | None
    ) -> None:
        """Between two blocks: the rest, or our error; never a short object without one."""
        content = some_bytes(8 * BLOCK_BYTES)
        put(storage, KEY, content)
        blocks = storage.read(KEY)
        seen = next(blocks)
        need(cut_off, "cut_off: its backend cannot be made unreachable")()
        try:
            seen += b"".join(blocks)
        except BackendUnavailableError:
            return
        assert seen == content


class SourceBrokeError(Exception):
    """The source of an upload failed: not the store's fault."""


class Trickle(io.BytesIO):
    """Gives at most seven bytes at a time, as a socket may."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to seven bytes."""
        return super().read(7 if size is None or size < 0 else min(size, 7))

    def readinto(self, buffer: Any, /) -> int:
        """Fill up to seven bytes."""
        return super().readinto(memoryview(buffer)[:7])


class Breaking(io.BytesIO):
    """Breaks where its content ends."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return what is there, then raise."""
        return super().read(size) or _break()

    def readinto(self, buffer: Any, /) -> int:
        """Fill with what is there, then raise."""
        return super().readinto(buffer) or len(_break())


def _break() -> bytes:
    raise SourceBrokeError


def some_bytes(size: int) -> bytes:
    """Return bytes without a short period, the same each time."""
    block = hashlib.sha256(b"musproj").digest() + b"\x00\xff"
    return (block * (size // len(block) + 1))[:size]


def sha256(content: bytes) -> str:
    """Return the hash, lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def put(
    storage: Storage,
    key: ObjectKey,
    content: bytes,
    *,
    content_type: str = "audio/wav",
    sha256: str | None = None,
    metadata: dict[str, str] | None = None,
) -> StoredObject:
    """Store `content`."""
    source = io.BytesIO(content)
    return storage.put(key, source, size=len(content), content_type=content_type, sha256=sha256, metadata=metadata)


def read(storage: Storage, key: ObjectKey) -> bytes:
    """Read the whole object."""
    return b"".join(storage.read(key))


def keys(storage: Storage, prefix: str) -> list[str]:
    """List keys."""
    return [stored.key for stored in storage.list(prefix)]


def assert_free(storage: Storage, key: ObjectKey) -> None:
    """Nothing is under the key: not seen, not listed, and free to be taken."""
    with pytest.raises(ObjectMissingError):
        storage.stat(key)
    assert keys(storage, key) == []
    put(storage, key, b"free")
    storage.delete(key)
