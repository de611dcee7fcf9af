"""The gate without a server: each refusal, and that nothing is kept after it."""

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from musproj.adapters.local.gate import LocalGate
from musproj.adapters.local.signing import LocalSigner, SigningKeys
from musproj.adapters.local.storage import LocalStorage
from musproj.domain.keys import ObjectKey
from musproj.ports.gate import GateRefusedError, PutSession
from musproj.testing.clock import FakeClock

KEY = ObjectKey("assets/ast_1/v1/source.wav")
CONTENT = b"0123456789" * 100
SHA = hashlib.sha256(CONTENT).hexdigest()
LIMIT = 5000

Open = Callable[..., PutSession]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LocalStorage]:
    storage = LocalStorage(tmp_path)
    yield storage
    storage.close()


@pytest.fixture
def open_put(storage: LocalStorage) -> Open:
    clock = FakeClock()
    signer = LocalSigner(SigningKeys(b"k" * 32), "http://localhost", clock, LIMIT)
    gate = LocalGate(storage, signer, clock, LIMIT)

    def open_put(*, size: int | None = len(CONTENT), sha: str | None = SHA, **headers: str | None) -> PutSession:
        """Sign and open; a header that is None is left out, others replace or add."""
        signed = signer.sign_put(KEY, content_type="audio/wav", size=size, sha256=sha, expires_in=timedelta(hours=1))
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"content-length": str(len(CONTENT)), **signed.headers, **changed}
        query = dict(parse_qsl(urlsplit(signed.url).query))
        return gate.open_put(KEY, query, {name: value for name, value in sent.items() if value is not None})

    return open_put


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(GateRefusedError) as caught:
        call()
    return caught.value.status, caught.value.code


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_an_upload_in_pieces_is_stored(storage: LocalStorage, open_put: Open) -> None:
    session = open_put()
    for start in range(0, len(CONTENT), 7):
        session.write(CONTENT[start : start + 7])
    stored = session.commit()
    session.abort()
    assert stored == storage.stat(KEY)
    assert (stored.sha256, stored.content_type, stored.metadata) == (SHA, "audio/wav", {})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"content_length": None}, (411, "MissingContentLength")),
        ({"transfer_encoding": "chunked"}, (411, "MissingContentLength")),
        ({"content_length": "1e3"}, (400, "InvalidArgument")),
        ({"content_length": "-1"}, (400, "InvalidArgument")),
        ({"content_length": "٣"}, (400, "InvalidArgument")),
        ({"content_length": "9" * 19}, (400, "InvalidArgument")),
        ({"content_length": "999"}, (403, "SignatureDoesNotMatch")),
        ({"content_type": "audio/flac"}, (403, "SignatureDoesNotMatch")),
        ({"content_type": None}, (403, "SignatureDoesNotMatch")),
        ({"if_none_match": None}, (403, "SignatureDoesNotMatch")),
        ({"x_amz_checksum_sha256": None}, (403, "SignatureDoesNotMatch")),
        ({"x_amz_acl": "public-read"}, (403, "AccessDenied")),
        ({"user_agent": "any"}, None),
    ],
)
def test_headers_are_checked_before_the_body(
    tmp_path: Path, open_put: Open, headers: dict[str, str | None], expected: tuple[int, str] | None
) -> None:
    if expected is None:
        open_put(**headers).abort()
    else:
        assert refusal(lambda: open_put(**headers)) == expected
    assert files(tmp_path) == []


def test_a_checksum_that_was_not_signed_is_refused(open_put: Open) -> None:
    assert refusal(lambda: open_put(sha=None, x_amz_checksum_sha256="AAAA")) == (403, "AccessDenied")


def test_the_limit_holds_whatever_was_signed(open_put: Open) -> None:
    for size in (None, LIMIT + 1):
        told = refusal(lambda size=size: open_put(size=size, sha=None, content_length=str(LIMIT + 1)))
        assert told == (413, "EntityTooLarge")


def test_a_short_body_is_refused(tmp_path: Path, open_put: Open) -> None:
    session = open_put(sha=None)
    session.write(CONTENT[:-1])
    assert refusal(session.commit) == (400, "IncompleteBody")
    assert files(tmp_path) == []


def test_a_long_body_is_refused(tmp_path: Path, open_put: Open) -> None:
    session = open_put(sha=None)
    session.write(CONTENT)
    assert refusal(lambda: session.write(b"1")) == (413, "EntityTooLarge")
    assert files(tmp_path) == []


def test_other_bytes_are_refused(tmp_path: Path, open_put: Open) -> None:
    session = open_put()
    session.write(CONTENT[::-1])
    assert refusal(session.commit) == (400, "BadDigest")
    assert files(tmp_path) == []


def test_a_taken_key_is_refused_at_both_ends(storage: LocalStorage, open_put: Open) -> None:
    late, early = open_put(), open_put()
    for session in (late, early):
        session.write(CONTENT)
    early.commit()
    assert refusal(late.commit) == (412, "PreconditionFailed")
    assert refusal(open_put) == (412, "PreconditionFailed")
    assert [stored.key for stored in storage.list("")] == [KEY]


def test_an_aborted_upload_leaves_nothing(tmp_path: Path, open_put: Open) -> None:
    before = sum(1 for _ in Path("/dev/fd").iterdir())
    session = open_put()
    session.write(CONTENT[:500])
    session.abort()
    session.abort()
    assert files(tmp_path) == []
    assert sum(1 for _ in Path("/dev/fd").iterdir()) == before


@pytest.mark.parametrize(("code", "expected"), [(28, (507, "InsufficientStorage")), (5, (503, "ServiceUnavailable"))])
def test_a_failing_disk_is_told(
    tmp_path: Path, open_put: Open, monkeypatch: pytest.MonkeyPatch, code: int, expected: tuple[int, str]
) -> None:
    def failing(*args, **named) -> None:
        raise OSError(code, os.strerror(code))

    session = open_put()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", failing)
        assert refusal(lambda: session.write(CONTENT)) == expected
    assert files(tmp_path) == []
    session = open_put()
    session.write(CONTENT)
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", failing)
        assert refusal(session.commit) == expected
    assert files(tmp_path) == []
    monkeypatch.setattr(os, "open", failing)
    assert refusal(open_put) == expected


def test_a_key_that_the_disk_cannot_name_is_told(storage: LocalStorage) -> None:
    clock = FakeClock()
    signer = LocalSigner(SigningKeys(b"k" * 32), "http://localhost", clock, LIMIT)
    key = ObjectKey("CON")
    signed = signer.sign_put(key, content_type="audio/wav", size=1, sha256=None, expires_in=timedelta(hours=1))
    query = dict(parse_qsl(urlsplit(signed.url).query))
    gate = LocalGate(storage, signer, clock, LIMIT)
    assert refusal(lambda: gate.open_put(key, query, signed.headers)) == (400, "InvalidURI")
