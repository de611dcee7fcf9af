"""What the services' client is built around, as httpx 0.28 does it. An upgrade that changes one shows.

A failure here is no bug of musproj: read what the changed fact was guarded by, and decide again.
"""

import gzip
import io
import itertools
import logging
import socket
import struct
import time

import h11
import httpcore
import httpx
import pytest

KEY = "SENTINEL-0a0a"
SIGNED = "https://b.test/k?X-Amz-Signature=SECRET"


@pytest.fixture
def client():
    with httpx.Client(trust_env=False, timeout=5, headers={"X-License-Key": KEY, "Authorization": KEY}) as client:
        yield client


def test_1_a_redirect_elsewhere_loses_authorization_but_takes_other_key_headers_along(client, serve, http):
    other = serve(http(200))
    first = serve(http(302, Location=other.origin))
    client.get(first.origin, follow_redirects=True)
    (head,) = other.requests
    assert b"x-license-key: " + KEY.encode() in head.replace(b"X-License-Key", b"x-license-key")
    assert b"authorization" not in head.lower()


def test_2_default_headers_go_to_a_foreign_absolute_url(serve, http):
    other = serve(http(200))
    with httpx.Client(trust_env=False, base_url="https://api.test", headers={"X-License-Key": KEY}) as client:
        client.get(other.origin)
    assert KEY.encode() in other.requests[0]


def test_3_the_log_line_has_the_full_url(caplog):
    logger = logging.getLogger("httpx")
    before = logger.level
    caplog.set_level(logging.INFO, logger="httpx")
    try:
        with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
            client.get(SIGNED)
    finally:
        logger.setLevel(before)
    assert "SECRET" in caplog.text


def test_4_the_repr_of_headers_masks_authorization_only():
    text = repr(httpx.Headers({"Authorization": "AAA", "X-License-Key": KEY}))
    assert "AAA" not in text
    assert KEY in text


def test_5_the_text_of_a_status_error_has_the_full_url():
    response = httpx.Response(403, request=httpx.Request("GET", SIGNED))
    with pytest.raises(httpx.HTTPStatusError, match="SECRET"):
        response.raise_for_status()


def test_6_there_is_no_total_timeout(serve, drip):
    def answer(connection, head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        drip(connection, b"x" * 20, 0.03)

    started = time.monotonic()
    with httpx.Client(trust_env=False, timeout=0.3) as client:
        client.get(serve(answer).origin)
    assert time.monotonic() - started > 0.5


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100\r\n\r\nshort", b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"]
)
def test_7_a_cut_body_is_an_error_where_its_length_was_said(client, serve, framing):
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(serve(b"HTTP/1.1 200 OK\r\n" + framing).origin)


def test_7_a_cut_body_of_unknown_length_ends_in_silence(client, serve):
    assert client.get(serve(b"HTTP/1.1 200 OK\r\n\r\nshort").origin).content == b"short"


def test_8_iter_bytes_unpacks_without_a_bound_and_iter_raw_does_not(client, serve, http):
    packed = gzip.compress(bytes(1 << 20))
    origin = serve(http(200, packed, Content_Encoding="gzip")).origin
    with client.stream("GET", origin) as response:
        assert sum(map(len, response.iter_bytes())) == 1 << 20
    with client.stream("GET", origin) as response:
        assert sum(map(len, response.iter_raw())) == len(packed)


def test_8_iter_raw_with_a_chunk_size_gathers_before_it_gives():
    given = []

    class Body(httpx.SyncByteStream):
        def __iter__(self):
            for number in range(10):
                given.append(number)
                yield b"x"

    assert next(httpx.Response(200, stream=Body()).iter_raw(chunk_size=8)) == b"x" * 8
    assert len(given) == 8


def test_9_a_generator_is_sent_chunked_unless_its_length_is_said():
    chunked = httpx.Request("POST", SIGNED, content=iter([b"ab"]))
    assert chunked.headers["transfer-encoding"] == "chunked"
    counted = httpx.Request("POST", SIGNED, content=iter([b"ab"]), headers={"Content-Length": "2"})
    assert "transfer-encoding" not in counted.headers


def test_9_a_multipart_file_has_a_length_if_it_can_be_measured(tmp_path):
    class Pipe(io.RawIOBase):
        def read(self, size=-1):
            return b""

        def fileno(self):
            raise OSError

        def seek(self, *place):
            raise OSError

    (tmp_path / "a").write_bytes(b"ab")
    with (tmp_path / "a").open("rb") as file:
        for source, header in ((file, "content-length"), (io.BytesIO(b"ab"), "content-length")):
            assert header in httpx.Request("POST", SIGNED, files={"f": source}).headers
    assert "transfer-encoding" in httpx.Request("POST", SIGNED, files={"f": Pipe()}).headers


def test_10_a_body_shorter_than_its_length_is_an_error_of_h11(client, serve, http):
    with pytest.raises(h11.LocalProtocolError) as caught:
        client.post(serve(http(200)).origin, content=iter([b"ab"]), headers={"Content-Length": "10"})
    assert not isinstance(caught.value, httpx.HTTPError)


def test_11_an_early_413_in_mid_upload_is_an_answer(client, serve, http):
    def answer(connection, head):
        connection.sendall(http(413))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    body = itertools.repeat(bytes(65536), 64)
    response = client.post(serve(answer).origin, content=body, headers={"Content-Length": str(64 * 65536)})
    assert response.status_code == 413


def test_11_a_reset_in_mid_upload_is_an_error_of_the_transport(client, serve):
    def answer(connection, head):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    body = itertools.repeat(bytes(65536), 64)
    with pytest.raises(httpx.TransportError):
        client.post(serve(answer).origin, content=body, headers={"Content-Length": str(64 * 65536)})


def test_12_a_drop_before_and_after_processing_look_the_same(client, serve):
    done = []
    errors = []
    for process in (lambda *_: None, lambda *_: done.append(1)):
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            client.post(serve(process).origin)
        errors.append(str(caught.value))
    assert done == [1]
    assert errors[0] == errors[1]


def test_13_the_environment_is_trusted_by_default(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with httpx.Client() as trusting, httpx.Client(trust_env=False) as careful:
        assert any(trusting._mounts.values())
        assert not careful._mounts


def test_14_a_timeout_wants_all_four_values_or_a_default():
    with pytest.raises(ValueError, match="default"):
        httpx.Timeout(connect=5, read=60)


def test_15_the_pool_has_a_public_place_for_the_network_and_the_transport_has_none():
    httpcore.ConnectionPool(network_backend=httpcore.SyncBackend())
    with pytest.raises(TypeError):
        httpx.HTTPTransport(network_backend=httpcore.SyncBackend())


def test_a_client_that_follows_nothing_still_builds_the_request_of_a_redirect():
    """Why musproj sends by the transport: that request has our headers, and a bad Location spoils the answer."""
    answer = httpx.Response(302, headers={"location": "https://evil.test/a\tb"})
    with (
        httpx.Client(transport=httpx.MockTransport(lambda request: answer), follow_redirects=False) as client,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        client.get("https://api.test/")


def test_an_answer_made_of_bytes_refuses_iter_raw():
    with pytest.raises(httpx.StreamConsumed):
        list(httpx.Response(200, content=b"x").iter_raw())
