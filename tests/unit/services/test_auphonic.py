"""What is said to Auphonic, to the letter, and what is understood of its answers (docs of its API, and captures)."""

import hashlib
import json
from uuid import UUID

import attrs
import httpx
import pytest

from musproj.adapters.services.auphonic import HOSTS, Auphonic
from musproj.adapters.services.client import ApiClient
from musproj.adapters.services.fetch import ResultFetcher
from musproj.application.remote_calls import called
from musproj.domain.remote import Cost, CostState, RemoteOp, RemotePhase
from musproj.ports.remote import CallClass, CallError, RemoteInput, RemoteOutput, RemoteState
from musproj.processors._runs.auphonic_params import AuphonicParams
from musproj.processors.auphonic import auphonic_task

URL = "https://auphonic.com/api"
KEY = "key-that-nobody-may-see"
TOKEN = "9f2c41d0-1111-5222-8333-444455556666"
NAME = "musproj-9f2c41d0111152228333444455556666"
UUID_22 = "Qm3nV8aLr2XhTz5kWp0sYd"
OBJECT = f"/api/production/{UUID_22}"
HOOK = "https://api.example/hooks/auphonic/job_01J/4b1d"
DOWNLOAD = f"https://auphonic.com/api/download/audio-result/{UUID_22}/{NAME}.wav"
TASK = auphonic_task(AuphonicParams(title="Take 3", denoise=True, denoise_method="dynamic"))

INCOMPLETE, NOT_STARTED, WAITING, DONE = 9, 10, 1, 3
PENDING = {"format": "wav-24bit", "ending": "wav", "filename": "", "size": 0, "checksum": "", "download_url": None}
MADE = {
    "format": "wav-24bit",
    "ending": "wav",
    "filename": f"{NAME}.wav",
    "size": 1446632,
    "checksum": "0123456789abcdef0123456789abcdef",
    "download_url": DOWNLOAD,
}


def production(status, **fields):
    return {
        "uuid": UUID_22,
        "status": status,
        "status_string": "…",
        "output_basename": NAME,
        "start_allowed": False,
        "change_allowed": True,
        "output_files": [PENDING],
        "used_credits": None,
        **fields,
    }


def envelope(data, *, status_code=200, error_message="", form_errors=None):
    return {
        "status_code": status_code,
        "error_code": None,
        "error_message": error_message,
        "form_errors": form_errors or {},
        "data": data,
    }


class Wire:
    """Answers in order by what it is given: data in an envelope, a whole answer, or an exception; keeps the requests."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def __call__(self, request):
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=envelope(answer))

    @property
    def said(self):
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


def service(wire, **options):
    transport, headers = httpx.MockTransport(wire), {"Authorization": f"Bearer {KEY}"}
    return Auphonic(
        transport=transport,
        api=ApiClient(URL, headers, transport=transport),
        fetcher=ResultFetcher(transport, HOSTS, URL, headers),
        **options,
    )


def op(**changes):
    known = {
        "service": "auphonic",
        "account": "default",
        "token": TOKEN,
        "request_digest": "d",
        "cost": Cost(unit="credit_hour", estimate=0.05),
        **changes,
    }
    return RemoteOp(**known)


def staged(**changes):
    return op(phase=RemotePhase.STAGED, remote_id=UUID_22, **changes)


def running(**changes):
    return op(phase=RemotePhase.SUBMITTED, remote_id=UUID_22, **changes)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "whatever the user called it.wav"
    path.write_bytes(b"RIFF" + bytes(1_000))
    return RemoteInput(
        path=lambda: path,
        url=lambda: "https://bucket.example/in.wav?X-Amz-Signature=s",
        size=path.stat().st_size,
        duration=20.0,
        extension="wav",
    )


# ── what is said ─────────────────────────────────────────────────────────────────────────────────


def test_a_draft_is_made_named_after_the_operation_and_never_started_with_it(source):
    wire = Wire(production(INCOMPLETE))

    made = service(wire).create(op(), TASK, source, HOOK)

    (request,) = wire.requests
    body = json.loads(request.content)
    assert wire.said == ["POST /api/productions.json"]
    assert request.url.host == "auphonic.com"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert set(body) == {"output_basename", "metadata", "output_files", "algorithms", "webhook"}
    assert body["output_basename"] == NAME == f"musproj-{UUID(TOKEN).hex}"
    assert body["metadata"] == {"title": "Take 3"}
    assert body["output_files"] == [{"format": "wav-24bit"}]
    assert body["webhook"] == HOOK
    assert body["algorithms"].items() >= {
        "leveler": True, "normloudness": True, "loudnesstarget": -16, "denoise": True, "denoisemethod": "dynamic",
        "denoiseamount": 0,
    }.items()  # fmt: skip
    assert (made.phase, made.remote_id, made.cost.state) == (RemotePhase.DRAFT, UUID_22, CostState.NONE)


def test_an_address_goes_into_the_draft_where_the_operation_has_one(source):
    wire = Wire(production(NOT_STARTED))

    made = service(wire, takes_urls=True).create(op(input_mode="url"), TASK, source, None)

    body = json.loads(wire.requests[0].content)
    assert body["input_file"] == source.url()
    assert "webhook" not in body
    assert (made.phase, made.input_mode) == (RemotePhase.STAGED, "url")
    assert "X-Amz-Signature" not in repr(made)


def test_an_operation_that_sends_tells_no_address(source):
    wire = Wire(production(INCOMPLETE))
    service(wire, takes_urls=True).create(op(), TASK, source, None)

    assert "input_file" not in json.loads(wire.requests[0].content)


def test_the_input_is_sent_as_one_part_of_known_length_under_a_name_of_ours(source):
    wire = Wire(production(INCOMPLETE), production(NOT_STARTED))

    sent = service(wire).upload(op(phase=RemotePhase.DRAFT, remote_id=UUID_22), TASK, source)

    request = wire.requests[1]
    assert wire.said == [f"GET {OBJECT}.json", f"POST {OBJECT}/upload.json"]
    assert int(request.headers["content-length"]) == len(request.content)
    assert "transfer-encoding" not in request.headers
    assert request.content.count(b"Content-Disposition") == 1
    assert b'name="input_file"; filename="musproj-9f2c41d0.wav"' in request.content
    assert source.path().read_bytes() in request.content
    assert b"whatever" not in request.content
    assert sent.phase is RemotePhase.STAGED


@pytest.mark.parametrize(
    ("status", "phase"),
    [(NOT_STARTED, RemotePhase.STAGED), (WAITING, RemotePhase.SUBMITTED), (DONE, RemotePhase.SUBMITTED)],
)
def test_an_input_that_is_there_is_not_sent_again(source, status, phase):
    wire = Wire(production(status))

    assert service(wire).upload(op(phase=RemotePhase.DRAFT, remote_id=UUID_22), TASK, source).phase is phase
    assert len(wire.requests) == 1


def test_a_draft_that_is_gone_is_made_anew(source):
    wire = Wire(httpx.Response(404, json=envelope(None, status_code=404)))

    found = service(wire).upload(op(phase=RemotePhase.DRAFT, remote_id=UUID_22), TASK, source)
    assert (found.phase, found.remote_id) == (RemotePhase.PLANNED, None)


def test_a_start_has_no_body_and_is_billed(source):
    wire = Wire(production(WAITING, status_string="Waiting"))

    started = service(wire).submit(staged(), TASK, source, HOOK)

    assert wire.said == [f"POST {OBJECT}/start.json"]
    assert wire.requests[0].content == b""
    assert (started.remote_id, started.cost.state) == (UUID_22, CostState.BILLED)


def test_the_rest_is_said_by_path_alone():
    wire = Wire(production(4), production(13), {}, {"credits": 2.5, "onetime_credits": 2.5, "recurring_credits": 0.0})
    auphonic = service(wire)

    auphonic.poll([running()])
    auphonic.cancel(running())
    auphonic.cleanup(op(phase=RemotePhase.COMMITTED, remote_id=UUID_22))
    assert auphonic.balance() == (2.5, "credit_hour")

    assert wire.said == [
        f"GET {OBJECT}.json", f"POST {OBJECT}/stop.json", f"DELETE {OBJECT}.json", "GET /api/user.json"
    ]  # fmt: skip
    assert {request.headers["authorization"] for request in wire.requests} == {f"Bearer {KEY}"}
    assert not any(request.content for request in wire.requests)


# ── what is found ────────────────────────────────────────────────────────────────────────────────


def test_a_lost_id_is_found_by_the_name_among_the_newest():
    other = production(DONE, uuid="other", output_basename="musproj-ffff")
    wire = Wire([other, production(INCOMPLETE)])

    found = service(wire).find(op())

    assert wire.said == ["GET /api/productions.json?limit=50"]
    assert (found.phase, found.remote_id) == (RemotePhase.DRAFT, UUID_22)


@pytest.mark.parametrize("listed", [[], [{}], None, {}, [production(DONE, output_basename="elses-9f2c41d0")]])
def test_nothing_of_the_name_is_nothing(listed):
    assert service(Wire(listed)).find(op()) is None


def test_installations_of_other_prefixes_do_not_find_each_others():
    assert service(Wire([production(INCOMPLETE)]), prefix="studio").find(op()) is None


@pytest.mark.parametrize(
    ("status", "phase", "cost"),
    [
        (INCOMPLETE, RemotePhase.DRAFT, CostState.MAYBE),
        (NOT_STARTED, RemotePhase.STAGED, CostState.MAYBE),
        *[(status, RemotePhase.SUBMITTED, CostState.BILLED) for status in (0, 1, 2, 3, 4, 11, 13, 15, 99, None)],
    ],
)
def test_what_a_found_production_says_of_the_money(status, phase, cost):
    asked = staged(cost=Cost(unit="credit_hour", estimate=0.05, state=CostState.MAYBE))
    found = service(Wire(production(status))).find(asked)

    assert (found.phase, found.cost.state, found.remote_id) == (phase, cost, UUID_22)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, json={"detail": "Not found"}),
        httpx.Response(200, json=envelope(None, status_code=404, error_message="Not found")),
    ],
)
def test_a_production_that_is_gone_is_gone_by_either_status(answer):
    assert service(Wire(answer)).find(staged()) is None


# ── how far it is ────────────────────────────────────────────────────────────────────────────────

RUNNING = RemoteState.RUNNING
STATES = {
    **dict.fromkeys((0, 1, 4, 5, 6, 7, 8, 12, 13, 14, 15, 16, 99, -1, None, "3"), RUNNING),
    2: RemoteState.FAILED,
    3: RemoteState.FINISHED,
    9: RemoteState.NEEDS_INPUT,
    10: RemoteState.NOT_STARTED,
    11: RemoteState.OUTDATED,
}


@pytest.mark.parametrize(("status", "state"), STATES.items())
def test_every_status_number_has_its_meaning_and_unknown_ones_run_on(status, state):
    (update,) = service(Wire(production(status))).poll([running()]).values()

    assert update.state is state
    assert update.fraction is None or 0 <= update.fraction < 1


def test_progress_does_not_fall_on_the_usual_way():
    usual = [1, 4, 5, 6]
    wire = Wire(*map(production, usual))
    auphonic = service(wire)
    fractions = [auphonic.poll([running()])[TOKEN].fraction for _ in usual]

    assert fractions == sorted(fractions)


def test_what_it_cost_is_what_it_says():
    done = production(DONE, used_credits={"recurring": 0.0, "onetime": 0.05, "combined": 0.05}, output_files=[MADE])

    update = service(Wire(done)).poll([running()])[TOKEN]
    assert (update.state, update.actual) == (RemoteState.FINISHED, 0.05)


@pytest.mark.parametrize("used", [None, {}, {"combined": None}, {"combined": "0.05"}])
def test_a_cost_that_it_does_not_say_is_none(used):
    assert service(Wire(production(DONE, used_credits=used))).poll([running()])[TOKEN].actual is None


def test_a_failure_tells_the_services_reason():
    failed = production(2, status_string="Error", error_status=5, error_message="No speech. See https://x.example/?k=1")

    fault = service(Wire(failed)).poll([running()])[TOKEN].fault
    assert (fault.code, fault.message) == ("remote_rejected", "Auphonic: No speech. See https://x.example/")


@pytest.mark.parametrize("fields", [{}, {"error_message": None}, {"error_message": ""}])
def test_a_failure_without_a_reason_is_one_too(fields):
    fault = service(Wire(production(2, **fields))).poll([running()])[TOKEN].fault
    assert fault.message == "Auphonic: Auphonic gives no reason."


@pytest.mark.parametrize("answer", [{}, None, [], "text", {"uuid": UUID_22}, {"status": {}}])
def test_a_production_without_its_fields_runs_on(answer):
    assert service(Wire(answer)).poll([running()])[TOKEN].state is RUNNING


def test_one_that_it_does_not_know_is_gone_and_the_others_are_told():
    second = attrs.evolve(running(), token="11111111-1111-5222-8333-444455556666", remote_id="other")
    wire = Wire(httpx.Response(404, json=envelope(None, status_code=404)), production(4, uuid="other"))

    updates = service(wire).poll([running(), second])
    assert [updates[one.token].state for one in (running(), second)] == [RemoteState.GONE, RUNNING]


# ── what it made ─────────────────────────────────────────────────────────────────────────────────


def test_results_are_told_by_their_format_with_size_and_checksum():
    other = MADE | {"format": "flac", "size": 0, "checksum": "", "download_url": f"{DOWNLOAD}.flac"}
    unfinished = MADE | {"format": "mp3", "download_url": None}
    wire = Wire(production(DONE, output_files=[MADE, other, unfinished]))

    assert list(service(wire).outputs(running())) == [
        RemoteOutput(label="wav-24bit", url=DOWNLOAD, size=1446632, md5=MADE["checksum"]),
        RemoteOutput(label="flac", url=f"{DOWNLOAD}.flac", size=None, md5=None),
    ]


@pytest.mark.parametrize("files", [None, [], [{}], [PENDING], [{"format": "wav-24bit"}]])
def test_no_results_are_no_results(files):
    assert list(service(Wire(production(DONE, output_files=files))).outputs(running())) == []


def test_results_of_a_production_that_is_gone_are_stale():
    with pytest.raises(CallError) as caught:
        list(service(Wire(httpx.Response(404, json={}))).outputs(running()))
    assert caught.value.kind is CallClass.STALE


def test_a_download_follows_to_the_store_without_the_key(tmp_path):
    content = bytes(range(256)) * 10
    store = "https://bucket.s3.eu-central-1.amazonaws.com/a.wav?X-Amz-Signature=s"
    wire = Wire(httpx.Response(302, headers={"location": store}), httpx.Response(200, content=content))

    output = RemoteOutput(label="wav-24bit", url=DOWNLOAD.replace(NAME, "take 1"), size=len(content))
    fetched = service(wire).fetch(output, tmp_path / "out", max_bytes=1 << 20, check=lambda: None)

    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "out").read_bytes() == content
    assert wire.said[0].endswith("/take%201.wav")
    assert [request.headers.get("authorization") for request in wire.requests] == [f"Bearer {KEY}", None]
    assert "X-Amz-Signature" not in repr(output)


# ── the end ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [400, 404, 409])
def test_stopping_what_does_not_run_is_as_good(status):
    wire = Wire(httpx.Response(200, json=envelope(None, status_code=status, error_message="It does not run.")))
    service(wire).cancel(running())

    assert wire.said == [f"POST {OBJECT}/stop.json"]


def test_a_stop_that_was_not_heard_is_told():
    with pytest.raises(CallError) as caught:
        service(Wire(httpx.Response(503))).cancel(running())
    assert caught.value.kind is CallClass.TRANSIENT


def test_what_is_deleted_already_is_deleted():
    service(Wire(httpx.Response(404, json={}))).cleanup(op(phase=RemotePhase.COMMITTED, remote_id=UUID_22))


def test_all_drafts_of_the_name_are_deleted_where_the_id_is_not_known():
    twin = production(INCOMPLETE, uuid="twin")
    wire = Wire([production(INCOMPLETE), twin, production(DONE, uuid="other", output_basename="x"), {}], {}, {})
    service(wire).cleanup(op(intent="create"))

    assert wire.said[1:] == [f"DELETE {OBJECT}.json", "DELETE /api/production/twin.json"]


# ── calls that fail ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "start", "poll"),
    [
        (400, CallClass.REJECTED, CallClass.REJECTED),
        (401, CallClass.AUTH, CallClass.AUTH),
        (402, CallClass.QUOTA, CallClass.QUOTA),
        (403, CallClass.AUTH, CallClass.AUTH),
        (408, CallClass.AMBIGUOUS, CallClass.TRANSIENT),
        (422, CallClass.REJECTED, CallClass.REJECTED),
        (429, CallClass.REFUSED, CallClass.REFUSED),
        (500, CallClass.AMBIGUOUS, CallClass.TRANSIENT),
        (503, CallClass.AMBIGUOUS, CallClass.TRANSIENT),
    ],
)
@pytest.mark.parametrize("is_inside", [True, False])
def test_a_status_in_the_envelope_counts_as_one_of_http(source, status, start, poll, is_inside):
    body = envelope(None, status_code=status, error_message="No.")

    def answer():
        return httpx.Response(200 if is_inside else status, json=body)

    with pytest.raises(CallError) as started:
        service(Wire(answer())).submit(staged(), TASK, source, None)
    with pytest.raises(CallError) as polled:
        service(Wire(answer())).poll([running()])

    assert (started.value.kind, started.value.status) == (start, status)
    assert (polled.value.kind, polled.value.status) == (poll, status)
    assert "No." in started.value.message


@pytest.mark.parametrize(
    "errors", [{"preset": "Unknown preset"}, {"preset": ["Unknown preset"]}, {"algorithms": {"denoise": ["Unknown"]}}]
)
def test_what_is_wrong_with_a_form_is_told_in_any_shape(source, errors):
    wire = Wire(httpx.Response(200, json=envelope(None, status_code=400, form_errors=errors)))

    with pytest.raises(CallError, match="Unknown") as caught:
        service(wire).create(op(), TASK, source, None)
    assert caught.value.kind is CallClass.REJECTED


def test_a_refusal_tells_neither_addresses_nor_the_key(source):
    words = "Cannot fetch https://bucket.example/in.wav?X-Amz-Signature=secret"
    wire = Wire(httpx.Response(200, json=envelope(None, status_code=400, error_message=words)))

    with pytest.raises(CallError) as caught:
        service(wire).create(op(input_mode="url"), TASK, source, None)
    assert "https://bucket.example/in.wav" in caught.value.message
    assert "secret" not in f"{caught.value.message} {caught.value!r}"


@pytest.mark.parametrize("status_code", [None, "400", 200, 201])
def test_an_odd_status_in_the_envelope_is_no_failure(source, status_code):
    wire = Wire(httpx.Response(200, json=envelope(production(WAITING), status_code=status_code)))
    assert service(wire).submit(staged(), TASK, source, None).cost.state is CostState.BILLED


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>maintenance</html>"),
        httpx.Response(200, text='{"data": ['),
        httpx.Response(200, json=[1]),
        httpx.ReadTimeout("late"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
    ],
)
def test_a_start_without_an_answer_is_in_doubt(source, answer):
    with pytest.raises(CallError) as caught:
        service(Wire(answer)).submit(staged(), TASK, source, None)
    assert caught.value.kind is CallClass.AMBIGUOUS


@pytest.mark.parametrize("data", [None, {}, [], "text"])
def test_a_draft_without_an_id_is_in_doubt(source, data):
    auphonic = service(Wire(data))

    with pytest.raises(CallError) as caught:
        called(lambda: auphonic.create(op(), TASK, source, None), is_effect=True)
    assert caught.value.kind is CallClass.AMBIGUOUS


# ── what it declares ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("seconds", "hours"), [(5.5, 0.05), (180.0, 0.05), (3_600.0, 1.0), (36_000.0, 10.0), (None, 1.0), (0.0, 0.05)]
)
def test_three_minutes_are_billed_at_least(seconds, hours):
    cost = service(Wire()).estimate(TASK, seconds)
    assert (cost.unit, cost.estimate, cost.state) == ("credit_hour", pytest.approx(hours), CostState.NONE)


@pytest.mark.parametrize("takes_urls", [True, False])
def test_what_it_can_do(takes_urls):
    caps = service(Wire(), takes_urls=takes_urls).caps

    assert (caps.has_drafts, caps.has_tags, caps.sends_hints, caps.has_free_restarts) == (True,) * 4
    assert (caps.idempotency, caps.poll_batch, caps.takes_urls) == ("none", 1, takes_urls)
    assert (caps.max_upload_bytes, caps.task_life) == (None, None)


@pytest.mark.parametrize("left", [None, "2.5", -1, True, 10**400], ids=str)
def test_what_is_left_and_cannot_be_read_is_not_nothing(left):
    auphonic = service(Wire({"credits": left}, {}, {"credits": 0}))

    assert auphonic.caps.tells_balance
    assert [auphonic.balance() for _ in range(3)] == [None, None, (0.0, "credit_hour")]


def test_it_shows_no_key():
    auphonic = service(Wire())
    assert (auphonic.name, auphonic.account) == ("auphonic", "default")
    assert KEY not in repr(auphonic)


def test_its_connections_are_closed_with_it():
    class Transport(httpx.MockTransport):
        is_closed = False

        def close(self):
            self.is_closed = True

    transport = Transport(Wire())
    attrs.evolve(service(Wire()), transport=transport).close()
    assert transport.is_closed
