"""What becomes of each call where the store or the way to it misbehaves."""

import base64
import hashlib
import io
import os
from collections.abc import Callable

import attrs
import pytest

from musproj.adapters.s3.address import BucketAddress
from musproj.adapters.s3.client import S3Client
from musproj.adapters.s3.patience import BRISK
from musproj.adapters.s3.storage import MAX_PUT_BYTES, S3Storage
from musproj.domain.keys import object_key
from musproj.errors import (
    BackendUnavailableError,
    ChecksumMismatchError,
    ClockSkewError,
    ConfigurationError,
    InvalidError,
    LimitExceededError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    StorageDeniedError,
    StorageFullError,
)
from musproj.ports.storage import BLOCK_BYTES

KEY = object_key("assets/ast_1/v1/source.wav")
CONTENT = os.urandom(3 * BLOCK_BYTES + 5)
MARK = "x-amz-meta-musproj-put"


def put(storage: S3Storage, content: bytes = CONTENT, **changes):
    asked = {"size": len(content), "content_type": "audio/wav", "metadata": {"musproj-job": "job_1"}} | changes
    return storage.put(KEY, io.BytesIO(content), **asked)


def head(server, mark: str = "", size: int = len(CONTENT)):
    """Answer a HEAD: nothing has a body, whatever Content-Length says."""
    headers = {"etag": '"e1"', "x-amz-meta-musproj-job": "job_1"} | ({MARK: mark} if mark else {})
    scene = server.reply(200, b"", length=size, **headers)
    return attrs.evolve(scene, ends="keep")


def marks(server) -> list[str]:
    return [request.headers[MARK] for request in server.seen if request.method == "PUT"]


def methods(server) -> str:
    return " ".join(request.method for request in server.seen)


# ── put ──


def test_a_put_is_one_signed_request(server, storage, sha256: Callable[[bytes], str]) -> None:
    server.plays(server.reply(200, etag='"e1"'))
    stored = put(storage, sha256=sha256(CONTENT))
    (request,) = server.seen
    assert request.body == CONTENT
    assert request.headers["if-none-match"] == "*"
    assert request.headers["content-length"] == str(len(CONTENT))
    assert request.headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert request.headers["x-amz-meta-musproj-job"] == "job_1"
    assert "transfer-encoding" not in request.headers
    assert "expect" not in request.headers
    assert (stored.etag, stored.size_bytes, stored.metadata) == ("e1", len(CONTENT), {"musproj-job": "job_1"})
    assert stored.sha256 is None, "this store has not said that it verified anything"


def test_a_hash_that_the_store_echoes_is_verified(server, storage, sha256: Callable[[bytes], str]) -> None:
    echoed = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    server.plays(server.reply(200, etag='"e1"', x_amz_checksum_sha256=echoed))
    assert put(storage, sha256=sha256(CONTENT)).sha256 == sha256(CONTENT)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_put_is_repeated_whole(server, storage, status: int) -> None:
    server.plays(server.refusal(status, "SlowDown"), server.reply(404), server.reply(200, etag='"e1"'))
    put(storage)
    assert methods(server) == "PUT HEAD PUT"
    assert server.seen[-1].body == CONTENT
    assert len(set(marks(server))) == 1


def test_a_put_whose_answer_was_lost_is_found(server, storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: type("U", (), {"hex": "mine"}))
    server.plays(server.reply(200, b"", length=99, etag='"e1"'), head(server, "mine"))
    stored = put(storage)
    assert methods(server) == "PUT HEAD", "three megabytes are not sent again"
    assert (stored.etag, stored.metadata) == ("e1", {"musproj-job": "job_1"})


def test_a_put_that_lands_while_it_is_repeated_is_found(server, storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: type("U", (), {"hex": "mine"}))
    server.plays(server.reply(500), server.reply(404), server.refusal(412, "PreconditionFailed"), head(server, "mine"))
    assert put(storage).etag == "e1"
    assert methods(server) == "PUT HEAD PUT HEAD"


@pytest.mark.parametrize("ends", ["reset", "close"])
def test_what_another_write_put_there_is_not_taken_for_ours(server, storage, ends: str) -> None:
    server.plays(attrs.evolve(server.reply(200), reply=b"", ends=ends), head(server, "theirs"))
    with pytest.raises(ObjectExistsError):
        put(storage)


def test_a_key_that_is_taken_is_told_at_once(server, storage, pauses: list[float]) -> None:
    server.plays(server.refusal(412, "PreconditionFailed"))
    with pytest.raises(ObjectExistsError) as caught:
        put(storage)
    assert caught.value.facts["key"] == KEY
    assert pauses == []


def test_a_refusal_in_the_middle_of_the_body_is_cleared_up(server, storage) -> None:
    """The answer may be lost with the connection that the client still sends on."""
    refused = attrs.evolve(server.refusal(412), body_read=10, ends="reset")
    server.plays(refused, head(server, "theirs"), head(server, "theirs"))
    with pytest.raises(ObjectExistsError):
        put(storage, os.urandom(32 * BLOCK_BYTES))


def test_bytes_that_were_garbled_on_the_way_are_sent_once_more(server, storage) -> None:
    server.plays(server.refusal(400, "BadDigest"), server.reply(404), server.reply(200, etag='"e1"'))
    put(storage)
    server.plays(server.refusal(400, "BadDigest"), server.reply(404), server.refusal(400, "BadDigest"))
    with pytest.raises(ChecksumMismatchError):
        put(storage)


@pytest.mark.parametrize(("size", "sent"), [(10, 9), (10, 11), (0, 1), (BLOCK_BYTES, BLOCK_BYTES + 1)])
def test_a_source_that_is_not_what_was_announced_is_not_even_begun(server, storage, size: int, sent: int) -> None:
    with pytest.raises(ChecksumMismatchError):
        put(storage, bytes(sent), size=size)
    assert server.seen == []
    assert server.connections == 0


@pytest.mark.parametrize("change", [b"", b"longer"])
def test_a_long_source_stops_short_of_its_last_block(server, storage, change: bytes, sha256) -> None:
    server.plays(server.reply(200))
    with pytest.raises(ChecksumMismatchError):
        put(storage, CONTENT + change, size=len(CONTENT), sha256=sha256(b"other"))
    assert server.seen == [], "the request never became whole"


def test_a_source_that_ends_in_the_middle_is_told_with_what_came(server, storage) -> None:
    server.plays(server.reply(200))
    with pytest.raises(ChecksumMismatchError, match=f"{BLOCK_BYTES + 1} came"):
        put(storage, CONTENT[: BLOCK_BYTES + 1], size=len(CONTENT))
    assert server.seen == []


def test_a_source_that_cannot_be_read_again_is_not_repeated(server, storage) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    server.plays(server.reply(503))
    with pytest.raises(BackendUnavailableError):
        storage.put(KEY, Pipe(CONTENT), size=len(CONTENT), content_type="audio/wav")
    assert methods(server) == "PUT"


def test_an_object_is_put_from_where_its_source_stands(server, storage) -> None:
    source = io.BytesIO(b"skipped" + CONTENT)
    source.seek(7)
    server.plays(server.reply(500), server.reply(404), server.reply(200, etag='"e1"'))
    storage.put(KEY, source, size=len(CONTENT), content_type="audio/wav")
    assert [request.body for request in server.seen] == [CONTENT, b"", CONTENT]


def test_an_error_of_the_source_comes_through_as_it_is(server, storage) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > BLOCK_BYTES:
                raise OSError(5, "disk")
            return super().read(size)

    server.plays(server.reply(200))
    with pytest.raises(OSError, match="disk"):
        storage.put(KEY, Failing(CONTENT), size=len(CONTENT), content_type="audio/wav")
    assert server.seen == []


def test_what_one_put_cannot_carry_is_refused_before_it_is_begun(server, storage) -> None:
    with pytest.raises(LimitExceededError):
        put(storage, b"", size=MAX_PUT_BYTES + 1)
    assert server.connections == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"a": "ä"}},
        {"metadata": {"a": "b\r\nx: y"}},
        {"metadata": {"A b": "c"}},
        {"metadata": {"a": " b"}},
        {"content_type": "a/b\r\nx: y"},
        {"sha256": "ab"},
    ],
)
def test_what_cannot_be_a_header_is_refused(server, storage, changes) -> None:
    with pytest.raises(InvalidError):
        put(storage, **changes)
    assert server.connections == 0


def test_a_put_that_is_not_told_its_entity_tag_asks_for_it(server, storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: type("U", (), {"hex": "mine"}))
    server.plays(server.reply(200), head(server, "mine"))
    assert put(storage).etag == "e1"


# ── read ──


def part(server, start: int, end: int = len(CONTENT), *, sent: int | None = None, etag: str = '"e1"'):
    body = CONTENT[start:end]
    content_range = f"bytes {start}-{end - 1}/{len(CONTENT)}"
    return server.reply(206, body[:sent], length=len(body), etag=etag, content_range=content_range)


def whole(server, sent: int | None = None, **headers: str):
    return server.reply(200, CONTENT[:sent], length=len(CONTENT), **{"etag": '"e1"'} | headers)


def test_a_read_goes_on_where_it_broke(server, storage, pauses: list[float]) -> None:
    server.plays(whole(server, BLOCK_BYTES + 3), part(server, BLOCK_BYTES + 3, sent=7), part(server, BLOCK_BYTES + 10))
    assert b"".join(storage.read(KEY)) == CONTENT
    last = len(CONTENT) - 1
    assert [request.headers.get("range") for request in server.seen] == [
        None,
        f"bytes={BLOCK_BYTES + 3}-{last}",
        f"bytes={BLOCK_BYTES + 10}-{last}",
    ]
    assert [request.headers.get("if-match") for request in server.seen] == [None, '"e1"', '"e1"']
    assert len(pauses) == 2


def test_a_read_that_never_gets_on_is_given_up(server, storage, pauses: list[float]) -> None:
    server.plays(whole(server, 10), *[server.reply(503)] * 5)
    blocks = storage.read(KEY)
    assert next(blocks) == CONTENT[:10]
    with pytest.raises(BackendUnavailableError):
        next(blocks)
    assert len(server.seen) == 5


def test_a_read_never_mixes_two_objects(server, storage) -> None:
    server.plays(whole(server, 10), server.refusal(412, "PreconditionFailed"))
    with pytest.raises(ObjectChangedError):
        list(storage.read(KEY))


def test_an_object_that_is_deleted_while_it_is_read_is_missing(server, storage) -> None:
    server.plays(whole(server, 10), server.refusal(404, "NoSuchKey"))
    with pytest.raises(ObjectMissingError):
        list(storage.read(KEY))


def test_a_silent_store_is_given_up(server, open_client) -> None:
    storage = S3Storage(open_client(attrs.evolve(BRISK, read_s=0.2)))
    silent = attrs.evolve(whole(server, 10), ends="silent")
    server.plays(silent, attrs.evolve(server.reply(200), reply=b"", ends="silent"))
    seen = []
    with pytest.raises(BackendUnavailableError, match="it took too long"):
        seen += storage.read(KEY)
    assert len(server.seen) == 2


def test_a_store_that_ignores_ranges_is_told(server, storage) -> None:
    server.plays(whole(server))
    with pytest.raises(ConfigurationError, match="another part"):
        list(storage.read(KEY, start=5))


def test_a_store_that_says_200_to_a_range_but_keeps_it_is_taken(server, storage) -> None:
    scene = server.reply(200, CONTENT[5:9], etag='"e1"', content_range=f"bytes 5-8/{len(CONTENT)}")
    server.plays(scene)
    assert b"".join(storage.read(KEY, start=5, length=4)) == CONTENT[5:9]


def test_an_object_without_an_entity_tag_cannot_be_pinned(server, storage) -> None:
    server.plays(server.reply(200, b"1"))
    with pytest.raises(ConfigurationError, match="entity tag"):
        list(storage.read(KEY))


def test_a_range_beyond_the_end_is_empty(server, storage) -> None:
    server.plays(server.refusal(416, "InvalidRange"))
    assert list(storage.read(KEY, start=10**9)) == []


def test_a_read_of_nothing_still_looks(server, storage) -> None:
    server.plays(head(server), head(server), server.reply(404))
    assert list(storage.read(KEY, length=0, etag="e1")) == []
    with pytest.raises(ObjectChangedError):
        list(storage.read(KEY, length=0, etag="e2"))
    with pytest.raises(ObjectMissingError):
        list(storage.read(KEY, length=0))


def test_a_read_that_is_left_closes_its_connection(server, storage) -> None:
    server.plays(whole(server), whole(server))
    next(storage.read(KEY))
    assert b"".join(storage.read(KEY)) == CONTENT
    assert server.connections == 2


def test_a_read_to_the_end_keeps_its_connection(server, storage) -> None:
    server.plays(whole(server), whole(server), head(server))
    for _ in range(2):
        assert b"".join(storage.read(KEY)) == CONTENT
    storage.stat(KEY)
    assert server.connections == 1


def test_compressed_objects_come_as_they_are_stored(server, storage) -> None:
    server.plays(whole(server, content_encoding="gzip"))
    assert b"".join(storage.read(KEY)) == CONTENT
    assert server.seen[0].headers["accept-encoding"] == "identity"


# ── stat, list, delete ──


def test_stat_asks_for_the_checksum(server, storage, sha256) -> None:
    whole_hash = base64.b64encode(hashlib.sha256(b"1").digest()).decode()
    modified = "Wed, 21 Oct 2026 07:28:00 GMT"
    facts = {"etag": '"e1"', "last_modified": modified, "content_type": "audio/wav"}
    for checksum, found in [(whole_hash, sha256(b"1")), (whole_hash + "-3", None), ("AAAA", None)]:
        scene = server.reply(200, b"", length=7, x_amz_checksum_sha256=checksum, **facts)
        server.plays(attrs.evolve(scene, ends="keep"))
        stored = storage.stat(KEY)
        assert (stored.sha256, stored.size_bytes, stored.content_type) == (found, 7, "audio/wav")
        assert stored.modified_at.isoformat() == "2026-10-21T07:28:00+00:00"
    assert server.seen[0].headers["x-amz-checksum-mode"] == "ENABLED"
    assert "x-amz-checksum-mode" in server.seen[0].target


@pytest.mark.parametrize("lacking", ["etag", "content-length"])
def test_a_store_that_does_not_tell_what_an_object_is_is_told(server, storage, lacking: str) -> None:
    lines = {"etag": '"e"', "content-length": "7"}
    del lines[lacking]
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    server.plays(attrs.evolve(server.reply(200), reply=f"HTTP/1.1 200 OK\r\n{text}\r\n".encode(), ends="close"))
    with pytest.raises(ConfigurationError, match="entity tag"):
        storage.stat(KEY)


def test_a_listing_goes_on_page_after_page(server, storage) -> None:
    page = "<R xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{}</R>"
    entry = "<Contents><Key>{}</Key><Size>3</Size><ETag>&quot;e&quot;</ETag></Contents>"
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t/+=</NextContinuationToken>"
    encoded = "<EncodingType>url</EncodingType>"
    first = page.format(encoded + entry.format("a+b%2Bc/%C3%A4%F0%9F%8E%A7") + more)
    server.plays(
        server.reply(200, first.encode()),
        server.reply(503),
        server.reply(200, page.format(entry.format("b+c")).encode()),
    )
    assert [stored.key for stored in storage.list("a&b/")] == ["a b+c/ä🎧", "b+c"]
    assert "prefix=a%26b%2F" in server.seen[0].target
    assert "continuation-token=t%2F%2B%3D" in server.seen[1].target


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<a",
        b"",
        b"<R><IsTruncated>true</IsTruncated></R>",
        b"<R><Contents><Key>a</Key></Contents></R>",
        b"<R><EncodingType>url</EncodingType><Contents><Key>%ff</Key><Size>1</Size></Contents></R>",
    ],
)
def test_a_broken_listing_is_told(server, storage, body: bytes) -> None:
    server.plays(*[server.reply(200, body)] * 5)
    with pytest.raises(BackendUnavailableError, match="listing"):
        list(storage.list(""))


def test_a_delete_of_nothing_does_nothing(server, storage) -> None:
    server.plays(server.reply(204), server.refusal(404, "NoSuchKey"), server.reply(500), server.reply(204))
    for _ in range(3):
        storage.delete(KEY)
    assert methods(server) == "DELETE DELETE DELETE DELETE"


# ── refusals ──


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "", StorageDeniedError),
        (401, "Unauthorized", StorageDeniedError),
        (403, "SignatureDoesNotMatch", StorageDeniedError),
        (400, "ExpiredToken", StorageDeniedError),
        (403, "RequestTimeTooSkewed", ClockSkewError),
        (404, "NoSuchBucket", ConfigurationError),
        (301, "PermanentRedirect", ConfigurationError),
        (400, "AuthorizationHeaderMalformed", ConfigurationError),
        (400, "NobodyKnowsThis", ConfigurationError),
        (501, "NotImplemented", ConfigurationError),
        (507, "", StorageFullError),
        (413, "EntityTooLarge", LimitExceededError),
    ],
)
def test_a_refusal_is_told_without_a_second_try(server, storage, status: int, code: str, error: type) -> None:
    server.plays(server.refusal(status, code, x_amz_request_id="r-1"))
    with pytest.raises(error) as caught:
        put(storage, b"1")
    assert type(caught.value) is error
    assert len(server.seen) == 1
    told = f"{caught.value} {caught.value.hint} {caught.value.facts}"
    assert "secret=1" not in told
    assert "X-Amz" not in told
    assert caught.value.facts["request_id"] == "r-1"


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_a_write_that_meets_another_is_repeated(server, storage, code: str) -> None:
    server.plays(server.refusal(409, code), server.reply(404), server.reply(200, etag='"e"'))
    put(storage)


def test_a_denial_without_a_word_names_every_cause(server, storage) -> None:
    server.plays(server.reply(403))
    with pytest.raises(StorageDeniedError) as caught:
        storage.stat(KEY)
    hint = caught.value.hint
    assert all(word in hint for word in ("access key", "another bucket", "clock", "jurisdiction", "header"))


@pytest.mark.parametrize(("hours", "way"), [(2, "behind"), (-2, "ahead of")])
def test_a_clock_that_is_off_is_told_with_the_difference(server, open_client, hours: int, way: str) -> None:
    """The codes of query signatures do not say it, and a HEAD has none."""
    storage = S3Storage(open_client(now=lambda: 1_800_000_000.0))
    date = {2: "Fri, 15 Jan 2027 10:00:00 GMT", -2: "Fri, 15 Jan 2027 06:00:00 GMT"}[hours]
    server.plays(server.refusal(403, "AccessDenied", date=date))
    with pytest.raises(ClockSkewError, match=rf"7200 s {way}") as caught:
        storage.stat(KEY)
    assert caught.value.facts["skew_s"] == -hours * 3600


def test_retry_after_is_kept(server, storage, pauses: list[float]) -> None:
    server.plays(server.reply(503, retry_after="7"), head(server))
    storage.stat(KEY)
    assert pauses == [7.0]


def test_retry_after_may_be_a_date(server, open_client, pauses: list[float]) -> None:
    storage = S3Storage(open_client(now=lambda: 1_800_000_000.0))
    server.plays(server.reply(503, retry_after="Fri, 15 Jan 2027 08:00:09 GMT"), head(server))
    storage.stat(KEY)
    assert pauses == [9.0]


def test_a_retry_after_that_cannot_be_read_is_none(server, storage, pauses: list[float]) -> None:
    server.plays(server.reply(503, retry_after="soon"), head(server))
    storage.stat(KEY)
    assert len(pauses) == 1
    assert pauses[0] < 1


def test_a_refusal_whose_body_is_cut_is_still_one(server, storage) -> None:
    server.plays(server.reply(403, b"<Error>", length=1000, date="nonsense"))
    with pytest.raises(StorageDeniedError):
        list(storage.read(KEY))


def test_a_store_that_does_not_tell_the_length_is_not_believed(server, storage) -> None:
    server.plays(*[server.reply(200, b"who knows", content_length="none", etag='"e"')] * 5)
    with pytest.raises(BackendUnavailableError, match="how long"):
        list(storage.read(KEY))


def test_a_wrong_scheme_is_hinted_at(server, open_client) -> None:
    client = open_client()
    address = BucketAddress.from_url(f"s3://bucket?endpoint={server.endpoint.replace('http', 'https')}")
    secure = S3Client(address, client._signer, patience=BRISK, sleep=lambda _: None)
    server.plays(*[server.reply(400)] * 2)
    with pytest.raises(BackendUnavailableError, match="TLS fails") as caught:
        S3Storage(secure).stat(KEY)
    assert "scheme" in caught.value.hint


def test_a_store_that_wants_to_be_left_alone_for_long_is_given_up(server, storage, pauses: list[float]) -> None:
    server.plays(server.reply(503, retry_after="3600"))
    with pytest.raises(BackendUnavailableError) as caught:
        storage.stat(KEY)
    assert caught.value.facts["retry_after"] == 3600.0
    assert pauses == []


def test_pauses_grow_and_end(server, storage, pauses: list[float]) -> None:
    server.plays(*[server.reply(500)] * 5)
    with pytest.raises(BackendUnavailableError):
        storage.stat(KEY)
    assert len(pauses) == 4
    assert all(0.125 * 2**turn <= pause <= 0.25 * 2**turn for turn, pause in enumerate(pauses))


def test_somebody_who_waits_gets_two_tries(server, open_client) -> None:
    server.plays(*[server.reply(500)] * 2)
    with pytest.raises(BackendUnavailableError):
        S3Storage(open_client(BRISK)).stat(KEY)
    assert len(server.seen) == 2


def test_a_store_that_is_not_there_is_away(server, storage) -> None:
    server.close()
    for call in (
        lambda: put(storage),
        lambda: storage.stat(KEY),
        lambda: list(storage.read(KEY)),
        lambda: list(storage.list("")),
        lambda: storage.delete(KEY),
    ):
        with pytest.raises(BackendUnavailableError, match="no connection can be made"):
            call()


def test_a_closed_storage_is_away(storage: S3Storage, client: S3Client) -> None:
    storage.close()
    with pytest.raises(BackendUnavailableError, match="closed"):
        storage.stat(KEY)
