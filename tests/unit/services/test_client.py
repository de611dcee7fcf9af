"""The API client: one host, one key that it shows nobody, and one table of what failures mean."""

import contextlib
import gzip
import io
import json
import logging
import socket
import struct
from datetime import UTC, datetime, timedelta

import h11
import httpx
import pytest

from musproj.adapters.services import client as client_module
from musproj.adapters.services.client import ApiClient
from musproj.adapters.services.failures import classify, classify_status, parse_retry_after, scrub
from musproj.adapters.services.guard import AddressGuard, GuardedTransport
from musproj.errors import RemoteHostRefusedError
from musproj.ports.remote import CallClass, CallError

KEY = "SENTINEL-4f1c"
BASE = "https://api.test/v1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def api(handler, **options):
    transport = httpx.MockTransport(handler if callable(handler) else lambda request: handler)
    return ApiClient(BASE, {"Authorization": f"Bearer {KEY}"}, transport=transport, **options)


def real_api(server):
    transport = GuardedTransport(AddressGuard(frozenset({server.place})))
    return ApiClient(server.origin, {"X-License-Key": KEY}, transport=transport), transport


def failure(client, *args, **kwargs):
    with pytest.raises(CallError) as caught:
        client.call(*args, **kwargs)
    return caught.value


# ── calls ────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_sends_the_key_and_gives_the_object():
    def handler(request):
        assert request.url == "https://api.test/v1/productions.json?limit=2"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"].startswith("musproj/")
        assert request.headers["x-more"] == "1"
        assert json.loads(request.read()) == {"a": 1}
        return httpx.Response(200, json={"ok": True})

    found = api(handler).call("POST", "/productions.json?limit=2", json={"a": 1}, headers={"X-More": "1"})
    assert found == {"ok": True}


def test_an_answer_without_content_is_an_empty_object():
    assert api(httpx.Response(204)).call("DELETE", "production/x.json", is_effect=True) == {}


def test_the_timeouts_are_those_of_the_table_and_an_upload_may_wait_longer():
    seen = []

    def handler(request):
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json={})

    client = api(handler)
    client.call("GET", "a")
    client.call("POST", "b", content=b"x", read_timeout=300)
    assert seen[0] == {"connect": 5, "read": 60, "write": 60, "pool": 10}
    assert seen[1]["read"] == 300


def test_a_real_file_goes_as_multipart_with_a_length(tmp_path):
    def handler(request):
        assert int(request.headers["content-length"]) == len(request.read())
        assert b'name="input_file"; filename="musproj-1.wav"' in request.content
        assert b"RIFF" in request.content
        return httpx.Response(200, json={})

    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with (tmp_path / "a.wav").open("rb") as file:
        api(handler).call("POST", "upload.json", files={"input_file": ("musproj-1.wav", file, "audio/wav")})


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.test/x",
        "https://api.test/v1/x",
        "http://api.test/v1/x",
        "//evil.test/x",
        "https:evil.test",
        "../admin",
        "a/%2e%2e/%2e%2e/b",
        "a\\..\\b",
        "a\nb",
        "file:///etc/passwd",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_before_anything_is_sent(path):
    def handler(request):
        pytest.fail("sent")

    assert failure(api(handler), "GET", path).kind is CallClass.FATAL


def test_a_redirect_is_not_followed():
    seen = []

    def handler(request):
        seen.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://evil.test/?token=secret"})

    error = failure(api(handler), "GET", "x")
    assert (error.kind, error.status, seen) == (CallClass.REJECTED, 302, ["api.test"])
    assert "secret" not in str(error)


def test_proxies_and_netrc_of_the_environment_are_ignored(monkeypatch, serve, http):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server = serve(http(200, b"{}"))
    client, transport = real_api(server)
    with transport:
        assert client.call("GET", "x") == {}


def test_no_cookie_is_kept():
    seen = []

    def handler(request):
        seen.append(request.headers.get("cookie"))
        return httpx.Response(200, json={}, headers={"set-cookie": "session=1; Path=/"})

    client = api(handler)
    client.call("GET", "x")
    client.call("GET", "x")
    assert seen == [None, None]


def test_an_effect_call_gets_a_connection_of_its_own(serve, http):
    def answer(connection, head):
        connection.sendall(http(200, b"{}", keep=True))
        return "keep"

    server = serve(answer)
    client, transport = real_api(server)
    with transport:
        for _ in range(2):
            client.call("GET", "x")
        assert server.connections == 1
        client.call("POST", "start", is_effect=True)
        assert server.connections == 2


# ── what an answer may be ────────────────────────────────────────────────────────────────────────


def test_an_answer_over_a_mebibyte_is_not_read_on():
    read = []

    def body():
        for number in range(100):
            read.append(number)
            yield b" " * 65536

    error = failure(api(httpx.Response(200, content=body())), "GET", "x")
    assert error.kind is CallClass.TRANSIENT
    assert len(read) == 17


def test_a_zipped_answer_is_read_up_to_the_same_limit():
    zipped = httpx.Response(200, content=gzip.compress(b'{"a": 1}'), headers={"content-encoding": "gzip"})
    assert api(zipped).call("GET", "x") == {"a": 1}


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b" " * (64 << 20)), "gzip"),
        (gzip.compress(b"{}")[:-4], "gzip"),
        (b"no gzip", "gzip"),
        (b"{}", "br"),
    ],
    ids=["bomb", "cut", "no-gzip", "unknown"],
)
def test_a_zipped_answer_that_is_a_bomb_or_broken_is_unreadable(body, encoding):
    answer = httpx.Response(200, stream=Raw(body), headers={"content-encoding": encoding})
    assert failure(api(answer), "POST", "x", is_effect=True).kind is CallClass.AMBIGUOUS


class Raw(httpx.SyncByteStream):
    def __init__(self, body):
        self._body = body

    def __iter__(self):
        yield self._body


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"[1]", b"\xff", b"[" * 100_000, b"1", b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_a_success_that_is_no_json_object_is_unreadable(body):
    for is_effect, kind in ((True, CallClass.AMBIGUOUS), (False, CallClass.TRANSIENT)):
        error = failure(api(httpx.Response(200, content=body)), "POST", "x", is_effect=is_effect)
        assert (error.kind, error.status, error.body) == (kind, 200, None)


def test_a_dripping_answer_ends_at_the_limit(serve, drip):
    def answer(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        drip(connection, b" " * 1000, 0.02)

    client, transport = real_api(serve(answer))
    with transport:
        error = failure(client, "GET", "x", read_timeout=0.2)
    assert error.kind is CallClass.TRANSIENT
    assert "drips" in error.message


# ── failures: what each means ───────────────────────────────────────────────────────

A, T = CallClass.AMBIGUOUS, CallClass.TRANSIENT
N, R, F = CallClass.NOT_SENT, CallClass.REFUSED, CallClass.FATAL

STATUSES = [  # status, Retry-After, of an effect call, of another call, of a result
    (429, None, R, R, R),
    (429, "7", R, R, R),
    (503, "7", R, R, R),
    (503, None, A, T, T),
    (408, None, A, T, T),
    (500, None, A, T, T),
    (502, None, A, T, T),
    (504, None, A, T, T),
    (520, None, A, T, T),
    (401, None, CallClass.AUTH, CallClass.AUTH, CallClass.STALE),
    (403, None, CallClass.AUTH, CallClass.AUTH, CallClass.STALE),
    (404, None, CallClass.REJECTED, CallClass.REJECTED, CallClass.STALE),
    (410, None, CallClass.REJECTED, CallClass.REJECTED, CallClass.STALE),
    (402, None, CallClass.QUOTA, CallClass.QUOTA, CallClass.QUOTA),
    (400, None, CallClass.REJECTED, CallClass.REJECTED, CallClass.REJECTED),
    (413, None, CallClass.REJECTED, CallClass.REJECTED, CallClass.REJECTED),
    (422, None, CallClass.REJECTED, CallClass.REJECTED, CallClass.REJECTED),
    (301, None, CallClass.REJECTED, CallClass.REJECTED, CallClass.REJECTED),
    (200, None, A, T, T),
]


@pytest.mark.parametrize(("status", "pause", "effect", "other", "result"), STATUSES)
def test_a_status_has_its_class(status, pause, effect, other, result):
    response = httpx.Response(status, headers={"retry-after": pause} if pause else {})
    assert classify(response, is_effect=True) is effect
    assert classify(response, is_effect=False) is other
    assert classify(response, is_effect=False, is_result=True) is result
    assert classify_status(status, is_effect=True, wants_pause=pause is not None) is effect
    error = failure(api(response), "POST", "x", is_effect=True)
    assert (error.kind, error.status) == (effect, status)
    assert error.retry_after == (7 if pause else None)


ERRORS = [
    (httpx.ConnectError(""), N, N),
    (httpx.ConnectTimeout(""), N, N),
    (httpx.PoolTimeout(""), N, N),
    (httpx.ReadTimeout(""), A, T),
    (httpx.WriteTimeout(""), A, T),
    (httpx.ReadError(""), A, T),
    (httpx.WriteError(""), A, T),
    (httpx.CloseError(""), A, T),
    (httpx.RemoteProtocolError(""), A, T),
    (httpx.ProxyError(""), A, T),
    (httpx.DecodingError(""), A, T),
    (httpx.LocalProtocolError(""), F, F),
    (httpx.UnsupportedProtocol(""), F, F),
    (h11.LocalProtocolError("Too little data"), F, F),
]


@pytest.mark.parametrize(
    ("raised", "effect", "other"), ERRORS, ids=[f"{type(row[0]).__module__}.{type(row[0]).__name__}" for row in ERRORS]
)
def test_an_error_of_the_transport_has_its_class(raised, effect, other):
    def handler(request):
        raise raised

    assert classify(raised, is_effect=True) is effect
    assert classify(raised, is_effect=False) is other
    assert failure(api(handler), "POST", "x", is_effect=True).kind is effect
    assert failure(api(handler), "GET", "x").kind is other


def test_what_is_no_failure_of_the_call_is_ours():
    assert classify(RuntimeError(), is_effect=True) is F
    assert classify(RemoteHostRefusedError(), is_effect=True) is F
    assert classify(CallError(CallClass.QUOTA, "x"), is_effect=True) is CallClass.QUOTA


@pytest.mark.parametrize(
    ("status", "body", "effect", "other", "code"),
    [
        (400, {"detail": "d", "code": "exceeded_duration"}, CallClass.QUOTA, CallClass.QUOTA, "exceeded_duration"),
        (400, {"detail": "d", "code": "internal_error"}, A, T, "internal_error"),
        (400, {"detail": "d", "code": "exceeded_size"}, CallClass.REJECTED, CallClass.REJECTED, "exceeded_size"),
        (400, {"error_code": 13, "error_message": "d"}, CallClass.REJECTED, CallClass.REJECTED, "13"),
        (400, {"error_code": None, "error_message": "d"}, CallClass.REJECTED, CallClass.REJECTED, None),
        (500, {"detail": "d", "code": "exceeded_duration"}, A, T, "exceeded_duration"),
    ],
)
def test_the_code_of_a_service_is_read_and_kept(status, body, effect, other, code):
    answer = httpx.Response(status, json=body, headers={"x-request-id": "req-1"})
    assert failure(api(answer), "POST", "x", is_effect=True).kind is effect
    error = failure(api(answer), "POST", "x")
    assert (error.kind, error.code, error.request_id, error.body) == (other, code, "req-1", body)
    assert error.message == f"POST api.test/v1/x: {status} d"


def test_structured_details_become_text():
    body = {"detail": [{"loc": ["body", "source_id"], "msg": "field required"}]}
    assert "field required" in failure(api(httpx.Response(422, json=body)), "POST", "x").message


def test_a_drop_before_and_after_processing_are_both_ambiguous(serve):
    client, transport = real_api(serve(lambda connection, head: None))
    with transport:
        assert failure(client, "POST", "x", is_effect=True).kind is A
        assert failure(client, "GET", "x").kind is T


def test_a_reset_is_ambiguous_on_an_effect(serve):
    def answer(connection, head):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    client, transport = real_api(serve(answer))
    with transport:
        assert failure(client, "POST", "x", is_effect=True).kind is A


def test_a_closed_port_is_not_sent(serve):
    server = serve(b"")
    client, transport = real_api(server)
    server.close()
    with transport:
        assert failure(client, "POST", "x", is_effect=True).kind is N


def test_a_private_host_that_is_not_permitted_is_refused(serve):
    server = serve(b"")
    with GuardedTransport(AddressGuard()) as transport, pytest.raises(RemoteHostRefusedError):
        ApiClient(server.origin, {}, transport=transport).call("GET", "x")
    assert server.connections == 0


def test_a_source_that_shrank_is_fatal(serve, http):
    server = serve(http(200, b"{}"))
    client, transport = real_api(server)
    with transport:
        error = failure(client, "POST", "x", content=iter([b"ab"]), headers={"Content-Length": "10"})
    assert error.kind is F


def test_an_early_413_is_seen_in_mid_upload(serve, http):
    def answer(connection, head):
        connection.sendall(http(413, b'{"detail": "too big", "code": "exceeded_size"}'))
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while connection.recv(1 << 20):
                pass

    client, transport = real_api(serve(answer))
    body = (bytes(65536) for _ in range(64))
    with transport:
        error = failure(client, "POST", "x", content=body, headers={"Content-Length": str(64 * 65536)})
    assert (error.kind, error.status, error.code) == (CallClass.REJECTED, 413, "exceeded_size")


# ── Retry-After ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 12 ", 12),
        ("0.1", 0.1),
        ("9999999", 3600),
        ("9" * 400, 3600),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90),
        ("Thu Jan  1 00:01:30 2026", 90),
        ("Thu, 01 Jan 2025 00:00:00 GMT", 0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 3600),
        (None, None),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("١٢", None),
        ("Thu, 99 Jan 2026 00:00:00 GMT", None),
        ("Thu, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_of_at_most_an_hour(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


def test_retry_after_takes_a_date_against_the_given_now():
    assert parse_retry_after("Thu, 01 Jan 2026 00:01:30 GMT", NOW + timedelta(seconds=60)) == 30


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET https://b.test/a?X-Amz-Signature=1 failed", "GET https://b.test/a failed"),
        ("'https://b.test/a?opaque' x", "'https://b.test/a' x"),
        ("https://b.test/a#token=1", "https://b.test/a"),
        ("/a/b?sig=1&x=2 gone", "/a/b gone"),
        ("https://user:pass@b.test/", "https://b.test/"),
        (f"key {KEY} is bad", "key *** is bad"),
        ("why? because", "why? because"),
        ("a\n\x1b[31mb\u202ec", "a [31mb c"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_text_is_scrubbed(text, clean):
    assert scrub(text, (KEY,)) == clean


def test_scrubbing_long_hostile_text_is_quick():
    for text in ("a." * 500_000, "a://" * 250_000, "?a" * 500_000, "http://" + "a@" * 500_000):
        assert len(scrub(text)) <= 300


def test_no_key_is_in_any_text_of_client_log_or_error(caplog):
    caplog.set_level(logging.DEBUG)
    echo = {"detail": f"bad key {KEY} at https://x.test/?token={KEY}", "code": KEY}
    client = api(lambda request: httpx.Response(400, json=echo, headers={"x-request-id": "r-9"}))
    error = failure(client, "POST", f"x?bearer_token={KEY}")

    def raises(request):
        raise httpx.ReadError(f"while {request.url} {request.headers['authorization']}")

    second = failure(api(raises), "POST", f"x?bearer_token={KEY}")
    records = [text for record in caplog.records for text in (record.getMessage(), repr(vars(record)))]
    for text in (repr(client), str(error), repr(error), repr(second), str(second), error.code, *records):
        assert KEY not in text
    assert "api.test" in repr(client)


def test_a_call_writes_one_line_of_its_own(caplog):
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    caplog.set_level(logging.DEBUG)
    api(httpx.Response(200, json={}, headers={"x-request-id": "r-9"})).call("GET", "status.json?sig=1")
    (record,) = caplog.records
    assert record.name == "musproj.services"
    assert record.getMessage().startswith("GET api.test/v1/status.json -> 200 in ")
    assert (record.action, record.host, record.status, record.request_id) == ("service_call", "api.test", 200, "r-9")
    for name in ("httpx", "httpcore"):
        assert logging.getLogger(name).getEffectiveLevel() >= logging.WARNING


def test_a_stricter_level_of_those_loggers_is_left():
    logging.getLogger("httpx").setLevel(logging.ERROR)
    client_module.quiet_http_loggers()
    try:
        assert logging.getLogger("httpx").level == logging.ERROR
    finally:
        logging.getLogger("httpx").setLevel(logging.WARNING)


def test_a_failing_source_of_the_body_is_not_dressed_as_a_failed_call():
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError("disk")

    def handler(request):
        request.read()

    with pytest.raises(OSError, match="disk"):
        api(handler).call("POST", "x", content=Broken(), headers={"Content-Length": "3"})
