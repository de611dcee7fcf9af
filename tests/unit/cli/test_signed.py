import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from musproj import DEFAULT_OWNER, MusProj, Settings, UploadSpec
from musproj.cli import signed
from musproj.domain.keys import ObjectKey
from musproj.ports.gate import GateRefusedError
from musproj.ports.storage import SignedRequest


@pytest.fixture
def mp(tmp_path):
    with MusProj.open(Settings(data=tmp_path / "data")) as opened:
        yield opened


def test_bytes_go_through_the_gate_and_come_back(mp, tmp_path):
    source = tmp_path / "x.bin"
    source.write_bytes(b"some bytes")
    ticket = mp.uploads.request(DEFAULT_OWNER, UploadSpec(size=10))
    key = ticket.asset.upload.object_key

    signed.send(mp.opened_storage.gate, ticket.signed, key, source)

    assert b"".join(mp.opened_storage.storage.read(key)) == b"some bytes"
    with pytest.raises(GateRefusedError) as refused:
        signed.send(mp.opened_storage.gate, ticket.signed, key, source)
    assert refused.value.status == 412


def test_what_was_not_signed_is_refused(mp, tmp_path):
    source = tmp_path / "x.bin"
    source.write_bytes(b"more bytes than were announced")
    ticket = mp.uploads.request(DEFAULT_OWNER, UploadSpec(size=10))

    with pytest.raises(GateRefusedError):
        signed.send(mp.opened_storage.gate, ticket.signed, ticket.asset.upload.object_key, source)


class Bucket(BaseHTTPRequestHandler):
    """A store of one object that notes the headers it was put with."""

    objects: dict[str, bytes] = {}  # noqa: RUF012 - of the one server of a test
    seen: dict[str, str] = {}  # noqa: RUF012 - as above

    def do_PUT(self):
        self.seen.update(self.headers)
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"")

    def do_GET(self):
        self.answer(self.objects[self.path])

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_where_another_store_signs_they_go_by_http(tmp_path):
    source = tmp_path / "x.bin"
    source.write_bytes(b"some bytes")
    with HTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/bucket/key?signature=x"
            headers = {"Content-Type": "audio/wav", "If-None-Match": "*", "Content-Length": "10"}
            far = datetime(2099, 1, 1, tzinfo=UTC)
            put = SignedRequest(method="PUT", url=url, headers=headers, expires_at=far)
            get = SignedRequest(method="GET", url=url, headers={}, expires_at=far)
            signed.send(None, put, ObjectKey("key"), source)
            fetched = b"".join(signed.fetch(None, get, ObjectKey("key")))
        finally:
            server.shutdown()
            thread.join()

    assert fetched == b"some bytes"
    assert {name.lower(): value for name, value in Bucket.seen.items()}["if-none-match"] == "*"
