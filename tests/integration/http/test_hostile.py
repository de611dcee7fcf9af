"""What a client may send to a real server on purpose."""

import itertools
import json
import time

import pytest

from musproj.http import decoding, protocol

HEAD = b"host: localhost\r\nconnection: close\r\n"
STAY = b"host: localhost\r\n"


def status_of(answer: bytes) -> int:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def problem_of(answer: bytes) -> dict:
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def post(body: bytes, *fields: bytes) -> bytes:
    head = b"POST /jobs HTTP/1.1\r\ncontent-type: application/json\r\n" + HEAD
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


@pytest.fixture(autouse=True)
def still_there(served):
    """Whatever was sent, the server goes on answering."""
    yield
    assert served.client.get("/healthz").status_code == 200


def test_s52_a_body_over_the_limit_is_refused(served):
    declared = served.talk(post(b"", b"content-length: 999999999"))
    chunked = served.talk(post(b"", b"transfer-encoding: chunked"), *[b"10000\r\n" + b" " * 65_536 + b"\r\n"] * 6)

    for answer in (declared, chunked):
        assert (status_of(answer), problem_of(answer)["code"]) == (413, "payload_too_large")
        assert b"connection: close" in answer


def test_s52_a_chunked_body_within_the_limit_is_read(served):
    answer = served.talk(post(b"2\r\n{}\r\n0\r\n\r\n", b"transfer-encoding: chunked"))

    assert (status_of(answer), problem_of(answer)["code"]) == (422, "validation_failed")


def test_s52_too_many_headers_are_refused(served):
    many = b"".join(b"x-%d: y\r\n" % number for number in range(10_000))

    assert status_of(served.talk(b"GET /jobs HTTP/1.1\r\n" + HEAD + many + b"\r\n")) == 431


def test_s52_headers_that_go_on_and_on_are_cut_off(served):
    endless = itertools.chain([b"GET /jobs HTTP/1.1\r\n" + HEAD + b"x-large: "], itertools.repeat(b"y" * 65_536, 200))

    with served.connect() as connection:
        sent = 0
        try:
            for block in endless:
                connection.sendall(block)
                sent += len(block)
        except OSError:
            pass

    assert sent < 10 * 2**20, "the server hung up, it did not collect"


def test_s52_a_large_header_is_told_to_be_one(served):
    answer = served.talk(b"GET /jobs HTTP/1.1\r\n" + HEAD + b"x-large: " + b"y" * 40_000 + b"\r\n\r\n")

    assert (status_of(answer), problem_of(answer)["code"]) == (431, "headers_too_large")
    assert b"application/problem+json" in answer


def test_s52_slow_headers_are_given_up(served, monkeypatch):
    monkeypatch.setattr(protocol, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(protocol.watch_heads, "__kwdefaults__", {"seconds": 0.3})
    # The server's own look runs with the long times; a second one stands for it.
    heads = protocol.watch_heads(served.server._server.server_state.connections)
    loop = served.server._server._heads.get_loop()
    task = []
    loop.call_soon_threadsafe(lambda: task.append(loop.create_task(heads)))

    with served.connect() as slow, served.connect() as silent, served.connect() as quick:
        slow.sendall(b"GET /jobs HTTP/1.1\r\nhost: ")
        quick.sendall(b"GET /healthz HTTP/1.1\r\n" + STAY + b"\r\n")
        assert status_of(quick.recv(65_536)) == 200
        answer = slow.recv(65_536)
        assert (status_of(answer), problem_of(answer)["code"]) == (408, "request_timeout")
        assert silent.recv(1) == b""
        quick.sendall(b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert status_of(quick.recv(65_536)) == 200, "between two requests a connection may rest"
    loop.call_soon_threadsafe(task[0].cancel)


def test_s52_a_slow_body_is_given_up(served, monkeypatch):
    monkeypatch.setattr(decoding, "BODY_SECONDS", 0.2)

    with served.connect() as connection:
        connection.sendall(post(b"{", b"content-length: 10"))
        answer = connection.recv(65_536)

    assert (status_of(answer), problem_of(answer)["code"]) == (408, "request_timeout")


@pytest.mark.parametrize(
    "fields",
    [
        (b"content-length: 2", b"transfer-encoding: chunked"),
        (b"content-length: 2", b"content-length: 3"),
        (b"transfer-encoding: chunked, identity",),
        (b"transfer-encoding: xchunked",),
        (b"transfer-encoding : chunked",),
        (b"content-length: +2",),
        (b"content-length: -1",),
    ],
)
def test_s55_two_readings_of_a_body_are_refused(served, fields):
    answer = served.talk(post(b"0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", *fields))

    assert status_of(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1, "no second request was read out of the body"


def test_s56_a_spoofed_host_reaches_nothing(served):
    answer = served.talk(b"GET /jobs HTTP/1.1\r\nconnection: close\r\nhost: evil.example\r\n\r\n")
    twice = served.talk(b"GET /jobs HTTP/1.1\r\n" + HEAD + b"host: evil.example\r\n\r\n")

    assert status_of(answer) == status_of(twice) == 421
    assert b"evil" not in answer


@pytest.mark.parametrize(
    "line",
    [
        b"GET /jobs/\xff HTTP/1.1",
        b"GET /jobs/%ff HTTP/1.1",
        b"GET /jobs/%00 HTTP/1.1",
        b"GET /jobs/%0d%0aset-cookie:x HTTP/1.1",
        b"GET /assets/..%2f..%2fetc%2fpasswd HTTP/1.1",
        b"GET /assets/../../etc/passwd HTTP/1.1",
        b"GET /_store/..%2f..%2fetc/passwd?op=get HTTP/1.1",
        b"GET http://evil.example/jobs HTTP/1.1",
        b"GET * HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"FOO /jobs HTTP/1.1",
        b"get /jobs HTTP/1.1",
        b"GET /jobs?%ff=%ff&\xff HTTP/1.1",
        b"GET /jobs/" + b"a" * 60_000 + b" HTTP/1.1",
        b"GET /jobs HTTP/9.9",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"TRACE /jobs HTTP/1.1",
    ],
)
def test_an_odd_request_line_is_answered_or_refused(served, line):
    answer = served.talk(line + b"\r\n" + HEAD + b"\r\n")

    assert status_of(answer) == 0 or 200 <= status_of(answer) < 500
    assert b"passwd:" not in answer
    assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0].lower()


def test_an_upgrade_is_not_taken(served):
    fields = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n"

    with served.connect() as connection:
        connection.sendall(b"GET /jobs HTTP/1.1\r\n" + STAY + fields + b"\r\n")
        assert status_of(connection.recv(65_536)) == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":' + b"[" * 200_000,
        b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
        b'{"type":"gain","assetId":"a","params":{"x":' + b"9" * 4_000 + b"}}",
        b'{"type":"gain","assetId":"a","inputVersion":' + b"9" * 30 + b"}",
        b'{"type":"look","assetId":"a","params":{"seconds":' + b"9" * 400 + b"}}",
        b'{"type":"look","assetId":"a","params":{"seconds":1e400}}',
        b'{"type":"look","assetId":"a","params":{"seconds":null,"\\u0000":1}}',
        '{"type":"look"}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"type":"\xed\xa0\x80"}',
        b'"' + b"\\" * 100_000,
        b"[" + b"0," * 100_000 + b"0]",
    ],
    ids=range(12),
)
def test_s63_no_json_breaks_the_server(served, body):
    began = time.monotonic()

    answer = served.talk(post(body, b"content-length: %d" % len(body)))

    assert status_of(answer) in (400, 422)
    assert time.monotonic() - began < 2


def test_pipelined_requests_are_answered_in_order(served):
    requests = [b"GET /%s HTTP/1.1\r\n%s\r\n" % (path, STAY) for path in (b"jobs", b"nowhere", b"assets")]

    answer = served.talk(b"".join(requests) + b"GET /nothing HTTP/1.1\r\n" + HEAD + b"\r\n")

    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 404, 200, 404]


def test_a_client_that_hangs_up_in_the_middle_harms_nobody(served):
    for block in (b"GE", post(b"{", b"content-length: 99"), b"GET /jobs HTTP/1.1\r\n" + HEAD + b"\r\n"):
        with served.connect() as connection:
            connection.sendall(block)


def test_s54_odd_ranges_of_a_stored_file_are_answered_quickly(served, tmp_path):
    from musproj import DEFAULT_OWNER
    from musproj.testing.trouble import write_tone

    asset = served.mp.uploads.put_file(DEFAULT_OWNER, write_tone(tmp_path / "tone.wav"))
    url = served.mp.assets.download(DEFAULT_OWNER, asset.asset_id).signed.url
    began = time.monotonic()

    for given in (
        "bytes=" + ",".join(f"{n}-{n}" for n in range(2_000)),
        "bytes=-0",
        "bytes=5-2",
        "bytes=999999-",
        "x=1-2",
    ):
        assert served.client.get(url, headers={"range": given}).status_code in (200, 206, 400, 416)

    assert time.monotonic() - began < 1
