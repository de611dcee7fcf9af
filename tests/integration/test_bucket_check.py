"""The examination of a bucket, on a store that verifies all and on one that verifies nothing."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import attrs
import pytest

from musproj import MusProj, Settings
from musproj.adapters.memory.storage import MemoryStorage
from musproj.adapters.system import SystemClock
from musproj.application.bucket_check import BucketCheck
from musproj.cli.raw_http import fetch
from musproj.errors import ObjectExistsError
from musproj.http.server import ApiServer, listen
from musproj.ports.storage import SignedRequest

ORIGIN = "https://app.example"


@contextmanager
def served(folder) -> Iterator[MusProj]:
    settings = Settings(data=folder, port=0)
    with listen(settings) as listener:
        settings = attrs.evolve(settings, port=listener.getsockname()[1])
        ready = threading.Event()
        with MusProj.open(settings) as mp:
            server = ApiServer(mp, listener)
            thread = threading.Thread(target=server.run, kwargs={"on_ready": lambda _url: ready.set()})
            thread.start()
            assert ready.wait(20)
            try:
                yield mp
            finally:
                server.stop()
                thread.join(20)


def found(check: BucketCheck) -> dict[str, tuple[str, str, str | None]]:
    return {f.name: (f.status, f.detail, f.fix) for f in check.examine()}


def test_a_store_that_verifies_everything_is_in_order_and_empty_again(tmp_path):
    with served(tmp_path) as mp:
        opened = mp.opened_storage
        check = BucketCheck(
            storage=opened.storage, signed_urls=opened.signed_urls, multipart=None, clock=mp.clock, fetch=fetch
        )
        findings = found(check)
        assert list(opened.storage.list("")) == []
    assert {name: status for name, (status, *_) in findings.items() if status != "ok"} == {}
    assert len([name for name in findings if name.startswith("signed put ")]) == 9
    assert findings["signed put again"][1] == "answered 412 Precondition Failed"


# ── a store that lets everything pass ────────────────────────────────────────────────────────────


class Careless(MemoryStorage):
    """Replaces objects, and heeds no entity tag."""

    def put(self, key, source, **options):
        self.delete(key)
        return super().put(key, source, **options)

    def read(self, key, *, start=0, length=None, etag=None):
        return super().read(key, start=start, length=length)


class Handler(BaseHTTPRequestHandler):
    """Takes whatever comes under whatever path."""

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.storage.put(urlsplit(self.path).path[1:], io.BytesIO(body), size=len(body), content_type="x/y")
        self._answer(b"")

    def do_GET(self):
        key = urlsplit(self.path).path[1:]
        self._answer(b"".join(self.server.storage.read(key)))

    def do_DELETE(self):
        self._answer(b"")

    def do_OPTIONS(self):
        self._answer(b"")

    def _answer(self, body):
        self.send_response_only(200)
        self.send_header("date", format_datetime(datetime.now(UTC) + timedelta(minutes=2)))
        for name, value in self.server.added.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@attrs.frozen
class Unsigned:
    """Signs nothing."""

    url: str
    clock = SystemClock()
    needs_size = True
    max_put_bytes = None

    def sign_put(self, key, *, content_type, size, sha256, expires_in):
        headers = {"content-type": content_type, "content-length": str(size), "if-none-match": "*"}
        url = f"{self.url}/{key}?X-Amz-Signature=0a"
        return SignedRequest(method="PUT", url=url, headers=headers, expires_at=self.clock.now() + expires_in)

    def sign_get(self, key, *, filename, content_type, expires_in, inline=False):
        signed = self.sign_put(key, content_type=content_type, size=0, sha256=None, expires_in=expires_in)
        return attrs.evolve(signed, method="GET", headers={})


@pytest.fixture
def careless():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.storage = Careless(SystemClock())
    server.added = {}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def check_of(server, **options):
    url = "http://{}:{}".format(*server.server_address)
    options = {"fetch": fetch, "sleep": lambda _: None, "origins": (ORIGIN,), **options}
    return BucketCheck(
        storage=server.storage, signed_urls=Unsigned(url), multipart=None, clock=SystemClock(), **options
    )


def test_a_store_that_verifies_nothing_is_told_with_what_to_do(careless):
    findings = found(check_of(careless))
    problems = {name for name, (status, *_) in findings.items() if status == "problem"}
    assert problems == {
        "bucket create-only",
        "bucket range",
        "signed put again",
        "signed put other length",
        "signed put other sha256",
        "signed put other type",
        "signed put without condition",
        "signed put altered signature",
        "signed put wrong method",
        "signed put expired",
    }
    assert all(findings[name][2] for name in problems)
    assert "conditional writes" in findings["signed put again"][2]
    assert findings["signed put other bytes"][0] == "warning"
    assert list(careless.storage.list("")) == []


def test_a_clock_that_is_wrong_is_told(careless):
    status, detail, fix = found(check_of(careless))["bucket clock"]
    assert (status, fix) == ("warning", "Let this host's clock follow a time server (NTP).")
    assert detail in ("+119 s against this host's", "+120 s against this host's")


@pytest.mark.parametrize(
    ("added", "status", "told"),
    [
        ({}, "warning", "the origin is not allowed"),
        ({"access-control-allow-origin": "https://other.example"}, "warning", "the origin is not allowed"),
        ({"access-control-allow-origin": ORIGIN}, "warning", "the method PUT is not allowed"),
        (
            {
                "access-control-allow-origin": "*",
                "access-control-allow-methods": "GET, PUT",
                "access-control-allow-headers": "Content-Type",
            },
            "warning",
            "the headers if-none-match are not allowed",
        ),
        (
            {
                "access-control-allow-origin": ORIGIN,
                "access-control-allow-methods": "PUT",
                "access-control-allow-headers": "content-type,if-none-match",
            },
            "ok",
            "may put",
        ),
    ],
)
def test_what_a_browser_lacks_is_told(careless, added, status, told):
    careless.added = added
    finding = found(check_of(careless))["bucket cors"]
    assert finding[0] == status
    assert told in finding[1]


def test_no_answer_is_a_problem_and_no_traceback(careless):
    def nobody(_request):
        raise ConnectionRefusedError(111, "Connection refused")

    findings = found(check_of(careless, fetch=nobody))
    assert findings["signed urls"][0] == "problem"
    assert "Connection refused" in findings["signed urls"][1]
    assert findings["bucket delete"][0] == "ok"


def test_what_may_not_be_deleted_is_told(careless):
    class Keeping(Careless):
        def delete(self, key):
            pass

        def put(self, key, source, **options):
            if any(stored.key == key for stored in self.list("")):
                raise ObjectExistsError
            return MemoryStorage.put(self, key, source, **options)

    careless.storage = Keeping(SystemClock())
    status, detail, fix = found(check_of(careless))["bucket delete"]
    assert status == "problem"
    assert "still there" in detail
    assert "doctor/" in fix
