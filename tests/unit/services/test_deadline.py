"""One deadline for a whole exchange, whatever it is that does not come."""

import socket
import threading
import time

import pytest

from musproj.adapters.services.client import CONNECT_S, ApiClient
from musproj.adapters.services.guard import AddressGuard, GuardedTransport
from musproj.ports.remote import CallClass, CallError

LIMIT_S = 0.3


@pytest.fixture
def dripping():
    """Serve a socket that sends `head` at once and then `drip` again and again; give its address."""
    servers = []

    def serve(head: bytes, drip: bytes):
        listener = socket.create_server(("127.0.0.1", 0))
        servers.append(listener)

        def run():
            try:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65_536)
                    peer.sendall(head)
                    while True:
                        peer.sendall(drip)
                        time.sleep(0.05)
            except OSError:
                return

        threading.Thread(target=run, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for listener in servers:
        listener.close()


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"X-T: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"{"),
    ],
    ids=["headers", "header", "interim", "extension", "trailers", "body"],
)
def test_a_drip_ends(dripping, monkeypatch, head, drip):
    monkeypatch.setattr("musproj.adapters.services.client.CONNECT_S", LIMIT_S)
    place = dripping(head, drip)
    transport = GuardedTransport(AddressGuard(frozenset({place})))
    begun = time.monotonic()
    try:
        with pytest.raises(CallError) as caught:
            ApiClient(f"http://{place}", {"X-Key": "k"}, transport=transport).call("GET", "x", read_timeout=LIMIT_S)
    finally:
        transport.close()
    assert caught.value.kind is CallClass.TRANSIENT
    assert time.monotonic() - begun < CONNECT_S


def test_an_upload_has_time_for_its_size(dripping):
    place = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", b"}")
    transport = GuardedTransport(AddressGuard(frozenset({place})))
    try:
        client = ApiClient(f"http://{place}", {"X-Key": "k"}, transport=transport)
        assert client.call("POST", "x", content=b"a" * 10_000, headers={"Content-Length": "10000"}) == {}
    finally:
        transport.close()
