"""No connection reaches a private address, however it is spelled; the lists are those of the references."""

import socket
import threading

import httpcore
import httpx
import pytest

from musproj.adapters.services import guard as guard_module
from musproj.adapters.services.guard import (
    FRESH_CONNECTION,
    AddressGuard,
    GuardedBackend,
    GuardedTransport,
    is_public,
    resolve,
)
from musproj.errors import RemoteHostRefusedError

# Every kind of address that is not public.
REFUSED = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "::127.0.0.1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "168.63.129.16",
]
BEYOND = [
    "fe80::1%eth0",
    "fec0::1",
    "192.88.99.1",
    "192.0.0.192",
    "192.0.0.9",
    "3fff::1",
    "5f00::1",
    "ff0e::1",
    "100::1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a83f:8110",
    "2002:a83f:8110::",
    "::ffff:168.63.129.16",
    "64:ff9b:1::808:808",
    "2002:e000:1::",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "2002:808:808::",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
    "2a00:1450:4001:80b::200e",
]

# As they stand in a URL; the system's resolver knows the old spellings of numbers.
SPELLINGS = [
    "127.0.0.1",
    "localhost",
    "169.254.169.254",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "2130706433",
    "0x7f.1",
    "0",
    "10.0.0.1",
    "100.64.0.1",
    "[fe80::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "224.0.0.1",
    "127.1",
    "0177.0.0.1",
    "[::127.0.0.1]",
    "[fd00:ec2::254]",
    "168.63.129.16",
    "LOCALHOST",
]


class NoNetwork(httpcore.NetworkBackend):
    """Notes what it is asked to dial, and lets nobody through."""

    def __init__(self):
        self.dialled = []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.dialled.append((host, port, timeout))
        raise httpcore.ConnectError("no network here")


@pytest.mark.parametrize("address", REFUSED + BEYOND)
def test_an_address_that_is_not_of_the_internet_is_refused(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_passes_also_inside_a_translation(address):
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "2130706433", "0x7f.1", "127.1", "8.8.8.8:443", "[::1]", "1.2.3"])
def test_what_is_no_address_is_not_public(text):
    assert not is_public(text)


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_a_private_address_is_dialled(host):
    network = NoNetwork()
    with GuardedTransport(AddressGuard()) as transport:
        for pool in (transport._kept, transport._fresh):
            pool._network_backend._network = network
        client = httpx.Client(transport=transport, trust_env=False)
        with pytest.raises((RemoteHostRefusedError, httpx.InvalidURL)):  # InvalidURL: httpx refuses 0177.0.0.1 itself
            client.get(f"http://{host}/")
    backend = GuardedBackend(AddressGuard(), network=network)
    with pytest.raises(RemoteHostRefusedError):
        backend.connect_tcp(host.strip("[]"), 80)
    assert network.dialled == []


def test_digits_in_circles_are_no_host_name():
    with pytest.raises(httpx.InvalidURL):
        httpx.URL("http://①②⑦.⓪.⓪.①/")


def test_one_private_address_among_public_ones_refuses_the_host():
    network = NoNetwork()
    backend = GuardedBackend(AddressGuard(), resolver=lambda host, port: ["8.8.8.8", "10.0.0.1"], network=network)
    with pytest.raises(RemoteHostRefusedError, match=r"evil\.test:443 leads to 10\.0\.0\.1"):
        backend.connect_tcp("evil.test", 443)
    assert network.dialled == []


def test_a_rebinding_name_is_resolved_once_and_the_checked_address_is_dialled():
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    network = NoNetwork()
    backend = GuardedBackend(AddressGuard(), resolver=lambda host, port: answers.pop(0), network=network)
    with pytest.raises(httpcore.ConnectError):
        backend.connect_tcp("rebind.test", 443, timeout=5)
    assert [host for host, _, _ in network.dialled] == ["8.8.8.8"]
    with pytest.raises(RemoteHostRefusedError):
        backend.connect_tcp("rebind.test", 443, timeout=5)
    assert len(network.dialled) == 1


def test_the_resolver_gets_text_not_bytes(serve, http):
    server = serve(http(200, b"ok"))
    asked = []

    def resolver(host, port):
        asked.append((host, port))
        return ["127.0.0.1"]

    guard = AddressGuard(frozenset({f"fake.test:{server.port}"}))
    with httpx.Client(transport=GuardedTransport(guard, resolver=resolver), trust_env=False) as client:
        assert client.get(f"http://FAKE.test:{server.port}/").text == "ok"
    assert asked == [("fake.test", server.port)]


def test_a_private_place_is_permitted_by_its_exact_host_and_port(serve, http):
    server = serve(http(200, b"ok"))
    for allowed, passes in ((server.place, True), (f"localhost:{server.port}", False), ("127.0.0.1:1", False)):
        transport = GuardedTransport(AddressGuard(frozenset({allowed})))
        with httpx.Client(transport=transport, trust_env=False) as client:
            if passes:
                assert client.get(server.origin).text == "ok"
            else:
                with pytest.raises(RemoteHostRefusedError):
                    client.get(server.origin)
    assert server.connections == 1


def test_addresses_are_tried_in_turn_and_share_the_timeout():
    network = NoNetwork()
    addresses = [f"8.8.8.{number}" for number in range(9)]
    backend = GuardedBackend(AddressGuard(), resolver=lambda host, port: addresses, network=network)
    with pytest.raises(httpcore.ConnectError, match="no network here"):
        backend.connect_tcp("many.test", 443, timeout=4)
    assert [host for host, _, _ in network.dialled] == addresses[:4]
    assert network.dialled[0][2] == pytest.approx(1, abs=0.2)
    assert network.dialled[3][2] == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (socket.gaierror(-2, "unknown"), httpx.ConnectError),
        (TimeoutError("slow"), httpx.ConnectTimeout),
        (UnicodeError("label too long"), RemoteHostRefusedError),
    ],
)
def test_a_name_that_does_not_resolve_is_a_failure_before_sending(raised, expected):
    def resolver(host, port):
        raise raised

    with (
        httpx.Client(transport=GuardedTransport(AddressGuard(), resolver=resolver), trust_env=False) as client,
        pytest.raises(expected),
    ):
        client.get("http://nowhere.test/")


def test_a_name_without_addresses_is_a_connect_error():
    with pytest.raises(httpcore.ConnectError, match="no address"):
        GuardedBackend(AddressGuard(), resolver=lambda host, port: []).connect_tcp("empty.test", 443)


def test_a_resolver_that_hangs_is_left_after_its_limit(monkeypatch):
    release = threading.Event()

    def hang(*args, **kwargs):
        release.wait(10)
        return []

    monkeypatch.setattr(guard_module, "_LOOKUP_S", 0.05)
    monkeypatch.setattr(guard_module.socket, "getaddrinfo", hang)
    with pytest.raises(TimeoutError):
        resolve("slow.test", 443)
    release.set()


def test_a_unix_socket_is_refused():
    with pytest.raises(RemoteHostRefusedError):
        GuardedBackend(AddressGuard()).connect_unix_socket("/run/docker.sock")


def test_a_fresh_connection_is_neither_reused_nor_kept(serve, http):
    def answer(connection, head):
        connection.sendall(http(200, b"ok", keep=True))
        return "keep"

    server = serve(answer)
    with httpx.Client(transport=GuardedTransport(AddressGuard(frozenset({server.place}))), trust_env=False) as client:
        for _ in range(3):
            client.get(server.origin)
        assert server.connections == 1
        for _ in range(2):
            client.send(client.build_request("POST", server.origin, extensions={FRESH_CONNECTION: True}))
        assert server.connections == 3


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"nonsense\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", httpx.RemoteProtocolError),
    ],
)
def test_errors_are_those_of_httpx_also_while_the_body_is_read(serve, answer, expected):
    server = serve(answer)
    with (
        httpx.Client(transport=GuardedTransport(AddressGuard(frozenset({server.place}))), trust_env=False) as client,
        pytest.raises(expected),
    ):
        client.get(server.origin)


def test_a_silent_host_is_a_read_timeout(serve):
    done = threading.Event()
    server = serve(lambda connection, head: done.wait(5) and None)
    transport = GuardedTransport(AddressGuard(frozenset({server.place})))
    with httpx.Client(transport=transport, trust_env=False, timeout=0.1) as client, pytest.raises(httpx.ReadTimeout):
        client.get(server.origin)
    done.set()


def test_every_error_of_httpcore_becomes_the_one_that_httpx_would_raise():
    import httpx._transports.default as theirs

    ours = dict(guard_module._HTTPX_ERRORS)
    assert ours == theirs._load_httpcore_exceptions()
    for error, expected in ours.items():
        with pytest.raises(expected) as caught, guard_module._httpx_errors():
            raise error("words")
        assert type(caught.value) is expected


def test_the_system_s_resolver_gives_each_address_once_and_its_errors():
    assert resolve("127.0.0.1", 80) == ["127.0.0.1"]
    with pytest.raises((socket.gaierror, TimeoutError)):
        resolve("nowhere.invalid", 80)  # RFC 6761 reserves the name
