"""The laws of signed URLs, tried from outside: through a real HTTP client, on a server that verifies.

A server that accepts altered, expired or foreign URLs (moto does, for one) proves nothing; use one that refuses.
"""

import hashlib
import http.client
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import attrs
import pytest

from musproj.domain.keys import ObjectKey, object_key
from musproj.errors import InvalidError, ObjectMissingError
from musproj.ports.storage import SignedRequest, SignedUrls, Storage
from musproj.testing.contract import need
from musproj.testing.threads import at_once

KEY = object_key("assets/ast_1/v1/source.wav")
OTHER_KEY = object_key("assets/ast_2/v1/source.wav")
TYPE = "audio/wav"
CONTENT = bytes(range(256)) * 8
LIFE = timedelta(minutes=10)
LONGEST_LIFE = timedelta(days=7)
MINUTE = timedelta(minutes=1)

REFUSED = (400, 401, 403, 405, 501)
"""A method that was not signed: which of these depends on whether the server knows the method at all."""

HOSTILE_NAMES = (
    'quote".wav',
    "line\r\nSet-Cookie: stolen=1\r\n\r\n<html>",
    "../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "evil\u202egnp.wav",
    "nul\x00.wav",
    "semi; filename=other.exe",
    "percent%22%0d%0a.wav",
    "日本語 ñandú 🎧.wav",
    "\ud800.wav",
    "." * 50,
    "x" * 2000 + ".wav",
    "",
)

CLIENT_GONE_SECONDS = 10.0


@attrs.frozen(kw_only=True)
class SignedStore:
    """An empty store that answers HTTP, and who signs for it."""

    storage: Storage
    urls: SignedUrls
    stale: SignedUrls | None = None
    """The same signer by a clock that is an hour late: what it signs for a minute has expired."""


@attrs.frozen
class Reply:
    """What came back."""

    status: int
    fields: tuple[tuple[str, str], ...]
    """Each header line, names in lower case."""
    body: bytes = attrs.field(repr=False)

    def __getitem__(self, name: str) -> str:
        """Return the one header of that name."""
        (value,) = [value for known, value in self.fields if known == name]
        return value


class SignedUrlsContract:
    """Override `store`; everything else follows from it."""

    @pytest.fixture
    def store(self) -> Iterator[SignedStore]:
        """Give an empty store and its signer."""
        raise NotImplementedError("override the fixture `store`: a SignedStore that answers HTTP")

    # ── PUT: what is asked for ──

    @pytest.mark.parametrize("with_size", [True, False])
    @pytest.mark.parametrize("with_hash", [True, False])
    def test_sending_exactly_the_headers_stores_the_object(
        self, store: SignedStore, *, with_size: bool, with_hash: bool
    ) -> None:
        """A client needs to know nothing but method, URL and headers; a store that needs the size signs none without."""
        if not with_size and store.urls.needs_size:
            with pytest.raises(InvalidError):
                sign_put(store, size=None)
            return
        signed = store.urls.sign_put(
            KEY,
            content_type=TYPE,
            size=len(CONTENT) if with_size else None,
            sha256=sha256(CONTENT) if with_hash else None,
            expires_in=LIFE,
        )
        reply = upload(signed)
        assert reply.status == 200
        assert reply["etag"].startswith('"')
        stored = store.storage.stat(KEY)
        assert (stored.size_bytes, stored.content_type) == (len(CONTENT), TYPE)
        assert read(store.storage) == CONTENT

    def test_the_headers_are_the_promised_ones(self, store: SignedStore) -> None:
        """They are part of the API: one more would break clients that know these."""
        signed = sign_put(store)
        assert signed.method == "PUT"
        assert {name.lower(): value for name, value in signed.headers.items()} == {
            "content-type": TYPE,
            "content-length": str(len(CONTENT)),
            "if-none-match": "*",
            "x-amz-checksum-sha256": b64encode(hashlib.sha256(CONTENT).digest()).decode(),
        }

    def test_what_a_client_adds_by_itself_does_no_harm(self, store: SignedStore) -> None:
        """No HTTP library sends nothing but what it was told."""
        added = {"user-agent": "App/1 CFNetwork/1 Darwin/1", "accept": "*/*", "accept-language": "de"}
        assert upload(sign_put(store), added=added).status == 200

    def test_a_life_is_at_most_seven_days(self, store: SignedStore) -> None:
        """What is longer is cut, not refused by the server."""
        week, longer = (
            store.urls.sign_put(KEY, content_type=TYPE, size=2048, sha256=None, expires_in=LONGEST_LIFE + more)
            for more in (timedelta(0), timedelta(days=30))
        )
        assert longer.expires_at - week.expires_at < MINUTE
        assert upload(longer).status == 200

    # ── PUT: once ──

    def test_a_second_put_is_refused(self, store: SignedStore) -> None:
        """The URL lives on, but what was stored stays: other bytes or the same."""
        signed = sign_put(store, size=None if not store.urls.needs_size else len(CONTENT), sha=None)
        assert upload(signed).status == 200
        before = store.storage.stat(KEY)
        assert upload(signed).status == 412
        assert upload(signed, CONTENT[::-1]).status == 412
        assert store.storage.stat(KEY) == before
        assert read(store.storage) == CONTENT

    def test_another_url_for_the_key_is_refused_as_well(self, store: SignedStore) -> None:
        """Create-only holds for the key, not for the URL."""
        assert upload(sign_put(store)).status == 200
        later = store.urls.sign_put(KEY, content_type="audio/flac", size=3, sha256=None, expires_in=LIFE)
        assert upload(later, b"123").status == 412
        assert read(store.storage) == CONTENT

    def test_of_racing_uploads_one_wins(self, store: SignedStore) -> None:
        """The others are told, and the content is the winner's."""
        signed = sign_put(store, sha=None)
        contents = [bytes([number]) * len(CONTENT) for number in range(8)]

        def racer(content: bytes) -> Callable[[], int]:
            return lambda: upload(signed, content).status

        statuses = at_once([racer(content) for content in contents])
        assert statuses.count(200) == 1
        # AWS tells those that overlap 409 ConditionalRequestConflict.
        assert set(statuses) <= {200, 409, 412}
        assert read(store.storage) == contents[statuses.index(200)]

    # ── PUT: nothing else than was signed ──

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("content-type", "text/html"),
            ("content-type", "audio/x-wav"),
            ("if-none-match", '"0"'),
            ("x-amz-checksum-sha256", b64encode(bytes(32)).decode()),
        ],
    )
    def test_another_header_is_refused(self, store: SignedStore, name: str, value: str) -> None:
        """Each of them is signed."""
        signed = sign_put(store)
        # 501: Swift tells that it knows no other condition before it looks at the signature.
        assert upload(signed, headers={**signed.headers, name: value}).status in (403, 501)
        assert_free(store)

    @pytest.mark.parametrize("name", ["content-type", "if-none-match", "x-amz-checksum-sha256"])
    def test_a_missing_header_is_refused(self, store: SignedStore, name: str) -> None:
        """Leaving out a condition does not lift it."""
        signed = sign_put(store)
        kept = {known: value for known, value in signed.headers.items() if known != name}
        assert upload(signed, headers=kept).status == 403
        assert_free(store)

    @pytest.mark.parametrize("body", [b"", CONTENT[:-1], CONTENT + b"1"])
    def test_another_length_is_refused(self, store: SignedStore, body: bytes) -> None:
        """Exactly the signed size, told honestly in Content-Length."""
        signed = sign_put(store, sha=None)
        assert upload(signed, body, headers={**signed.headers, "content-length": str(len(body))}).status == 403
        assert_free(store)

    def test_a_body_of_unknown_length_is_refused(self, store: SignedStore) -> None:
        """Chunks instead of a Content-Length."""
        signed = sign_put(store, sha=None)
        headers = {**signed.headers, "transfer-encoding": "chunked"}
        headers.pop("content-length")
        assert upload(signed, b"3\r\nabc\r\n0\r\n\r\n", headers=headers).status in (400, 403, 411, 501)
        assert_free(store)

    def test_other_bytes_than_hashed_are_refused(self, store: SignedStore) -> None:
        """Same length, same headers, other content."""
        assert upload(sign_put(store), CONTENT[::-1]).status == 400
        assert_free(store)

    def test_a_client_that_goes_away_leaves_nothing(self, store: SignedStore) -> None:
        """Half a body is none, and the key stays free for the next try."""
        signed = sign_put(store)
        connection, target = connect(signed.url)
        connection.putrequest("PUT", target, skip_accept_encoding=True)
        for name, value in signed.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(CONTENT[:100])
        connection.close()
        deadline = time.monotonic() + CLIENT_GONE_SECONDS
        while (status := upload(signed).status) != 200:
            assert time.monotonic() < deadline, status
        assert read(store.storage) == CONTENT

    def test_an_altered_url_is_refused(self, store: SignedStore) -> None:
        """Each field, changed, dropped or added to."""
        signed = sign_put(store)
        for url in altered(signed.url):
            assert upload(signed, url=url).status in (400, 403), urlsplit(url).query
        assert_free(store)

    def test_the_url_of_one_key_is_none_for_another(self, store: SignedStore) -> None:
        """The key is signed."""
        signed = sign_put(store)
        assert upload(signed, url=signed.url.replace(KEY, OTHER_KEY)).status == 403
        assert_free(store)
        assert_free(store, OTHER_KEY)

    def test_an_expired_url_is_refused(self, store: SignedStore) -> None:
        """By the server's clock."""
        stale = need(store.stale, "SignedStore.stale: it cannot sign in the past")
        signed = stale.sign_put(KEY, content_type=TYPE, size=len(CONTENT), sha256=None, expires_in=MINUTE)
        assert upload(signed).status == 403
        assert_free(store)

    @pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
    def test_a_put_url_allows_nothing_else(self, store: SignedStore, method: str) -> None:
        """Neither to read nor to remove what was uploaded."""
        signed = sign_put(store)
        assert upload(signed).status == 200
        assert send(method, signed.url, {}).status in REFUSED
        assert read(store.storage) == CONTENT

    # ── GET ──

    def test_a_download_is_the_object(self, store: SignedStore) -> None:
        """Under the name and the type that were signed, and with nothing to be sent."""
        given(store)
        signed = sign_get(store, filename="take one.wav")
        assert (signed.method, dict(signed.headers)) == ("GET", {})
        reply = send("GET", signed.url, {})
        assert (reply.status, reply.body) == (200, CONTENT)
        assert reply["content-type"] == TYPE
        assert reply["content-length"] == str(len(CONTENT))
        assert reply["content-disposition"].startswith("attachment")
        assert saved_name(reply) == "take one.wav"

    def test_it_may_be_shown_in_place(self, store: SignedStore) -> None:
        """For players."""
        given(store)
        assert send("GET", sign_get(store, inline=True).url, {})["content-disposition"].startswith("inline")

    @pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
    def test_a_hostile_name_is_harmless(self, store: SignedStore, name: str) -> None:
        """It makes no header, names no folder, and hides no extension."""
        given(store)
        plain = send("GET", sign_get(store, filename="plain.wav").url, {})
        reply = send("GET", sign_get(store, filename=name).url, {})
        assert (reply.status, reply.body) == (200, CONTENT)
        assert [known for known, _ in reply.fields] == [known for known, _ in plain.fields]
        saved = saved_name(reply)
        assert re.search(r'[\x00-\x1f\x7f"/\\\u202a-\u202e\u2066-\u2069]', saved) is None
        assert saved.strip(". ")
        assert len(saved.encode()) <= 255

    @pytest.mark.parametrize(
        ("asked", "start", "end"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=10-19", 10, 20),
            ("bytes=2000-", 2000, 2048),
            ("bytes=-48", 2000, 2048),
            ("bytes=2040-9999", 2040, 2048),
        ],
    )
    def test_a_range_is_served(self, store: SignedStore, asked: str, start: int, end: int) -> None:
        """One range, as players and resumed downloads ask for."""
        given(store)
        reply = send("GET", sign_get(store).url, {"range": asked})
        assert (reply.status, reply.body) == (206, CONTENT[start:end])
        assert reply["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"

    def test_a_range_outside_is_refused(self, store: SignedStore) -> None:
        """And so, or ignored, is one of many parts."""
        given(store)
        url = sign_get(store).url
        assert send("GET", url, {"range": "bytes=2048-"}).status == 416
        many = "bytes=" + ",".join(f"{number}-{number}" for number in range(0, 1000, 2))
        assert send("GET", url, {"range": many}).status in (200, 416)

    def test_conditions_are_kept(self, store: SignedStore) -> None:
        """A client that has it need not fetch it; one that wants exactly that object gets it or nothing."""
        given(store)
        url = sign_get(store).url
        etag = send("GET", url, {})["etag"]
        assert send("GET", url, {"if-none-match": etag}).status == 304
        assert send("GET", url, {"if-none-match": '"other"'}).status == 200
        assert send("GET", url, {"if-match": etag}).status == 200
        assert send("GET", url, {"if-match": '"other"'}).status == 412

    def test_an_altered_download_is_refused(self, store: SignedStore) -> None:
        """Each field, name and type among them; and for no other key."""
        given(store)
        signed = sign_get(store)
        for url in altered(signed.url):
            assert send("GET", url, {}).status in (400, 403), urlsplit(url).query
        assert send("GET", signed.url.replace(KEY, OTHER_KEY), {}).status == 403

    def test_an_expired_download_is_refused(self, store: SignedStore) -> None:
        """By the server's clock."""
        given(store)
        stale = need(store.stale, "SignedStore.stale: it cannot sign in the past")
        signed = stale.sign_get(KEY, filename="a.wav", content_type=TYPE, expires_in=MINUTE)
        assert send("GET", signed.url, {}).status == 403

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
    def test_a_get_url_allows_no_change(self, store: SignedStore, method: str) -> None:
        """Neither where there is an object, nor where there is none."""
        signed = sign_get(store)
        body = {"content-length": "3", "content-type": TYPE, "if-none-match": "*"}
        assert send(method, signed.url, body, b"abc").status in REFUSED
        assert_free(store)
        given(store)
        assert send(method, signed.url, body, b"abc").status in REFUSED
        assert read(store.storage) == CONTENT

    def test_what_is_not_there_is_missing(self, store: SignedStore) -> None:
        """A signature makes no object."""
        assert send("GET", sign_get(store).url, {}).status == 404


# ── the client ──


def send(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
    """Send exactly these headers (and Host), then the body as it is."""
    connection, target = connect(url)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        # Refused before the end? Then the answer tells why.
        with suppress(OSError):
            connection.send(body)
        answer = connection.getresponse()
        fields = tuple((name.lower(), value) for name, value in answer.getheaders())
        return Reply(answer.status, fields, answer.read())
    finally:
        connection.close()


def upload(
    signed: SignedRequest,
    body: bytes = CONTENT,
    *,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
    added: Mapping[str, str] | None = None,
) -> Reply:
    """Send the signed headers, or others; a Content-Length that is missing is added, as every client does."""
    sent = {**(signed.headers if headers is None else headers), **(added or {})}
    if "content-length" not in sent and "transfer-encoding" not in sent:
        sent["content-length"] = str(len(body))
    return send(signed.method, url or signed.url, sent, body)


def connect(url: str) -> tuple[http.client.HTTPConnection, str]:
    """Open a connection; return it and the request's target."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.netloc, timeout=30), urlunsplit(("", "", parts.path, parts.query, ""))


def altered(url: str) -> Iterable[str]:
    """Yield the URL with each field changed, dropped, and one added."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    for position, (name, value) in enumerate(pairs):
        other = value[:-1] + ("1" if value[-1:] != "1" else "2")
        before, after = pairs[:position], pairs[position + 1 :]
        yield urlunsplit(parts._replace(query=urlencode([*before, (name, other), *after])))
        yield urlunsplit(parts._replace(query=urlencode([*before, *after])))
    yield urlunsplit(parts._replace(query=urlencode([*pairs, ("added", "1")])))


def saved_name(reply: Reply) -> str:
    """Return the name that a browser saves a download under (RFC 6266: `filename*` goes before `filename`)."""
    match = re.fullmatch(
        r"(?:attachment|inline)(?:; filename=\"[^\"]*\")?; filename\*=UTF-8''([^ ;,\"']+)", _told(reply)
    )
    assert match is not None, _told(reply)
    return unquote(match[1], errors="strict")


def _told(reply: Reply) -> str:
    return reply["content-disposition"]


# ── the store ──


def sign_put(store: SignedStore, *, size: int | None = len(CONTENT), sha: str | None = "") -> SignedRequest:
    """Sign the upload of CONTENT; `sha` None signs no hash."""
    known = sha256(CONTENT) if sha == "" else sha
    return store.urls.sign_put(KEY, content_type=TYPE, size=size, sha256=known, expires_in=LIFE)


def sign_get(store: SignedStore, *, filename: str = "take.wav", inline: bool = False) -> SignedRequest:
    """Sign a download."""
    return store.urls.sign_get(KEY, filename=filename, content_type=TYPE, expires_in=LIFE, inline=inline)


def given(store: SignedStore) -> None:
    """Let CONTENT be there."""
    assert upload(sign_put(store)).status == 200


def read(storage: Storage, key: ObjectKey = KEY) -> bytes:
    """Read the whole object."""
    return b"".join(storage.read(key))


def assert_free(store: SignedStore, key: ObjectKey = KEY) -> None:
    """Nothing is under the key."""
    with pytest.raises(ObjectMissingError):
        store.storage.stat(key)


def sha256(content: bytes) -> str:
    """Return the hash, lower-case hex."""
    return hashlib.sha256(content).hexdigest()
