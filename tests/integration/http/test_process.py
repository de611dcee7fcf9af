"""The server as a process: it starts, says so, and ends well."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from musproj import MusProj, Settings
from musproj.errors import ConfigurationError
from musproj.http.server import GC_THRESHOLDS, ApiServer, listen

PROGRAM = """
import gc, json, sys
from pathlib import Path
from musproj import MusProj, Settings
from musproj.http.server import serve

def tell(url):
    print(json.dumps({"url": url, "thresholds": gc.get_threshold(), "frozen": gc.get_freeze_count()}), flush=True)

with MusProj.open(Settings(data=Path(sys.argv[1]), port=int(sys.argv[2]))) as mp:
    serve(mp, on_ready=tell)
print("closed")
"""


@contextmanager
def process(folder):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", PROGRAM, str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running, json.loads(running.stdout.readline())
        finally:
            running.kill()


def ask(url: str) -> int:
    return httpx.get(url, timeout=20).status_code


def test_it_says_when_it_is_ready_and_has_settled(tmp_path):
    with process(tmp_path) as (_, told):
        assert ask(f"{told['url']}/healthz") == 200
        assert tuple(told["thresholds"]) == GC_THRESHOLDS
        assert told["frozen"] > 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(tmp_path, number):
    with process(tmp_path) as (running, told):
        ask(f"{told['url']}/healthz")

        began = time.monotonic()
        running.send_signal(number)

        assert running.wait(20) == 0
        assert time.monotonic() - began < 10
        assert running.stdout.read() == "closed\n"
        assert running.stderr.read() == ""


def test_a_request_under_way_is_finished(tmp_path):
    with process(tmp_path) as (running, told):
        port = int(told["url"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = b"POST /uploads/request HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            connection.sendall(head + b"content-length: 2\r\n\r\n{")
            time.sleep(0.3)
            running.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(b"}")
            answer = connection.recv(65_536)

        assert answer.startswith(b"HTTP/1.1 201")
        assert running.wait(20) == 0


def test_a_second_signal_ends_it_at_once(tmp_path):
    with process(tmp_path) as (running, told):
        port = int(told["url"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = b"POST /uploads/request HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            connection.sendall(head + b"content-length: 2\r\n\r\n{")
            time.sleep(0.3)
            began = time.monotonic()
            running.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            running.send_signal(signal.SIGTERM)

            assert running.wait(20) == 0
            assert time.monotonic() - began < 5


def test_an_app_that_does_not_start_is_told_in_words(tmp_path, monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError

    with socket.create_server(("127.0.0.1", 0)) as probe:
        settings = Settings(data=tmp_path, port=probe.getsockname()[1])
    with MusProj.open(settings) as mp, listen(settings) as listener:
        server = ApiServer(mp, listener)
        monkeypatch.setattr("musproj.http.app.chores", broken)

        with pytest.raises(ConfigurationError, match="does not start"):
            server.run(settle=False)


def test_ipv6_is_served_and_told_in_brackets(tmp_path):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("no IPv6 on this host")
    settings = Settings(data=tmp_path, host="::1", port=port)
    with MusProj.open(settings) as mp, listen(settings) as listener:
        server = ApiServer(mp, listener)
        told = []
        ready = threading.Event()
        options = {"on_ready": lambda url: (told.append(url), ready.set()), "settle": False}
        thread = threading.Thread(target=server.run, kwargs=options, daemon=True)
        thread.start()
        assert ready.wait(20)
        try:
            assert told == [f"http://[::1]:{port}"]
            assert ask(f"{told[0]}/jobs") == 200
        finally:
            server.stop()
            thread.join(20)
