"""Fetching results: every hop is judged, the key stays at home, and what arrives is measured."""

import contextlib
import gzip
import hashlib
import logging
import time

import httpx
import pytest

from musproj.adapters.services.fetch import ResultFetcher
from musproj.adapters.services.guard import AddressGuard, GuardedTransport
from musproj.errors import RemoteHostRefusedError
from musproj.ports.remote import CallClass, CallError, Fetched

KEY = "SENTINEL-77aa"
AUDIO = b"RIFF" + bytes(range(256)) * 40
HOSTS = ("lalal.ai", "*.lalal.ai", "*.amazonaws.com", "auphonic.com", "bücher.test")


def over(handler, **options):
    transport = httpx.MockTransport(handler if callable(handler) else lambda request: handler)
    options.setdefault("upgrade_hosts", ("d.lalal.ai",))
    return ResultFetcher(transport, HOSTS, "https://auphonic.com", {"X-Key": KEY}, **options)


def audio(**headers):
    return httpx.Response(200, content=AUDIO, headers={"content-type": "audio/wav"} | headers)


@pytest.fixture
def get(tmp_path):
    """Fetch into `tmp_path / "out"`; nothing is left there by a failure."""

    def fetch(fetcher, url="https://d.lalal.ai/a.wav", **options):
        options = {"expected_size": None, "max_bytes": 1 << 20, "check": lambda: None, "deadline_s": 10} | options
        try:
            return fetcher.fetch(url, tmp_path / "out", **options)
        except BaseException:
            assert list(tmp_path.iterdir()) == []
            raise

    return fetch


@pytest.fixture
def real():
    """Fetch over sockets, from these servers; the first one is the API."""
    with contextlib.ExitStack() as stack:

        def make(*servers, **options):
            places = frozenset(server.place for server in servers)
            transport = stack.enter_context(GuardedTransport(AddressGuard(places)))
            return ResultFetcher(transport, (), servers[0].origin, {"X-Key": KEY}, allow_http_for=places, **options)

        yield make


def test_a_result_is_written_and_measured(get, tmp_path):
    found = get(over(audio()), expected_size=len(AUDIO))
    sha256, md5 = hashlib.sha256(AUDIO).hexdigest(), hashlib.md5(AUDIO).hexdigest()
    assert found == Fetched(size=len(AUDIO), sha256=sha256, md5=md5)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_bytes() == AUDIO


def test_a_second_fetch_replaces_the_first(get, tmp_path):
    (tmp_path / "out").write_bytes(b"old")
    get(over(audio()))
    assert (tmp_path / "out").read_bytes() == AUDIO


def test_a_request_asks_for_plain_bytes_and_shows_no_key(get):
    seen = []

    def handler(request):
        seen.append(request)
        return audio()

    fetcher = over(handler)
    get(fetcher)
    assert seen[0].headers["accept-encoding"] == "identity"
    assert "x-key" not in seen[0].headers
    assert KEY not in repr(fetcher)


# ── hosts ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "requested"),
    [
        ("https://lalal.ai/a", "https://lalal.ai/a"),
        ("https://x.y.lalal.ai/a", "https://x.y.lalal.ai/a"),
        ("HTTPS://D.LALAL.AI/a", "https://d.lalal.ai/a"),
        ("https://d.lalal.ai:443/a", "https://d.lalal.ai/a"),
        ("http://d.lalal.ai/a", "https://d.lalal.ai/a"),
        ("http://d.lalal.ai:80/a", "https://d.lalal.ai/a"),
        ("https://b.s3.eu-west-1.amazonaws.com/k?X-Amz-Signature=1%2F2", None),
        ("https://d.lalal.ai/my song (vocals).wav", "https://d.lalal.ai/my%20song%20(vocals).wav"),
        ("https://d.lalal.ai/my%20song.wav", "https://d.lalal.ai/my%20song.wav"),
        ("https://bücher.test/a", "https://xn--bcher-kva.test/a"),
        ("https://xn--bcher-kva.test/a", "https://xn--bcher-kva.test/a"),
    ],
)
def test_a_host_of_the_service_is_fetched_from(get, url, requested):
    seen = []

    def handler(request):
        seen.append(str(request.url))
        return audio()

    get(over(handler), url)
    assert seen == [requested or url]


BAD_URLS = [
    "https://lalal.ai.evil.tld/a",
    "https://evillalal.ai/a",
    "https://evil-amazonaws.com/a",
    "https://amazonaws.com/a",
    "https://.lalal.ai/a",
    "https://lalal.ai./a",
    "https://lalal.ai@evil.tld/a",
    "https://user@d.lalal.ai/a",
    "https://user:pass@d.lalal.ai/a",
    "https://d.lalal.ai:8443/a",
    "https://d.lalal.ai:6379/a",
    "http://lalal.ai/a",
    "http://d.lalal.ai:8080/a",
    "ftp://d.lalal.ai/a",
    "file:///etc/passwd",
    "gopher://d.lalal.ai/",
    "unix:///run/docker.sock",
    "//d.lalal.ai/a",
    "/a",
    "",
    "https://",
    "https://evil.tld\\@d.lalal.ai/a",
    "https://evil.tld\\.lalal.ai/a",
    "https://d.lalal.ai/a\r\nHost: evil.tld",
    "https://d.lalal.ai\t.evil.tld/",
    "https://evil.tld/?.lalal.ai",
    "https://evil.tld#.lalal.ai",
    "https://lаlal.ai/a",  # noqa: RUF001 -- a Cyrillic letter, as an attack has it
    "https://127.0.0.1/a",
    "https://[::1]/a",
    "https://2130706433/a",
    "https://①②⑦.⓪.⓪.①/a",
    "https://d.lalal.ai:99999999/a",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_any_other_url_is_refused_before_a_byte_is_sent(get, url):
    def handler(request):
        pytest.fail("sent")

    with pytest.raises(RemoteHostRefusedError):
        get(over(handler), url)


@pytest.mark.parametrize("url", [url for url in BAD_URLS if url not in {"", "/a", "//d.lalal.ai/a"}])
def test_and_so_it_is_as_the_target_of_a_redirect(get, url):
    seen = []

    def handler(request):
        seen.append(request.url.host)
        return httpx.Response(302, headers={"location": url.encode()})

    with pytest.raises((RemoteHostRefusedError, CallError)) as caught:
        get(over(handler))
    assert set(seen) == {"d.lalal.ai"}
    if isinstance(caught.value, CallError):  # a relative one, which leads to the same host again
        assert caught.value.code == "too_many_redirects"
        assert "://" not in url


def test_a_permitted_name_that_leads_to_a_private_address_is_refused(get):
    transport = GuardedTransport(AddressGuard(), resolver=lambda host, port: ["169.254.169.254"])
    with transport, pytest.raises(RemoteHostRefusedError):
        get(ResultFetcher(transport, HOSTS, "https://auphonic.com", {}))


def test_a_redirect_to_a_private_place_is_not_followed(get, serve, http, real):
    inner = serve(http(200, AUDIO))
    outer = serve(http(302, b"", Location=f"http://127.0.0.1:{inner.port}/latest/meta-data"))
    with pytest.raises(RemoteHostRefusedError):
        get(real(outer), f"{outer.origin}/a")
    assert inner.connections == 0


# ── redirects and the key ────────────────────────────────────────────────────────────────────────


def test_a_relative_redirect_keeps_to_its_host(get):
    def handler(request):
        if request.url.path == "/dir/a":
            return httpx.Response(302, headers={"location": "b c?x=1"})
        assert str(request.url) == "https://d.lalal.ai/dir/b%20c?x=1"
        return audio()

    get(over(handler), "https://d.lalal.ai/dir/a")


@pytest.mark.parametrize(("hops", "passes"), [(5, True), (6, False)])
def test_five_redirects_are_followed(get, hops, passes):
    def handler(request):
        number = int(request.url.path[1:])
        return audio() if number == 0 else httpx.Response(307, headers={"location": f"/{number - 1}"})

    if passes:
        get(over(handler), f"https://d.lalal.ai/{hops}")
    else:
        with pytest.raises(CallError) as caught:
            get(over(handler), f"https://d.lalal.ai/{hops}")
        assert caught.value.kind is CallClass.REJECTED


def keyed(server):
    return [b"x-key: " + KEY.lower().encode() in head.lower() for head in server.requests]


def test_the_key_goes_to_the_api_and_to_no_other_host(get, serve, http, real):
    other = serve(http(200, AUDIO))
    api = serve(http(302, b"", Location=f"{other.origin}/file"))
    get(real(api, other), f"{api.origin}/download")
    assert (keyed(api), keyed(other)) == ([True], [False])
    assert not any(KEY.encode() in head for head in other.requests)


def test_the_key_is_not_sent_any_more_after_a_hop_elsewhere(get, serve, http, real):
    def answer(connection, head):
        to_other = http(302, b"", Location=f"{other.origin}/file")
        connection.sendall(to_other if b"/download" in head else http(200, AUDIO))

    api = serve(answer)
    other = serve(http(302, b"", Location=f"{api.origin}/again"))
    get(real(api, other), f"{api.origin}/download")
    assert (keyed(api), keyed(other)) == ([True, False], [False])


def test_the_key_is_not_sent_to_the_api_when_the_first_hop_is_elsewhere(get, serve, http, real):
    api = serve(http(200, AUDIO))
    other = serve(http(302, b"", Location=f"{api.origin}/file"))
    get(real(api, other), f"{other.origin}/x")
    assert (keyed(api), keyed(other)) == ([False], [False])


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://auphonic.com/a", True),
        ("https://AUPHONIC.com:443/a", True),
        ("https://d.lalal.ai/a", False),
        ("https://x.auphonic.com/a", False),
    ],
)
def test_the_origin_of_the_api_is_scheme_host_and_port(get, url, sent):
    def handler(request):
        assert (request.headers.get("x-key") == KEY) is sent
        return audio()

    transport = httpx.MockTransport(handler)
    get(ResultFetcher(transport, (*HOSTS, "*.auphonic.com"), "https://auphonic.com/", {"X-Key": KEY}), url)


def test_no_cookie_travels_between_hops(get):
    def handler(request):
        assert "cookie" not in request.headers
        location = {"location": "/b"} if request.url.path == "/a.wav" else {}
        return httpx.Response(302 if location else 200, headers=location | {"set-cookie": "s=1"}, content=AUDIO)

    get(over(handler))


# ── what comes ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("response", "options", "code"),
    [
        (httpx.Response(200, content=AUDIO, headers={"content-type": "text/html; charset=utf-8"}), {}, "content_type"),
        (httpx.Response(200, content=AUDIO, headers={"content-type": "Application/XML"}), {}, "content_type"),
        (httpx.Response(200, content=AUDIO, headers={"content-type": "text/xml"}), {}, "content_type"),
        (httpx.Response(200, content=AUDIO, headers={"content-type": "application/json"}), {}, "content_type"),
        (httpx.Response(200, content=AUDIO, headers={"content-type": "application/problem+json"}), {}, "content_type"),
        (httpx.Response(200, content=b"<Error>x</Error>"), {}, "content"),
        (httpx.Response(200, content=b"\xef\xbb\xbf\r\n <html>"), {}, "content"),
        (httpx.Response(200, content=b'{"detail": 1}'), {}, "content"),
        (httpx.Response(200, content=iter([b" ", b"\n", b"<", b"html"])), {}, "content"),
        (httpx.Response(200, content=b""), {}, "size"),
        (httpx.Response(200, content=iter([])), {}, "size"),
        (httpx.Response(200, content=AUDIO), {"expected_size": len(AUDIO) + 1}, "size"),
        (httpx.Response(200, content=AUDIO), {"expected_size": len(AUDIO) - 1}, "size"),
        (httpx.Response(200, content=iter([AUDIO])), {"expected_size": len(AUDIO) + 1}, "size"),
        (httpx.Response(200, content=iter([AUDIO, b"x"])), {"expected_size": len(AUDIO)}, "size"),
        (httpx.Response(200, content=AUDIO), {"max_bytes": len(AUDIO) - 1}, "limit_exceeded"),
        (httpx.Response(200, content=iter([AUDIO, AUDIO])), {"max_bytes": len(AUDIO)}, "limit_exceeded"),
        (httpx.Response(206, content=AUDIO), {}, "status"),
        (httpx.Response(204), {}, "status"),
    ],
)
def test_what_is_not_the_announced_result_is_a_mismatch(get, response, options, code):
    with pytest.raises(CallError) as caught:
        get(over(response), **options)
    assert (caught.value.kind, caught.value.code) == (CallClass.MISMATCH, code)


def test_a_gzip_bomb_is_refused_unread(get, serve, http, real):
    server = serve(http(200, gzip.compress(bytes(1 << 20)), Content_Encoding="gzip"))
    with pytest.raises(CallError) as caught:
        get(real(server), f"{server.origin}/a")
    assert (caught.value.kind, caught.value.code) == (CallClass.MISMATCH, "content_encoding")


def test_an_endless_body_ends_at_the_limit(get):
    read = []

    def endless():
        while True:
            read.append(1)
            yield b"\xff" * 1000

    with pytest.raises(CallError, match="over 10000 bytes"):
        get(over(httpx.Response(200, content=endless())), max_bytes=10_000)
    assert len(read) == 11


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, CallClass.STALE),
        (403, CallClass.STALE),
        (404, CallClass.STALE),
        (410, CallClass.STALE),
        (400, CallClass.REJECTED),
        (304, CallClass.REJECTED),
        (302, CallClass.REJECTED),
        (408, CallClass.TRANSIENT),
        (500, CallClass.TRANSIENT),
        (503, CallClass.REFUSED),
        (429, CallClass.REFUSED),
    ],
)
def test_a_status_has_its_class(get, status, kind):
    response = httpx.Response(status, headers={"retry-after": "3", "x-request-id": "r-1"}, content=b"<Error>")
    with pytest.raises(CallError) as caught:
        get(over(response), "https://d.lalal.ai/a?sig=SECRET")
    error = caught.value
    assert (error.kind, error.status, error.retry_after, error.request_id) == (kind, status, 3, "r-1")
    assert error.message == f"GET d.lalal.ai/a: {status}"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", CallClass.TRANSIENT),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", CallClass.TRANSIENT),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", CallClass.TRANSIENT),
        (b"HTTP/1.1 200 OK\r\n\r\nshort", CallClass.MISMATCH),
    ],
    ids=["dropped", "cut-length", "cut-chunked", "cut-in-silence"],
)
def test_a_cut_body_is_never_a_result(get, serve, answer, kind, real):
    server = serve(answer)
    options = {"expected_size": 100} if kind is CallClass.MISMATCH else {}
    with pytest.raises(CallError) as caught:
        get(real(server), f"{server.origin}/a", **options)
    assert caught.value.kind is kind


def test_a_host_that_cannot_be_reached_is_transient(get, serve, real):
    server = serve(b"")
    server.close()
    with pytest.raises(CallError) as caught:
        get(real(server), f"{server.origin}/a")
    assert caught.value.kind is CallClass.TRANSIENT


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def dripping(serve, drip):
    def answer(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        drip(connection, b"x" * 1000, 0.02)

    return serve(answer)


def test_a_drip_ends_at_the_deadline(get, dripping, real):
    started = time.monotonic()
    with pytest.raises(CallError) as caught:
        get(real(dripping), f"{dripping.origin}/a", deadline_s=0.3)
    assert (caught.value.kind, caught.value.code) == (CallClass.TRANSIENT, "deadline")
    assert time.monotonic() - started < 3


def test_a_drip_ends_at_the_minimum_rate(get, dripping, real):
    with pytest.raises(CallError) as caught:
        get(real(dripping, rate_window_s=0.2), f"{dripping.origin}/a")
    assert (caught.value.kind, caught.value.code) == (CallClass.TRANSIENT, "too_slow")


def test_a_silent_host_ends_at_the_deadline(get, serve, real):
    server = serve(lambda connection, head: time.sleep(1))
    started = time.monotonic()
    with pytest.raises(CallError) as caught:
        get(real(server), f"{server.origin}/a", deadline_s=0.2)
    assert caught.value.kind is CallClass.TRANSIENT
    assert time.monotonic() - started < 0.9


def test_a_slow_host_within_the_minimum_rate_is_waited_for(get, serve, drip, real):
    def answer(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        drip(connection, b"x" * 20, 0.02)

    server = serve(answer)
    assert get(real(server, rate_window_s=0.1), f"{server.origin}/a", min_rate=5).size == 20


class StoppedError(Exception):
    pass


def test_what_check_raises_ends_the_fetch(get):
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        get(over(httpx.Response(200, content=iter([AUDIO] * 10))), check=check)
    assert len(calls) == 3


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


def test_no_query_and_no_key_is_in_any_log_or_error(get, caplog):
    caplog.set_level(logging.DEBUG)

    def handler(request):
        if request.url.host == "auphonic.com":
            return httpx.Response(302, headers={"location": "https://b.amazonaws.com/k?X-Amz-Signature=SECRET"})
        raise httpx.ReadError(f"while reading {request.url} with {KEY}")

    with pytest.raises(CallError) as caught:
        get(over(handler), "https://auphonic.com/a?token=SECRET")
    with pytest.raises(RemoteHostRefusedError) as refused:
        get(over(handler), "https://evil.tld/a?token=SECRET")
    texts = [text for record in caplog.records for text in (record.getMessage(), repr(vars(record)))]
    assert len(caplog.records) == 2
    for text in (*texts, str(caught.value), repr(caught.value), str(refused.value), repr(refused.value.facts)):
        assert "SECRET" not in text
        assert KEY not in text
