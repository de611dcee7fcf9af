import socket
import threading
import time

import pytest

from musproj.testing.relay import Relay


@pytest.fixture
def echo():
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                while block := client.recv(65_536):
                    client.sendall(block)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def ask(connection, text=b"ping"):
    connection.sendall(text)
    return connection.recv(100)


def test_it_carries_bytes_both_ways(echo):
    with Relay(echo) as relay, socket.create_connection(("127.0.0.1", relay.port)) as client:
        assert ask(client) == b"ping"


def test_a_round_trip_takes_the_delay_more(echo):
    with Relay(echo, delay_s=0.05) as relay, socket.create_connection(("127.0.0.1", relay.port)) as client:
        begun = time.monotonic()
        assert ask(client) == b"ping"
        assert time.monotonic() - begun >= 0.05


def test_what_is_cut_stays_cut(echo):
    with Relay(echo) as relay:
        with socket.create_connection(("127.0.0.1", relay.port)) as client:
            assert ask(client) == b"ping"
            relay.cut()
            with _ended():
                assert ask(client) == b""
                raise ConnectionResetError
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", relay.port))


def test_what_is_dropped_can_come_again(echo):
    with Relay(echo) as relay:
        with socket.create_connection(("127.0.0.1", relay.port)) as client:
            assert ask(client) == b"ping"
            relay.drop()
            with _ended():
                assert client.recv(10) == b""
                raise ConnectionResetError
        with socket.create_connection(("127.0.0.1", relay.port)) as client:
            assert ask(client) == b"ping"


def _ended():
    return pytest.raises(ConnectionError)
