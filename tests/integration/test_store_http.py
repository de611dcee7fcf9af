"""The embedded store behind a real server: the laws of signed URLs, and what they leave to it."""

import asyncio
import errno
import io
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest
import uvicorn
from starlette.applications import Starlette

from musproj.adapters.local.gate import LocalGate
from musproj.adapters.local.signing import LocalSigner, SigningKeys
from musproj.adapters.local.storage import LocalStorage
from musproj.adapters.system import SystemClock
from musproj.http.hop import Pool
from musproj.http.store import store_routes
from musproj.testing.clock import FakeClock
from musproj.testing.signed import (
    CONTENT,
    KEY,
    LIFE,
    TYPE,
    SignedStore,
    SignedUrlsContract,
    connect,
    given,
    read,
    send,
    sign_get,
    sign_put,
    upload,
)

KEYS = SigningKeys(b"k" * 32)
LIMIT = 4 << 20
IDLE_SECONDS = 0.5
PATIENCE_SECONDS = 20.0


@attrs.frozen(kw_only=True)
class ServedStore(SignedStore):
    root: Path
    server: "Server"

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def bodies(self) -> list[int]:
        """How many body messages each answer had."""
        return self.server.bodies

    def signer(self, keys: SigningKeys) -> LocalSigner:
        return LocalSigner(keys, self.url, SystemClock(), LIMIT)

    def temporary(self) -> list[Path]:
        return list((self.root / ".tmp").iterdir())


class Server:
    """One real server for all tests here; each of them puts its own application behind it."""

    def __init__(self, listening: socket.socket) -> None:
        self.url = "http://{}:{}".format(*listening.getsockname())
        self.app = Starlette()
        self.bodies: list[int] = []

    async def __call__(self, scope, receive, send) -> None:
        self.bodies.append(0)

        async def count(message) -> None:
            self.bodies[-1] += message["type"] == "http.response.body"
            await send(message)

        await self.app(scope, receive, count)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        application = Server(listening)
        uvicorn_server = uvicorn.Server(uvicorn.Config(application, log_level="error", lifespan="off"))
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listening]})
        thread.start()
        eventually(lambda: uvicorn_server.started)
        yield application
        uvicorn_server.should_exit = True
        thread.join()


@pytest.fixture
def local_store(server: Server, tmp_path: Path) -> Iterator[ServedStore]:
    memory = Path("/dev/shm")
    clock = SystemClock()
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as root,
        closing(Pool("store", 16)) as pool,
    ):
        storage = LocalStorage(Path(root))
        both = SigningKeys(b"n" * 32, previous=KEYS.current)
        gate = LocalGate(storage, LocalSigner(both, server.url, clock, LIMIT), clock, LIMIT)
        server.app = Starlette(routes=store_routes(gate, pool.run, idle_seconds=IDLE_SECONDS))
        server.bodies = []
        yield ServedStore(
            storage=storage,
            urls=LocalSigner(KEYS, server.url, clock, LIMIT),
            stale=LocalSigner(KEYS, server.url, FakeClock(clock.now() - timedelta(hours=1)), LIMIT),
            root=Path(root),
            server=server,
        )
        storage.close()


@pytest.fixture
def store(local_store: ServedStore) -> ServedStore:
    return local_store


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestLocalSignedUrls(SignedUrlsContract):
    """All of it runs with URLs signed by the key before the last rotation."""

    @pytest.fixture
    def store(self, local_store: ServedStore) -> ServedStore:
        return local_store


# ── refused, in S3's words ──


def code_of(reply) -> str:
    assert reply["content-type"] == "application/xml"
    return re.search("<Code>(.*)</Code>", reply.body.decode())[1]


def test_refusals_carry_s3s_codes(store: ServedStore) -> None:
    signed = sign_put(store)
    expired = store.stale.sign_put(KEY, content_type=TYPE, size=None, sha256=None, expires_in=timedelta(minutes=1))
    replies = [
        (upload(signed, headers={}), 403, "SignatureDoesNotMatch"),
        (upload(expired), 403, "AccessDenied"),
        (upload(signed, CONTENT[::-1]), 400, "BadDigest"),
        (send("GET", sign_get(store).url, {}), 404, "NoSuchKey"),
        (upload(signed), 200, None),
        (upload(signed), 412, "PreconditionFailed"),
        (send("GET", sign_get(store).url, {"range": "bytes=9999-"}), 416, "InvalidRange"),
        (send("DELETE", signed.url, {}), 405, "MethodNotAllowed"),
    ]
    for reply, status, code in replies:
        assert (reply.status, code_of(reply) if code else None) == (status, code)
        assert reply["x-content-type-options"] == "nosniff"
        assert reply["cache-control"] == "no-store"


def test_an_upload_needs_a_length(store: ServedStore) -> None:
    signed = sign_put(store, size=None, sha=None)
    reply = upload(signed, b"3\r\nabc\r\n0\r\n\r\n", headers={**signed.headers, "transfer-encoding": "chunked"})
    assert (reply.status, code_of(reply)) == (411, "MissingContentLength")


def test_the_policy_caps_an_upload_of_no_signed_size(store: ServedStore) -> None:
    signed = sign_put(store, size=None, sha=None)
    reply = upload(signed, b"", headers={**signed.headers, "content-length": str(LIMIT + 1)})
    assert (reply.status, code_of(reply)) == (413, "EntityTooLarge")
    assert store.temporary() == []
    assert upload(signed, bytes(LIMIT)).status == 200


def test_unsigned_headers_of_the_store_are_refused(store: ServedStore) -> None:
    reply = upload(sign_put(store), added={"x-amz-meta-musproj-job": "job_1"})
    assert (reply.status, code_of(reply)) == (403, "AccessDenied")


def test_a_header_sent_twice_is_not_the_signed_one(store: ServedStore) -> None:
    signed = sign_put(store)
    reply = upload(signed, added={"Content-Type": "text/html"})
    assert (reply.status, code_of(reply)) == (403, "SignatureDoesNotMatch")


def test_other_methods_are_told_which_there_are(store: ServedStore) -> None:
    for method in ("POST", "DELETE", "PATCH"):
        reply = send(method, f"{store.url}/_store/{KEY}", {})
        assert (reply.status, reply["allow"]) == (405, "GET, HEAD, OPTIONS, PUT")
    reply = send("OPTIONS", f"{store.url}/_store/{KEY}", {})
    assert (reply.status, reply["allow"], reply.body) == (204, "GET, HEAD, OPTIONS, PUT", b"")


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2f..%2fetc/passwd",
        "..%5c..%5cwin.ini",
        "/etc/passwd",
        ".meta/assets/ast_1/v1/source.wav.json",
        "assets/ast_1/v1/source.wav%00.html",
        "assets/ast_1/v1/source.wav%0a",
        "assets/ast_1/v1/source.wav/",
        "assets/ast_1//v1/source.wav",
        "assets/ast_1/v1/./source.wav",
        "",
    ],
)
def test_no_path_but_the_signed_one_is_served(store: ServedStore, path: str) -> None:
    given(store)
    query = urlsplit(sign_get(store).url).query
    reply = send("GET", f"{store.url}/_store/{path}?{query}", {})
    assert (reply.status, code_of(reply)) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("more", ["&op=get", "&sig=0", "&len=", "&x", "&" * 40 + "a=1&" * 40])
def test_nothing_may_be_added_to_the_query(store: ServedStore, more: str) -> None:
    given(store)
    assert send("GET", sign_get(store).url + more, {}).status == 403


def test_a_key_that_nobody_has_signs_nothing(store: ServedStore) -> None:
    foreign = attrs.evolve(store, urls=store.signer(SigningKeys(b"f" * 32)))
    assert upload(sign_put(foreign)).status == 403
    assert upload(sign_put(attrs.evolve(store, urls=store.signer(SigningKeys(b"n" * 32))))).status == 200


def test_a_refusal_comes_before_the_body_is_asked_for(store: ServedStore) -> None:
    signed = sign_put(store, size=None, sha=None)
    given(store)
    parts = urlsplit(signed.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in signed.headers.items())
    with socket.create_connection((parts.hostname, parts.port)) as client:
        client.sendall(
            f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nhost: x\r\n{head}"
            "content-length: 1000\r\nexpect: 100-continue\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 412 ")


def test_a_client_that_is_still_sending_hears_why_it_is_refused(store: ServedStore) -> None:
    given(store)
    signed = sign_put(store, size=LIMIT, sha=None)
    assert upload(signed, bytes(LIMIT)).status == 412
    assert upload(signed, bytes(LIMIT), headers={"content-length": str(LIMIT)}).status == 403


# ── served ──


def test_whatever_was_uploaded_never_runs(store: ServedStore) -> None:
    given(store)
    for content_type in ("text/html", "image/svg+xml", "application/javascript", "audio/wav\r\nx: y", "nonsense"):
        signed = store.urls.sign_get(KEY, filename="x.html", content_type=content_type, expires_in=LIFE, inline=True)
        reply = send("GET", signed.url, {})
        assert reply["content-type"] == "application/octet-stream"
        assert reply["content-security-policy"] == "default-src 'none'; sandbox"
        assert reply["x-content-type-options"] == "nosniff"
        assert reply["cache-control"].startswith("private")


def test_head_tells_what_get_would(store: ServedStore) -> None:
    given(store)
    url = sign_get(store).url
    for headers in ({}, {"range": "bytes=0-9"}):
        get, head = send("GET", url, headers), send("HEAD", url, headers)
        # The server's own Date may differ.
        assert (head.status, head.body) == (get.status, b"")
        assert {**dict(head.fields), "date": ""} == {**dict(get.fields), "date": ""}
    assert send("HEAD", url, {"range": "bytes=9999-"}).status == 416


def test_the_entity_tag_is_the_strong_one_of_the_bytes(store: ServedStore) -> None:
    given(store)
    reply = send("GET", sign_get(store).url, {})
    assert reply["etag"] == f'"{store.storage.stat(KEY).sha256}"'
    assert reply["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"range": "bytes=0-1,5-6"}, 416),
        ({"range": "bytes=0-1,"}, 416),
        ({"range": "bytes=-0"}, 416),
        ({"range": "bytes=2048-2049"}, 416),
        ({"range": "bytes=5-2"}, 200),
        ({"range": "bytes=-"}, 200),
        ({"range": "bytes=a-b"}, 200),
        ({"range": "bytes=" + "9" * 40 + "-"}, 200),
        ({"range": "lines=0-1"}, 200),
        ({"range": "BYTES=0-1"}, 206),
        ({"range": "bytes=0-1", "if-range": '"other"'}, 200),
        ({"range": "bytes=0-1", "if-range": 'W/"{etag}"'}, 200),
        ({"range": "bytes=0-1", "if-range": '"{etag}"'}, 206),
        ({"range": "bytes=0-1", "if-none-match": '"{etag}"'}, 304),
        ({"if-none-match": 'W/"{etag}"'}, 304),
        ({"if-none-match": '"a", "{etag}"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-match": "*"}, 200),
        ({"if-match": 'W/"{etag}"'}, 412),
        ({"if-match": '"a", "{etag}"'}, 200),
    ],
)
def test_ranges_and_conditions(store: ServedStore, headers: dict[str, str], status: int) -> None:
    given(store)
    etag = store.storage.stat(KEY).etag
    filled = {name: value.replace("{etag}", etag) for name, value in headers.items()}
    reply = send("GET", sign_get(store).url, filled)
    assert reply.status == status
    if status == 416:
        assert reply["content-range"] == "bytes */2048"
    if status == 304:
        assert (reply["etag"], reply.body) == (f'"{etag}"', b"")


def test_ten_thousand_ranges_cost_nothing(store: ServedStore) -> None:
    given(store)
    many = ",".join(["0-"] * 10_000)
    assert send("GET", sign_get(store).url, {"range": f"bytes={many}"}).status == 416


def test_an_empty_object_has_no_range(store: ServedStore) -> None:
    assert upload(sign_put(store, size=0, sha=None), b"").status == 200
    url = sign_get(store).url
    assert send("GET", url, {}).body == b""
    assert send("GET", url, {"range": "bytes=0-"}).status == 416


def test_a_small_answer_is_one_body_message(store: ServedStore) -> None:
    given(store)
    send("GET", sign_get(store).url, {})
    send("GET", sign_get(store).url, {"range": "bytes=1-5"})
    send("GET", sign_get(store).url, {"if-match": '"other"'})
    assert store.bodies == [1, 1, 1, 1]


def test_large_objects_go_through_in_blocks(store: ServedStore) -> None:
    content = os.urandom(3 * (1 << 20) + 17)
    assert upload(sign_put(store, size=len(content), sha=None), content).status == 200
    assert read(store.storage) == content
    assert send("GET", sign_get(store).url, {}).body == content
    assert send("GET", sign_get(store).url, {"range": "bytes=100-3000000"}).body == content[100:3000001]
    assert max(store.bodies) > 8


# ── nothing is left behind ──


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def begin_upload(signed) -> socket.socket:
    parts = urlsplit(signed.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in signed.headers.items())
    client = socket.create_connection((parts.hostname, parts.port))
    client.sendall(f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nhost: x\r\n{head}\r\n".encode() + CONTENT[:100])
    return client


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_a_thousand_clients_that_go_away_leave_nothing(store: ServedStore) -> None:
    signed = sign_put(store)
    before = open_files()
    for _ in range(20):
        clients = [begin_upload(signed) for _ in range(50)]
        for client in clients:
            client.close()
    eventually(lambda: len(store.bodies) == 1000 and open_files() <= before and store.temporary() == [])
    assert list(store.storage.list("")) == []
    assert upload(signed).status == 200


def test_a_client_that_falls_silent_is_dropped(store: ServedStore) -> None:
    with begin_upload(sign_put(store)) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")
    eventually(lambda: store.temporary() == [])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_a_download_that_is_left_closes_its_file(store: ServedStore) -> None:
    content = bytes(LIMIT)
    assert upload(sign_put(store, size=LIMIT, sha=None), content).status == 200
    before = open_files()
    for _ in range(20):
        connection, target = connect(sign_get(store).url)
        connection.request("GET", target)
        connection.sock.recv(10)
        connection.close()
    eventually(lambda: open_files() <= before)


# ── without a server: what only its end shows ──


async def call(app, signed, *messages, extensions=None, sent=None):
    """Let the app answer; after `messages` nothing more comes."""
    parts = urlsplit(signed.url)
    scope = {
        "type": "http",
        "method": signed.method,
        "path": parts.path,
        "query_string": parts.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in signed.headers.items()],
        "extensions": extensions or {},
    }
    coming = list(messages)

    async def receive():
        return coming.pop(0) if coming else await asyncio.Event().wait()

    async def keep(message) -> None:
        sent.append(message)

    await app(scope, receive, keep)


@pytest.mark.parametrize("seen", [0, 1, 5])
def test_a_cancelled_upload_leaves_nothing(store: ServedStore, seen: int) -> None:
    block = {"type": "http.request", "body": bytes(300_000), "more_body": True}

    async def cancelled() -> None:
        signed = sign_put(store, size=LIMIT, sha=None)
        task = asyncio.create_task(call(store.server.app, signed, *[block] * seen, sent=[]))
        while not store.temporary():  # noqa: ASYNC110 - a file is no event
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    before = open_files()
    asyncio.run(cancelled())
    assert store.temporary() == []
    eventually(lambda: open_files() <= before)


def test_a_request_cancelled_while_it_opens_leaves_nothing(store: ServedStore) -> None:
    store.storage.put(KEY, io.BytesIO(CONTENT), size=len(CONTENT), content_type=TYPE)
    other = store.urls.sign_put("other", content_type=TYPE, size=10, sha256=None, expires_in=LIFE)

    async def cancelled(signed, turns: int) -> None:
        task = asyncio.create_task(call(store.server.app, signed, sent=[]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    before = open_files()
    for turns in range(1, 9):
        asyncio.run(cancelled(other, turns))
        asyncio.run(cancelled(sign_get(store), turns))
    assert store.temporary() == []
    eventually(lambda: open_files() <= before)


def test_a_download_that_nobody_takes_is_not_read_to_its_end(store: ServedStore) -> None:
    assert upload(sign_put(store, size=LIMIT, sha=None), bytes(LIMIT)).status == 200
    sent = []
    coming = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    asyncio.run(call(store.server.app, sign_get(store), *coming, sent=sent))
    assert len(sent) < 5


def test_a_server_that_sends_files_itself_is_given_the_path(store: ServedStore) -> None:
    content = bytes(LIMIT)
    assert upload(sign_put(store, size=LIMIT, sha=None), content).status == 200
    sent = []
    asyncio.run(call(store.server.app, sign_get(store), extensions={"http.response.pathsend": {}}, sent=sent))
    assert sent[1] == {"type": "http.response.pathsend", "path": str(store.storage.path(KEY))}


def test_an_object_that_goes_between_the_look_and_the_open_is_told(
    store: ServedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(store)
    real = os.open
    for error, status in ((FileNotFoundError(), 404), (OSError(errno.EMFILE, "too many"), 503)):

        def failing(path, *args, error=error, **named):
            if path == store.storage._tree.root / KEY:
                raise error
            return real(path, *args, **named)

        monkeypatch.setattr(os, "open", failing)
        assert send("GET", sign_get(store).url, {}).status == status


def test_an_object_that_shrinks_before_it_is_read_is_told(store: ServedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    given(store)
    monkeypatch.setattr(os, "pread", lambda fd, size, place: b"" if place else b"{}")
    before = open_files()
    assert send("GET", sign_get(store).url, {"range": "bytes=1-"}).status == 503
    eventually(lambda: open_files() <= before)


def test_an_object_that_shrinks_while_served_ends_in_an_error(store: ServedStore) -> None:
    assert upload(sign_put(store, size=LIMIT, sha=None), bytes(LIMIT)).status == 200
    sent = []

    class Truncating(list):
        def append(self, message) -> None:
            super().append(message)
            os.truncate(store.storage.path(KEY), 10)

    sent = Truncating()
    with pytest.raises(OSError, match="shorter"):
        asyncio.run(call(store.server.app, sign_get(store), sent=sent))
    assert len(sent) == 2
