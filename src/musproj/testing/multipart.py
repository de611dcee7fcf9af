"""The laws of uploads in parts, by a client that knows nothing but signed requests."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from musproj.domain.keys import ObjectKey, object_key
from musproj.errors import ObjectExistsError, ObjectMissingError, UploadMismatchError
from musproj.ports.storage import MultipartUploads, ReceivedPart, SignedRequest, Storage
from musproj.testing.contract import need
from musproj.testing.signed import REFUSED, altered, upload
from musproj.testing.storage_contract import put

KEY = object_key("assets/ast_1/v1/source.wav")
OTHER_KEY = object_key("assets/ast_2/v1/source.wav")
TYPE = "audio/wav"
PART_BYTES = 5 * 1024**2
"""The least that S3 and R2 take of a part that is not the last (R2 docs, multipart objects)."""
BODIES = (b"\1" * PART_BYTES, b"\2" * PART_BYTES, b"\3" * 1000)
LIFE = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)
LATER = datetime(2999, 1, 1, tzinfo=UTC)


def over_http(signed: SignedRequest, body: bytes) -> int:
    """Send the signed request through a real client; return the status."""
    return upload(signed, body).status


@attrs.frozen(kw_only=True)
class PartStore:
    """An empty store that takes parts, and how a client sends one."""

    storage: Storage
    multipart: MultipartUploads
    send: Callable[[SignedRequest, bytes], int] = over_http
    stale: MultipartUploads | None = None
    """The same by a clock that is an hour late: what it signs for a minute has expired."""
    refuses_unequal: bool = True
    """Whether it holds to R2's rule of equal parts."""
    forgets_completed: bool = True
    """Whether a completed upload is unknown from then on; Swift goes on taking parts, which spoils the object."""

    def start(self, key: ObjectKey = KEY) -> str:
        """Begin an upload."""
        return self.multipart.start(key, content_type=TYPE)

    def sign(self, upload_id: str, number: int, body: bytes, key: ObjectKey = KEY) -> SignedRequest:
        """Sign a part for that body."""
        return self.multipart.sign_part(key, upload_id, number, size=len(body), expires_in=LIFE)

    def give(self, upload_id: str, number: int, body: bytes, key: ObjectKey = KEY) -> None:
        """Let a part arrive."""
        assert self.send(self.sign(upload_id, number, body, key), body) == 200

    def given(self, bodies: Sequence[bytes] = BODIES) -> str:
        """Begin an upload and let all its parts arrive."""
        upload_id = self.start()
        for number, body in enumerate(bodies, 1):
            self.give(upload_id, number, body)
        return upload_id

    def arrived(self, upload_id: str) -> Sequence[ReceivedPart]:
        """Return what is there."""
        return self.multipart.parts(KEY, upload_id)

    def read(self) -> bytes:
        """Read the whole object."""
        return b"".join(self.storage.read(KEY))


class MultipartContract:
    """Override `store`; everything else follows from it."""

    @pytest.fixture
    def store(self) -> PartStore:
        """Give an empty store that takes parts."""
        raise NotImplementedError("override the fixture `store`: a PartStore")

    # ── from the first part to the object ──

    def test_equal_parts_and_a_shorter_last_one_make_the_object(self, store: PartStore) -> None:
        """In the order of their numbers, with the type of the start."""
        upload_id = store.start()
        for number in (3, 1, 2):
            store.give(upload_id, number, BODIES[number - 1])
        stored = store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        assert stored == store.storage.stat(KEY)
        assert (stored.key, stored.size_bytes, stored.content_type) == (KEY, sum(map(len, BODIES)), TYPE)
        assert store.read() == b"".join(BODIES)

    def test_one_part_may_be_all(self, store: PartStore) -> None:
        """The last part may be of any size, and the only one is the last."""
        upload_id = store.given([b"RIFF"])
        store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        assert store.read() == b"RIFF"

    def test_nothing_is_there_before_the_end(self, store: PartStore) -> None:
        """Neither to a look nor in a list."""
        store.given()
        with pytest.raises(ObjectMissingError):
            store.storage.stat(KEY)
        assert list(store.storage.list("")) == []

    def test_an_interrupted_upload_goes_on_with_the_parts_that_are_missing(self, store: PartStore) -> None:
        """The store tells which have arrived, and how large they are."""
        upload_id = store.start()
        assert store.arrived(upload_id) == []
        store.give(upload_id, 2, BODIES[1])
        store.give(upload_id, 3, BODIES[2])
        assert [(part.number, part.size_bytes) for part in store.arrived(upload_id)] == [(2, PART_BYTES), (3, 1000)]
        store.give(upload_id, 1, BODIES[0])
        store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        assert store.read() == b"".join(BODIES)

    def test_a_part_may_be_sent_again(self, store: PartStore) -> None:
        """A client that lost the answer does so; the last one counts."""
        upload_id = store.given([b"first"])
        store.give(upload_id, 1, b"other")
        assert [part.number for part in store.arrived(upload_id)] == [1]
        store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        assert store.read() == b"other"

    def test_completing_again_finds_the_object(self, store: PartStore) -> None:
        """So a confirm whose answer was lost is repeated."""
        upload_id = store.given([b"RIFF"])
        parts = store.arrived(upload_id)
        stored = store.multipart.complete(KEY, upload_id, parts)
        assert store.multipart.complete(KEY, upload_id, parts) == stored

    def test_a_finished_upload_takes_no_part(self, store: PartStore) -> None:
        """Its URLs die with it: what was confirmed stays as it is."""
        if not store.forgets_completed:
            pytest.skip("not given by this adapter's fixture: PartStore.forgets_completed: its URLs outlive an upload")
        upload_id = store.start()
        signed = store.sign(upload_id, 1, b"RIFF")
        assert store.send(signed, b"RIFF") == 200
        store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        assert store.send(signed, b"EVIL") == 404
        assert store.read() == b"RIFF"
        with pytest.raises(ObjectMissingError):
            store.arrived(upload_id)

    def test_unequal_parts_are_refused_and_kept(self, store: PartStore) -> None:
        """Where the store refuses them at all, only when it is to make the object."""
        if not store.refuses_unequal:
            pytest.skip("not given by this adapter's fixture: PartStore.refuses_unequal: it takes unequal parts")
        upload_id = store.given([BODIES[0], BODIES[1] + b"\2", BODIES[2]])
        with pytest.raises(UploadMismatchError):
            store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        with pytest.raises(ObjectMissingError):
            store.storage.stat(KEY)
        store.give(upload_id, 2, BODIES[1])
        store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        assert store.read() == b"".join(BODIES)

    # ── what is refused ──

    def test_a_taken_key_stays_as_it_is(self, store: PartStore) -> None:
        """The object that came first wins."""
        upload_id = store.given([b"second"])
        put(store.storage, KEY, b"first")
        with pytest.raises(ObjectExistsError):
            store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        assert store.read() == b"first"

    @pytest.mark.parametrize("body", [b"RIF", b"RIFFX"])
    def test_a_part_of_another_size_is_refused(self, store: PartStore, body: bytes) -> None:
        """Its length is signed, so equal parts are equal."""
        upload_id = store.start()
        signed = store.sign(upload_id, 1, b"RIFF")
        told = attrs.evolve(signed, headers={**signed.headers, "content-length": str(len(body))})
        assert store.send(told, body) == 403
        assert store.arrived(upload_id) == []

    def test_an_altered_url_is_refused(self, store: PartStore) -> None:
        """Another number, upload, life or key: each is signed."""
        upload_id, other = store.start(), store.start(OTHER_KEY)
        signed = store.sign(upload_id, 1, b"RIFF")
        for url in (*altered(signed.url), signed.url.replace(KEY, OTHER_KEY)):
            assert store.send(attrs.evolve(signed, url=url), b"RIFF") in REFUSED, url.partition("?")[2]
        assert store.arrived(upload_id) == []
        assert store.multipart.parts(OTHER_KEY, other) == []

    def test_an_expired_url_is_refused(self, store: PartStore) -> None:
        """By the server's clock."""
        stale = need(store.stale, "PartStore.stale: it cannot sign in the past")
        upload_id = store.start()
        signed = stale.sign_part(KEY, upload_id, 1, size=4, expires_in=MINUTE)
        assert store.send(signed, b"RIFF") == 403
        assert store.arrived(upload_id) == []

    def test_an_upload_is_known_under_its_key_alone(self, store: PartStore) -> None:
        """And an unknown id is none."""
        upload_id = store.given([b"RIFF"])
        parts = store.arrived(upload_id)
        for key, name in ((OTHER_KEY, upload_id), (KEY, "unknown")):
            with pytest.raises(ObjectMissingError):
                store.multipart.parts(key, name)
            with pytest.raises(ObjectMissingError):
                store.multipart.complete(key, name, parts)
            store.multipart.abort(key, name)
        assert store.arrived(upload_id) == parts

    # ── the end of what is not completed ──

    def test_an_aborted_upload_is_gone(self, store: PartStore) -> None:
        """With its parts; it takes no more and cannot be completed."""
        upload_id = store.start()
        signed = store.sign(upload_id, 1, b"RIFF")
        assert store.send(signed, b"RIFF") == 200
        parts = store.arrived(upload_id)
        for _ in range(2):
            store.multipart.abort(KEY, upload_id)
        assert store.send(signed, b"RIFF") == 404
        with pytest.raises(ObjectMissingError):
            store.arrived(upload_id)
        with pytest.raises(ObjectMissingError):
            store.multipart.complete(KEY, upload_id, parts)

    def test_an_upload_that_was_completed_is_not_aborted(self, store: PartStore) -> None:
        """The object stays."""
        upload_id = store.given([b"RIFF"])
        store.multipart.complete(KEY, upload_id, store.arrived(upload_id))
        store.multipart.abort(KEY, upload_id)
        assert store.read() == b"RIFF"

    def test_what_is_open_is_found_by_its_age(self, store: PartStore) -> None:
        """Under a prefix; neither what was completed nor what was aborted."""
        done, dropped, left = store.given([b"RIFF"]), store.start(), store.start()
        other = store.start(object_key("assets/ast_10/v1/source.wav"))
        store.multipart.complete(KEY, done, store.arrived(done))
        store.multipart.abort(KEY, dropped)
        begun_at = min(opened.begun_at for opened in store.multipart.abandoned("", LATER))
        assert list(store.multipart.abandoned("", begun_at)) == []
        found = list(store.multipart.abandoned("assets/ast_1/", begun_at + timedelta(hours=1)))
        assert [(opened.key, opened.upload_id) for opened in found] == [(KEY, left)]
        found = list(store.multipart.abandoned("assets/", begun_at + timedelta(hours=1)))
        assert {opened.upload_id for opened in found} == {left, other}
