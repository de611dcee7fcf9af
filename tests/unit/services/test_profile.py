"""A service that a TOML file describes: what is wrong with the file, and what is said to a real server by it."""

import contextlib
import http.server
import json
import math
import pickle
import re
import threading
import tomllib
import uuid
from pathlib import Path

import attrs
import pytest

from musproj.adapters.services.guard import AddressGuard, GuardedTransport
from musproj.adapters.services.profile import ProfileService
from musproj.application import params
from musproj.application.http_profile import read_profile
from musproj.application.http_template import ABSENT, filled, filled_path, names_in, pick, put
from musproj.domain.remote import Cost, RemoteOp, RemotePhase
from musproj.errors import ConfigurationError, NeedsJobError, RemoteHostRefusedError
from musproj.ports.processor import RemoteTask
from musproj.ports.remote import CallClass, CallError, RemoteInput, RemoteOutput, RemoteState
from musproj.processors.auphonic import SPEC
from musproj.processors.http_service import HttpService

PAGE = Path(__file__).parents[3].joinpath("docs/howto/use-an-http-service.md").read_text(encoding="utf-8")
BOX, REPLICATE = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

KEY = "key-that-nobody-may-see"
TOKEN = "0d3b9a6e-1111-5222-8333-444455556666"
LIST = """
[list]
path = "/jobs?tag={token}"
items_pointer = "/jobs"
tag_pointer = "/options/tag"
id_pointer = "/id"
"""


class Box:
    """A server that notes what it is sent and answers by `answers`: (method, path) → status, JSON or bytes, headers."""

    def __init__(self):
        self.calls = []
        self.answers = {}
        box = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                box.calls.append((self.command, self.path, dict(self.headers), body))
                status, content, headers = box.answers.get((self.command, self.path), (404, {}, {}))
                if status == 0:  # done, and no word of it
                    self.close_connection = True
                    return
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - as http.server calls them

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.place = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.place}"

    def answer(self, call, content=b"", status=200, **headers):
        method, path = call.split(" ")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[method, path] = (status, content, named)

    def close(self):
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


@pytest.fixture
def boxes():
    with contextlib.ExitStack() as stack:

        def start():
            box = Box()
            stack.callback(box.close)
            return box

        yield start


@pytest.fixture
def box(boxes):
    return boxes()


@pytest.fixture
def read(tmp_path):
    """Give a function that reads a profile from its text."""

    def read(text):
        path = tmp_path / "profile.toml"
        path.write_text(text, encoding="utf-8")
        return read_profile(path)

    return read


@pytest.fixture
def service(box, read):
    """Give a function that makes the service of a profile which stands on `box`."""
    with contextlib.ExitStack() as stack:

        def service(text=BOX, *, key=KEY, private=(), **changes):
            allowed = frozenset({box.place, *private})
            transport = GuardedTransport(AddressGuard(allowed))
            stack.callback(transport.close)
            profile = attrs.evolve(read(text), base_url=f"{box.url}/api", **changes)
            return ProfileService.of(profile, key, transport=transport, private=allowed)

        yield service


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.flac"
    path.write_bytes(bytes(range(256)) * 1024)
    return RemoteInput(
        path=lambda: path,
        url=lambda: "https://bucket.example/in.flac?X-Signature=secret",
        size=path.stat().st_size,
        duration=90.0,
        extension="flac",
    )


def op(**changes):
    known = {
        "service": "my-separator",
        "account": "default",
        "token": TOKEN,
        "request_digest": "d",
        "cost": Cost(unit="minute", estimate=0),
        "phase": RemotePhase.STAGED,
        "upload_ref": "in/7",
    }
    return RemoteOp(**{**known, **changes})


def task(processor, **given):
    return processor.spec.given(params.parse(processor.spec.params, given)).task


@pytest.fixture
def box_task(read):
    return task(HttpService(read(BOX)), model="fast", shifts=3)


@pytest.fixture
def replicate_task(read):
    return task(HttpService(read(REPLICATE)))


# ── the file ─────────────────────────────────────────────────────────────────────────────────────


WRONG = [
    ("[", "cannot be read"),
    ("name = 3", "outputs is missing"),
    (BOX.replace('"my-separator"', '"My Separator"'), "name must be"),
    (BOX.replace('version = "1"', "version = 1"), "version must be a text"),
    (BOX.replace('version = "1"', ""), "version is missing"),
    (BOX.replace("[submit]", "[sumbit]"), "submit is missing; is it what sumbit should be"),
    (BOX.replace("https://gpu", "ftp://gpu"), "base_url must be an address"),
    (BOX.replace("https://gpu", "https://me:pw@gpu"), "base_url must be an address"),
    (BOX.replace("example.org/api", "example.org/api?key=1"), "base_url must be an address"),
    (BOX.replace("example.org/api", "example.org:port"), "base_url:"),
    ("colour = 1\n" + BOX, "colour is unknown; known: "),
    (BOX + '\n[poll.more]\na = "b"', "poll.more is unknown; known: "),
    (BOX.replace('header = "X-Api-Key"', 'header = "X Api Key"'), "key.header must be"),
    (BOX.replace('header = "X-Api-Key"', 'header = "Host"'), "key.header must be"),
    (BOX.replace('prefix = ""', 'prefix = "é"'), "key.prefix must be"),
    (BOX.replace('"Idempotency-Key"', '"x-api-key"'), "idempotency_header is the header of the key"),
    (BOX.replace('"/job/id"', '"job/id"'), "submit.id_pointer must be a JSON pointer"),
    (BOX.replace('"/job/state"', '"/job/~2"'), "poll.state_pointer must be a JSON pointer"),
    (BOX.replace('path = "/jobs"', 'path = "jobs"'), "submit.path must be a path"),
    (BOX.replace('path = "/jobs"', 'path = "//evil.example/jobs"'), "submit.path must be a path"),
    (BOX.replace('path = "/jobs"', 'path = "/../jobs"'), "submit.path must be a path"),
    (BOX.replace('path = "/jobs"', 'path = "/jobs#a"'), "submit.path must not hold"),
    (BOX.replace('method = "PUT"', 'method = "GET"'), "upload.method must be one of: POST, PUT"),
    (BOX.replace("{params.shifts}", "{params.shift}"), "submit.json: {params.shift} is unknown"),
    (BOX.replace("{upload_ref}", "{input_url}"), "submit.json: {input_url} is unknown"),
    (BOX.replace("{upload_ref}", "in"), "submit.json must say what to work on: {upload_ref}"),
    (BOX.replace("musproj {token}", "{id}"), "submit.json: {id} is unknown"),
    (BOX.replace('"{params.shifts}"', "1979-05-27"), "submit.json: datetime.date"),
    (BOX.replace('"/inputs/{token}"', '"/inputs/{id}"'), "upload.path: {id} is unknown"),
    (BOX.replace('"/jobs/{id}/cancel"', '"/jobs/cancel"'), "cancel.path must name what it is about"),
    (BOX.replace('"/jobs/{id}"', '"/jobs"'), "poll.path must name what it is about"),
    (BOX.replace('"/jobs/{id}"', '"/jobs/{params.model}"'), "poll.path: {params.model} is unknown"),
    (BOX.replace('waiting = "queued"', 'waiting = "asleep"'), "poll.states.waiting must be one of: queued"),
    (BOX.replace('waiting = "queued"', 'waiting = ["queued"]'), "poll.states.waiting must be one of: queued"),
    (BOX.replace('done = "finished"', 'done = "running"'), "poll.states must have a word for finished"),
    (BOX.replace("progress_max = 100", "progress_max = 0"), "poll.progress_max must be a number above 0"),
    (BOX.replace('other = "/job/files/other"', ""), "result.files.other is missing"),
    (BOX.replace('other = "/job/files/other"', 'oter = "/a"\nother = "/b"'), "result.files.oter is unknown"),
    (BOX.replace("[result.files]", '[result]\nurls_pointer = "/u"\n[result.files]'), "result.urls_pointer or else"),
    (BOX.replace("calls_per_minute = 120", "calls_per_minute = true"), "calls_per_minute must be a number"),
    (BOX.replace("calls_per_minute = 120", "calls_per_minute = nan"), "calls_per_minute must be a number above 0"),
    (BOX.replace("calls_per_minute = 120", "calls_per_minute = 100001"), "a number above 0, and 100000 at most"),
    (BOX.replace("calls_per_minute = 120", f"calls_per_minute = {10**400}"), "calls_per_minute must be a number"),
    ("burst = 100001\n" + BOX, "burst must be 100000 at most"),
    (BOX.replace("max_running = 2", "max_running = 0"), "max_running must be at least 1"),
    ('hosts = ["https://cdn.example"]\n' + BOX, "hosts must be names"),
    ('publishes = "result"\n' + BOX, "publishes must be one of"),
    ('tag_field = "/options/tag"\n' + BOX, "list and tag_field"),
    ('tag_field = "/model/tag"\n' + BOX + LIST, "tag_field: /model/tag leads through"),
    ('webhook_field = ""\n' + BOX, "webhook_field must be a JSON pointer"),
    (BOX.replace("[outputs.other]", '[outputs.other]\nextension = "wav"'), "outputs must be tables"),
    (BOX.replace("[outputs.other]", '[outputs."../other"]'), "outputs must be tables"),
    (BOX.replace("default = 1\n", "default = 99\n"), "'shifts' must be <= 10"),
    (BOX.replace("default = 1\n", "default = 1.5\n"), "params.shifts: default must be an integer"),
    (BOX.replace("choices = [", 'colour = "red"\nchoices = ['), "params.model: colour is unknown"),
    (BOX.replace('type = "integer"', 'type = "text"'), "params.shifts: type must be one of"),
    (BOX + "\n[cost]\nper_minute = -1", "cost.per_minute must be a number from 0"),
    (BOX + "\n[cost]\nper_minute = 100001", "cost.per_minute must be a number from 0, and 100000 at most"),
    (BOX + "\n[delete.x]", "delete.x is unknown"),
    (BOX.replace('prefix = ""', 'prefix = ""\nfile = "~nosuchuser/key"'), "key.file begins with a home"),
    (BOX.replace("[params.shifts]", "[params.from]"), "params.from: a parameter cannot have this name"),
    (BOX.replace("[params.shifts]", "[params.self]"), "params.self: a parameter cannot have this name"),
    (BOX.replace("[params.shifts]", "[params._shifts]"), "params._shifts must be a table, and its name"),
    (BOX.replace("[params.shifts]", '[params."größe"]'), "params.größe must be a table, and its name"),
    (BOX.replace("{params.shifts}", "{params.größe}"), "submit.json: {params.größe} is unknown"),
    (BOX.replace("{params.shifts}", "{params.my-shifts}"), "submit.json: {params.my-shifts} is unknown"),
    (BOX.replace("{params.shifts}", "{params.2nd.shifts}"), "submit.json: {params.2nd.shifts} is unknown"),
    (BOX.replace("choices = [", "choices = 3\n#"), "params.model: choices must be texts"),
    (BOX.replace("choices = [", 'choices = "fast"\n#'), "params.model: choices must be texts"),
    (BOX.replace('type = "integer"', 'type = ["integer"]'), "params.shifts: type must be one of"),
    (
        BOX.replace('type = "integer"', 'type = "number"').replace("default = 1\n", f"default = {10**400}\n"),
        "too large",
    ),
]


@pytest.mark.parametrize(("text", "reason"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_file_is_told_with_its_key(read, tmp_path, text, reason):
    with pytest.raises(ConfigurationError) as caught:
        read(text)

    assert reason in caught.value.message
    assert str(tmp_path / "profile.toml") in caught.value.message


def test_what_is_absent_has_its_default(read, tmp_path):
    profile = read(REPLICATE)

    assert (profile.key.header, profile.key.prefix, profile.key.file) == ("Authorization", "Bearer ", None)
    assert (profile.burst, profile.publishes, profile.moves_head, profile.changes_duration) == (
        10,
        "version",
        False,
        False,
    )
    assert profile.result.path == profile.poll.path
    assert profile.submit.method == "POST"
    assert profile.delete is None


def test_the_file_of_the_key_is_sought_beside_the_profile(read, tmp_path):
    profile = read(BOX.replace('prefix = ""', 'prefix = ""\nfile = "box.key"'))

    assert profile.key.file == tmp_path / "box.key"


# ── pointers and templates ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [  # RFC 6901, 5, and what is not there
        ("", ...),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/m~0n", 8),
        ("/none", None),
        ("/foo/2", ABSENT),
        ("/foo/-", ABSENT),
        ("/foo/00", ABSENT),
        ("/foo/bar", ABSENT),
        ("/foo/0/x", ABSENT),
        ("/none/x", ABSENT),
        ("/x", ABSENT),
    ],
)
def test_pointers(pointer, expected):
    document = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, "none": None}

    found = pick(document, pointer)

    assert found is document if expected is ... else found is expected or found == expected


def test_what_is_put_makes_its_way():
    document = {"a": {"b": 1}}

    put(document, "/a/c~1d/e", "x")

    assert document == {"a": {"b": 1, "c/d": {"e": "x"}}}


def test_a_name_alone_keeps_its_type_and_within_a_text_it_is_text():
    values = {"params.n": 3, "params.f": 1e-7, "params.b": True, "token": "t"}
    template = {"n": "{params.n}", "f": "{params.f}", "b": ["{params.b}", "{token}-{params.b}-{params.f}"], "c": "{}{"}

    assert filled(template, values) == {"n": 3, "f": 1e-7, "b": [True, "t-true-0.0000001"], "c": "{}{"}
    assert template["n"] == "{params.n}"


def test_names_are_found_at_any_depth():
    assert names_in({"a": ["{b}", {"c": "x{d}{params.e}"}, 1, 1.5, True, None]}) == ["b", "d", "params.e"]


@pytest.mark.parametrize("value", [math.nan, math.inf, object()], ids=["nan", "infinity", "object"])
def test_what_json_cannot_hold_is_no_template(value):
    with pytest.raises(ValueError, match="nothing that JSON can hold"):
        names_in({"a": [value]})


def test_a_value_is_not_filled_again():
    assert filled("{a} {b}", {"a": "{b}", "b": "x"}) == "{b} x"


@pytest.mark.parametrize(
    ("value", "path"),
    [("a b", "/x/a%20b/y"), ("a/../b", "/x/a%2F..%2Fb/y"), ("é?#%2e", "/x/%C3%A9%3F%23%252e/y"), (7, "/x/7/y")],
)
def test_a_value_in_a_path_leads_nowhere_else(value, path):
    assert filled_path("/x/{id}/y", {"id": value}) == path


@pytest.mark.parametrize("value", ["", ".", "..", None])
def test_a_value_that_a_path_is_walked_by_is_refused(value):
    with pytest.raises(ValueError, match="no path can hold"):
        filled_path("/x/{id}", {"id": value})


# ── submit ───────────────────────────────────────────────────────────────────────────────────────


def test_the_input_is_sent_as_it_is(box, service, box_task, source):
    box.answer(f"PUT /api/inputs/{TOKEN}", {"input": "in/7"})

    staged = service().upload(op(phase=RemotePhase.PLANNED, upload_ref=None), box_task, source)

    ((_, _, headers, body),) = box.calls
    assert body == source.path().read_bytes()
    assert headers["Content-Length"] == str(source.size)
    assert "Transfer-Encoding" not in headers
    assert headers["X-Api-Key"] == KEY
    assert (staged.phase, staged.upload_ref, staged.input_mode) == (RemotePhase.STAGED, "in/7", "upload")


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ({}, "upload.ref_pointer '/input'"),
        ({"input": None}, "upload.ref_pointer '/input'"),
        ({"input": "../a"}, "upload.ref_pointer '/input'"),
        ({"input": "https://bucket.example/a?signature=1"}, "by a signed address, which is not kept"),
    ],
)
def test_an_upload_that_cannot_be_named_is_rejected(box, service, box_task, source, ref, words):
    box.answer(f"PUT /api/inputs/{TOKEN}", ref)

    with pytest.raises(CallError) as caught:
        service().upload(op(), box_task, source)

    assert caught.value.kind is CallClass.REJECTED
    assert words in caught.value.message
    assert "signature" not in caught.value.message


def test_what_is_submitted(box, service, box_task, source):
    box.answer("POST /api/jobs", {"job": {"id": 12}}, 201)

    submitted = service().submit(op(), box_task, source, None)

    ((method, path, headers, body),) = box.calls
    assert (method, path) == ("POST", "/api/jobs")
    assert json.loads(body) == {
        "input": "in/7",
        "model": "fast",
        "options": {"shifts": 3, "name": f"musproj {TOKEN}"},
    }
    assert headers["X-Api-Key"] == KEY
    assert headers["Content-Type"] == "application/json"
    assert uuid.UUID(headers["Idempotency-Key"]).version == 4
    assert submitted.remote_id == "12"


def test_the_same_operation_has_the_same_key_and_another_has_another(box, service, box_task, source):
    box.answer("POST /api/jobs", {"job": {"id": 12}})
    one = service()

    for token in (TOKEN, TOKEN, TOKEN.replace("0d3b", "1e4c")):
        one.submit(op(token=token), box_task, source, None)

    first, second, third = (headers["Idempotency-Key"] for _, _, headers, _ in box.calls)
    assert first == second != third


def test_without_a_key_none_is_sent(box, service, box_task, source):
    box.answer("POST /api/jobs", {"job": {"id": 12}})

    service(key="", idempotency_header=None).submit(op(), box_task, source, None)

    assert not {"X-Api-Key", "Authorization", "Idempotency-Key"} & set(box.calls[0][2])


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (200, {"job": {}}, CallClass.AMBIGUOUS),
        (200, {"job": {"id": ""}}, CallClass.AMBIGUOUS),
        (200, {"job": {"id": True}}, CallClass.AMBIGUOUS),
        (200, b"done", CallClass.AMBIGUOUS),
        (0, {}, CallClass.AMBIGUOUS),
        (500, {}, CallClass.AMBIGUOUS),
        (422, {"detail": "no such model"}, CallClass.REJECTED),
        (401, {}, CallClass.AUTH),
        (402, {}, CallClass.QUOTA),
        (429, {}, CallClass.REFUSED),
    ],
)
def test_a_submission_that_failed_or_may_have(box, service, box_task, status, answer, kind, source):
    box.answer("POST /api/jobs", answer, status)

    with pytest.raises(CallError) as caught:
        service().submit(op(), box_task, source, None)

    assert caught.value.kind is kind
    assert KEY not in str(caught.value)


def test_an_input_that_the_service_fetches(box, service, replicate_task, source):
    box.answer("POST /api/predictions", {"id": "p1", "status": "starting"}, 201)
    replicate = service(REPLICATE)

    staged = replicate.upload(op(phase=RemotePhase.PLANNED, upload_ref=None), replicate_task, source)
    submitted = replicate.submit(staged, replicate_task, source, None)

    ((_, _, headers, body),) = box.calls
    assert json.loads(body)["input"] == {"audio": source.url(), "stem": "vocals", "shifts": 1}
    assert "webhook" not in json.loads(body)
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert (staged.phase, staged.input_mode) == (RemotePhase.STAGED, "url")
    assert "secret" not in repr(submitted)
    assert submitted.remote_id == "p1"


def test_the_address_of_another_run_is_handed_over_with_the_webhook(box, service, replicate_task, source):
    box.answer("POST /api/predictions", {"id": "p1"}, 201)

    service(REPLICATE).submit(op(), replicate_task, source, "https://our.example/hooks/1")

    body = json.loads(box.calls[0][3])
    assert body["webhook"] == "https://our.example/hooks/1"
    assert body["input"]["audio"] == source.url()


def test_without_an_address_nothing_is_sent(box, service, replicate_task, source):
    replicate = service(REPLICATE)

    with pytest.raises(CallError) as unsigned:
        replicate.upload(op(), replicate_task, attrs.evolve(source, url=lambda: None))

    assert unsigned.value.kind is CallClass.FATAL
    assert box.calls == []


def test_drafts_there_are_none(service, box_task, source):
    with pytest.raises(CallError, match="no drafts"):
        service().create(op(), box_task, source, None)


# ── find ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tagged(service):
    return service('tag_field = "/options/tag"\n' + BOX + LIST)


def test_a_submission_carries_its_tag(box, tagged, box_task, source):
    box.answer("POST /api/jobs", {"job": {"id": 12}})

    tagged.submit(op(), box_task, source, None)

    assert json.loads(box.calls[0][3])["options"] == {"shifts": 3, "name": f"musproj {TOKEN}", "tag": TOKEN}


def test_a_lost_submission_is_found_by_its_tag(box, tagged):
    others = [{"id": 1}, {"id": 2, "options": {"tag": "other"}}, None, "text"]
    box.answer(f"GET /api/jobs?tag={TOKEN}", {"jobs": [*others, {"id": 3, "options": {"tag": TOKEN}}]})

    found = tagged.find(op())

    assert (found.phase, found.remote_id) == (RemotePhase.SUBMITTED, "3")
    assert len(box.calls) == 1


def test_one_that_is_not_there_is_not_found(box, tagged):
    box.answer(f"GET /api/jobs?tag={TOKEN}", {"jobs": []})

    assert tagged.find(op()) is None
    assert len(box.calls) == 1


def test_a_list_that_is_none_is_no_proof(box, tagged):
    box.answer(f"GET /api/jobs?tag={TOKEN}", {"items": []})

    with pytest.raises(CallError, match=r"list\.items_pointer '/jobs'") as caught:
        tagged.find(op())

    assert caught.value.kind is CallClass.TRANSIENT


def test_one_without_an_id_is_no_find(box, tagged):
    box.answer(f"GET /api/jobs?tag={TOKEN}", {"jobs": [{"options": {"tag": TOKEN}}]})

    with pytest.raises(CallError, match=r"list\.id_pointer"):
        tagged.find(op())


def test_without_a_list_nothing_is_looked_for(box, service):
    with pytest.raises(CallError, match="has no list"):
        service().find(op())


@pytest.mark.parametrize(
    ("text", "idempotency", "has_tags"),
    [
        (BOX, "full", False),
        (REPLICATE, "none", False),
        ('tag_field = "/tag"\n' + BOX.replace('idempotency_header = "Idempotency-Key"', "") + LIST, "none", True),
    ],
    ids=["key", "neither", "list"],
)
def test_what_it_can_is_what_the_profile_says(service, text, idempotency, has_tags):
    caps = service(text).caps

    assert (caps.idempotency, caps.has_tags, caps.has_drafts, caps.poll_batch) == (idempotency, has_tags, False, 1)
    assert caps.takes_urls is (text is REPLICATE)
    assert caps.sends_hints is (text is REPLICATE)
    assert caps.max_running == (4 if text is REPLICATE else 2)


# ── poll ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("job", "state", "fraction"),
    [
        ({"state": "waiting"}, RemoteState.QUEUED, None),
        ({"state": "working", "percent": 40}, RemoteState.RUNNING, 0.4),
        ({"state": "working", "percent": 140.0}, RemoteState.RUNNING, 1.0),
        ({"state": "working", "percent": "half"}, RemoteState.RUNNING, None),
        ({"state": "working", "percent": True}, RemoteState.RUNNING, None),
        ({"state": "working", "percent": -1}, RemoteState.RUNNING, None),
        ({"state": "working", "percent": 10**400}, RemoteState.RUNNING, None),
        ({"state": "done", "percent": 100}, RemoteState.FINISHED, 1.0),
        ({"state": "stopped"}, RemoteState.CANCELLED, None),
    ],
)
def test_states(box, service, job, state, fraction):
    box.answer("GET /api/jobs/12", {"job": job})

    update = service().poll([op(remote_id="12")])[TOKEN]

    assert (update.state, update.fraction, update.fault) == (state, fraction, None)
    assert box.calls[0][2]["X-Api-Key"] == KEY


def test_states_that_are_no_texts(box, service):
    text = BOX.replace('done = "finished"', 'true = "finished"').replace('waiting = "queued"', '0 = "queued"')
    box.answer("GET /api/jobs/12", {"job": {"state": True}})
    box.answer("GET /api/jobs/13", {"job": {"state": 0}})
    one = service(text)

    assert one.poll([op(remote_id="12")])[TOKEN].state is RemoteState.FINISHED
    assert one.poll([op(remote_id="13")])[TOKEN].state is RemoteState.QUEUED


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"message": f"out of memory at https://a.example/b?sig=1 with {KEY}"}, "failed: out of memory at "),
        ({"message": {"code": 7}}, "failed: {'code': 7}"),
        ({}, "failed."),
    ],
)
def test_a_failure_tells_why_and_no_secret(box, service, error, words):
    box.answer("GET /api/jobs/12", {"job": {"state": "error"}, "error": error})

    update = service().poll([op(remote_id="12")])[TOKEN]

    assert update.state is RemoteState.FAILED
    assert words in update.fault.message
    assert update.fault.code == "remote_rejected"
    assert KEY not in update.fault.message
    assert "sig" not in update.fault.message


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_gone_is_told(box, service, status):
    box.answer("GET /api/jobs/12", {}, status)

    assert service().poll([op(remote_id="12")])[TOKEN].state is RemoteState.GONE


@pytest.mark.parametrize(("job", "words"), [({"state": "dreaming"}, "'dreaming'"), ({}, "poll.state_pointer")])
def test_a_word_that_is_not_known_is_asked_again(box, service, job, words):
    box.answer("GET /api/jobs/12", {"job": job})

    with pytest.raises(CallError, match=words) as caught:
        service().poll([op(remote_id="12")])

    assert caught.value.kind is CallClass.TRANSIENT


def test_an_id_is_percent_encoded(box, service):
    box.answer("GET /api/jobs/a%2Fb%20c", {"job": {"state": "done"}})

    assert service().poll([op(remote_id="a/b c")])[TOKEN].state is RemoteState.FINISHED


@pytest.mark.parametrize("remote_id", ["..", "../../admin", None])
def test_an_id_that_leads_elsewhere_is_not_asked_for(box, service, remote_id):
    with pytest.raises(CallError) as caught:
        service().poll([op(remote_id=remote_id)])

    assert caught.value.kind is CallClass.FATAL
    assert box.calls == []


# ── results ──────────────────────────────────────────────────────────────────────────────────────


def test_the_results_are_named_by_their_outputs(box, service):
    files = {"vocals": "/api/files/1.wav", "other": "https://cdn.example/2.wav?sig=1"}
    box.answer("GET /api/jobs/12", {"job": {"files": files}})

    outputs = list(service().outputs(op(remote_id="12")))

    assert [(output.label, output.url) for output in outputs] == [
        ("vocals", f"{box.url}/api/files/1.wav"),
        ("other", "https://cdn.example/2.wav?sig=1"),
    ]


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        (["https://a/1", "https://a/2"], ["0", "1"]),
        ("https://a/1", ["0"]),
        ([], []),
        ([None, "https://a/2"], ["1"]),
        ({}, []),
    ],
)
def test_a_list_of_results_is_in_the_order_of_the_outputs(box, service, read, said, labels):
    text = BOX.replace("[result.files]", '[result]\npath = "/jobs/{id}/result"\nurls_pointer = "/urls"')
    text = text.replace('vocals = "/job/files/vocals"', "").replace('other = "/job/files/other"', "")
    box.answer("GET /api/jobs/12/result", {"urls": said})

    assert [output.label for output in service(text).outputs(op(remote_id="12"))] == labels
    assert task(HttpService(read(text))).files == {"0": "vocals", "1": "other"}


def test_a_result_is_fetched_with_the_key_from_the_service_itself(box, service, tmp_path):
    box.answer("GET /api/files/1.wav", b"RIFF" + bytes(100), Content_Type="audio/wav")
    output = RemoteOutput(label="vocals", url=f"{box.url}/api/files/1.wav", size=104)

    fetched = service().fetch(output, tmp_path / "out", max_bytes=1000, check=lambda: None)

    assert (tmp_path / "out").stat().st_size == fetched.size == 104
    assert box.calls[0][2]["X-Api-Key"] == KEY


def test_no_other_host_sees_the_key(box, boxes, service, tmp_path):
    cdn = boxes()
    cdn.answer("GET /1.wav", b"RIFF" + bytes(100))
    box.answer("GET /api/files/1.wav", status=302, Location=f"{cdn.url}/1.wav")
    one = service(private=[cdn.place])

    for url in (f"{cdn.url}/1.wav", f"{box.url}/api/files/1.wav"):
        one.fetch(RemoteOutput(label="vocals", url=url), tmp_path / "out", max_bytes=1000, check=lambda: None)

    assert len(cdn.calls) == 2
    assert KEY not in repr(cdn.calls)


def test_a_result_on_a_host_that_is_not_named_is_refused(boxes, service, tmp_path):
    cdn = boxes()

    for url in (f"{cdn.url}/1.wav", "https://evil.example/1.wav", "//evil.example/1.wav"):
        with pytest.raises(RemoteHostRefusedError):
            service().fetch(RemoteOutput(label="vocals", url=url), tmp_path / "out", max_bytes=1000, check=lambda: None)

    assert cdn.calls == []


# ── the end ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("verb", "call"),
    [("cancel", "POST /api/jobs/12/cancel"), ("cleanup", "DELETE /api/jobs/12")],
    ids=["cancel", "delete"],
)
class TestEnd:
    @pytest.mark.parametrize(
        ("status", "body"), [(200, {}), (200, b""), (202, b"ok"), (204, b""), (404, {}), (410, {})]
    )
    def test_what_is_done_is_done(self, box, service, verb, call, status, body):
        box.answer(call, body, status)

        getattr(service(), verb)(op(remote_id="12"))

        assert [f"{method} {path}" for method, path, _, _ in box.calls] == [call]

    def test_what_is_not_is_told(self, box, service, verb, call):
        box.answer(call, {}, 500)

        with pytest.raises(CallError) as caught:
            getattr(service(), verb)(op(remote_id="12"))

        assert caught.value.kind is CallClass.TRANSIENT

    def test_what_never_was_is_not_asked_for(self, box, service, verb, call):
        getattr(service(), verb)(op())
        getattr(service(cancel=None, delete=None), verb)(op(remote_id="12"))

        assert box.calls == []


def test_what_has_ended_is_none_to_stop(box, service):
    box.answer("POST /api/jobs/12/cancel", {"error": "it has ended"}, 409)

    service().cancel(op(remote_id="12"))


def test_an_upload_that_was_never_submitted_is_deleted_by_its_name(box, service):
    box.answer("DELETE /api/inputs/in%2F7", status=204)

    service(BOX.replace('[delete]\npath = "/jobs/{id}"', '[delete]\npath = "/inputs/{upload_ref}"')).cleanup(op())

    assert len(box.calls) == 1


# ── money and settings ───────────────────────────────────────────────────────────────────────────


def test_the_estimate_is_the_rate_of_the_profile(service, replicate_task):
    replicate = service(REPLICATE)

    assert replicate.estimate(replicate_task, 90.0) == Cost(unit="second", estimate=30.0)
    assert replicate.estimate(replicate_task, None).estimate == 1200
    assert replicate.balance() is None


def test_work_of_unknown_cost_counts_as_one_and_is_not_free(service, box_task):
    assert service().estimate(box_task, 90.0) == Cost(unit="run", estimate=1.0)
    assert not service().estimate(box_task, 90.0).is_free
    assert service(BOX + "\n[cost]\nper_minute = 0").estimate(box_task, 90.0).is_free


def test_a_run_has_time_to_send_and_to_fetch_whatever_the_length_of_its_input(read):
    assert HttpService(read(BOX)).spec.timeout_seconds == SPEC.timeout_seconds


def test_http_is_only_for_hosts_that_are_permitted(read, box):
    profile = attrs.evolve(read(BOX), base_url=box.url)
    transport = GuardedTransport(AddressGuard())

    with contextlib.closing(transport), pytest.raises(ConfigurationError, match="must begin with https") as caught:
        ProfileService.of(profile, KEY, transport=transport, private=frozenset())

    assert box.place in caught.value.hint


def test_nothing_that_is_shown_holds_the_key(service):
    one = service()
    one.close()

    assert KEY not in repr(one)
    assert (one.name, one.account) == ("my-separator", "default")


# ── the processor ────────────────────────────────────────────────────────────────────────────────


def test_the_processor_is_a_task_of_the_service(read):
    processor = pickle.loads(pickle.dumps(HttpService(read(BOX))))
    spec = processor.spec

    assert (spec.name, spec.version, spec.paid, spec.extra, spec.requires) == (
        "my-separator",
        "1",
        True,
        "services",
        ("httpx",),
    )
    assert spec.needs(spec.params()) == ("service:my-separator",)
    assert [(port.name, port.kind) for port in spec.outputs] == [("vocals", "vocals"), ("other", "other")]
    assert spec.task is None
    assert spec.given(spec.params(shifts=2)).task == RemoteTask(
        service="my-separator",
        request={"model": "fine", "shifts": 2},
        files={"vocals": "vocals", "other": "other"},
    )
    with pytest.raises(NeedsJobError, match="takes a job"):
        processor.run({}, spec.params(), None)


def test_parameters_of_several_words_are_found_under_their_wire_names(box, service, read, source):
    text = BOX.replace("[params.shifts]", "[params.random_shifts]").replace("{params.shifts}", "{params.random_shifts}")
    box.answer("POST /api/jobs", {"job": {"id": 12}})

    service(text).submit(op(), task(HttpService(read(text)), randomShifts=4), source, None)

    assert json.loads(box.calls[0][3])["options"]["shifts"] == 4


def test_the_schema_is_that_of_the_file(read):
    schema = params.schema(HttpService(read(BOX)).spec.params)["properties"]

    assert schema["model"]["enum"] == ["fast", "fine"]
    assert (schema["shifts"]["minimum"], schema["shifts"]["maximum"]) == (0, 10)


def test_the_examples_of_the_page_are_whole(read):
    for text in (BOX, REPLICATE):
        assert read(text).name == tomllib.loads(text)["name"]
