"""A service that a profile describes is paid once too, as far as it lets itself be asked."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
import pytest

from musproj.domain.job import JobStatus
from musproj.processors.http_service import read_service
from musproj.testing.remote import INPUT_S
from musproj.testing.trouble import PROCESSORS, write_tone

PROFILE = """
name = "box"
version = "1"
base_url = "{url}"
{top}
[upload]
path = "/inputs"
ref_pointer = "/ref"
[submit]
path = "/jobs"
json = {{ input = "{{upload_ref}}" }}
id_pointer = "/id"
[poll]
path = "/jobs/{{id}}"
state_pointer = "/state"
states = {{ done = "finished", broken = "failed" }}
[result]
path = "/jobs/{{id}}"
[result.files]
made = "/url"
[outputs.made]
kind = "enhanced"
{tables}
"""
TAG = 'tag_field = "/tag"'
LIST = """
[list]
path = "/jobs"
items_pointer = "/jobs"
tag_pointer = "/tag"
id_pointer = "/id"
"""
KEY = 'idempotency_header = "Idempotency-Key"'


@attrs.define(eq=False)
class FakeBox:
    """A machine with a queue, a price, and a network that loses answers."""

    result: bytes
    silent: int = 0
    """So many submissions are done and not answered."""
    deaf: int = 0
    """So many are neither."""
    busy: int = 0
    """So often a repeated key is told to be under way."""
    lag: int = 0
    """So many lists do not have what was just made."""
    bills: list = attrs.field(factory=list)
    lists: int = 0
    port: int = 0

    def handle(self, request) -> tuple[int, bytes] | None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        match request.command, request.path:
            case "POST", "/inputs":
                return 200, b'{"ref": "in1"}'
            case "POST", "/jobs":
                return self.submit(json.loads(body).get("tag"), request.headers.get("Idempotency-Key"))
            case "GET", "/jobs":
                self.lists += 1
                shown = [] if self.lists <= self.lag else self.bills
                return 200, json.dumps({"jobs": [{"id": n, "tag": tag} for n, (tag, _) in enumerate(shown)]}).encode()
            case "GET", "/result":
                return 200, self.result
            case _:
                return 200, b'{"state": "done", "url": "/result"}'

    def submit(self, tag, key) -> tuple[int, bytes] | None:
        known = [n for n, (_, used) in enumerate(self.bills) if key is not None and used == key]
        if self.deaf:
            self.deaf -= 1
            return None
        if known and self.busy:
            self.busy -= 1
            return 409, b'{"detail": "still under way"}'
        if not known:
            self.bills.append((tag, key))
        if self.silent:
            self.silent -= 1
            return None
        return 200, json.dumps({"id": known[0] if known else len(self.bills) - 1}).encode()


@pytest.fixture
def box(tmp_path):
    """Serve a `FakeBox` whose result is a tone as long as the input."""
    box = FakeBox(write_tone(tmp_path / "result.wav", seconds=INPUT_S, seed=7).read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            found = box.handle(self)
            if found is None:
                self.close_connection = True
                return
            status, content = found
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 - as http.server calls them

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        box.port = server.server_address[1]
        yield box
        server.shutdown()
        thread.join()


@pytest.fixture
def harness_of(box, open_harness, tmp_path):
    """Give a function that opens an installation which knows the box, as `top` and `tables` describe it."""

    def open_one(top="", tables=""):
        place = f"127.0.0.1:{box.port}"
        path = tmp_path / "box.toml"
        path.write_text(PROFILE.format(url=f"http://{place}", top=top, tables=tables), encoding="utf-8")
        processors = (*PROCESSORS, read_service(path))
        return open_harness(processors=processors, private_hosts=(place,), service_keys=("box=k",))

    return open_one


def test_a_list_that_lags_is_read_again_before_anything_is_bought_anew(box, harness_of):
    harness = harness_of(TAG, LIST)
    box.silent, box.lag = 1, 2  # the look before the purchase, and the first one after it
    job = harness.drive(harness.submit("box"))
    assert (job.status, len(box.bills), box.lists) == (JobStatus.SUCCEEDED, 1, 3)


def test_what_never_reached_it_is_bought_after_two_looks(box, harness_of):
    harness = harness_of(TAG, LIST)
    box.deaf = 1
    job = harness.drive(harness.submit("box"))
    assert (job.status, len(box.bills)) == (JobStatus.SUCCEEDED, 1)
    assert box.lists == 4  # before each purchase, and twice between them


def test_a_record_that_was_lost_finds_what_it_bought(box, harness_of):
    harness = harness_of(TAG, LIST)
    harness.drive(harness.submit("box"))
    number = harness.points.names.index("box.submit:after") + 1
    box.bills.clear()
    job = harness.drive(harness.submit("box"), crashes=[number], lose=1)
    assert (job.status, len(box.bills)) == (JobStatus.SUCCEEDED, 1)


def test_a_repeated_key_that_is_still_under_way_is_no_loss(box, harness_of):
    harness = harness_of(KEY)
    box.silent, box.busy = 1, 2
    job = harness.drive(harness.submit("box"))
    assert (job.status, len(box.bills)) == (JobStatus.SUCCEEDED, 1)
