"""What is said to LALAL.AI v1, to the letter, and what is understood of its answers (its OpenAPI, and client code)."""

import hashlib
import json
from datetime import UTC, datetime
from uuid import UUID

import attrs
import httpx
import pytest

from musproj.adapters.services.client import ApiClient
from musproj.adapters.services.fetch import ResultFetcher
from musproj.adapters.services.lalal import HOSTS, UPGRADED, Lalal
from musproj.application.remote_calls import called
from musproj.domain.remote import Cost, CostState, RemoteOp, RemotePhase
from musproj.errors import RemoteHostRefusedError
from musproj.ports.remote import CallClass, CallError, RemoteInput, RemoteOutput, RemoteState
from musproj.processors._runs.lalal_params import LalalParams
from musproj.processors.lalal import lalal_task

URL = "https://www.lalal.ai/api/v1/"
KEY = "key-that-nobody-may-see"
TOKEN = "9f2c41d0-1111-5222-8333-444455556666"
SOURCE, TASK_ID, OTHER_ID, GONE_ID = (f"{n}{n}aa{n:04}-0000-4000-8000-000000000000" for n in (1, 2, 3, 4))
TASK = lalal_task(LalalParams())
HOST = "http://d.lalal.ai"
EXPIRES = 1_795_330_000


class Wire:
    """Answers in order by what it is given: a JSON object, a whole answer, or an exception; keeps the requests."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def __call__(self, request):
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    @property
    def said(self):
        return [f"{request.method} {request.url}".replace(URL, "") for request in self.requests]

    @property
    def bodies(self):
        return [json.loads(request.content) for request in self.requests]


def service(wire, **options):
    transport, headers = httpx.MockTransport(wire), {"X-License-Key": KEY}
    return Lalal(
        transport=transport,
        api=ApiClient(URL, headers, transport=transport),
        fetcher=ResultFetcher(transport, HOSTS, URL, headers, UPGRADED),
        **options,
    )


def op(**changes):
    known = {
        "service": "lalal",
        "account": "default",
        "token": TOKEN,
        "request_digest": "d",
        "cost": Cost(unit="minute", estimate=1.0),
        **changes,
    }
    return RemoteOp(**known)


def staged():
    return op(phase=RemotePhase.STAGED, upload_ref=SOURCE)


def running(remote_id=TASK_ID, token=TOKEN):
    return op(phase=RemotePhase.SUBMITTED, upload_ref=SOURCE, remote_id=remote_id, token=token)


def refusal(code, detail="No.", status=400):
    return httpx.Response(status, json={"detail": detail, "code": code})


def progress(percent, **fields):
    return {"status": "progress", "source_id": SOURCE, "presets": {"task_type": "split"}, "progress": percent, **fields}


def track(label, kind="stem", **fields):
    return {"type": kind, "label": label, "url": f"{HOST}/{TASK_ID}/r/{label}", **fields}


def success(*tracks, duration=233):
    return {
        "status": "success",
        "source_id": SOURCE,
        "presets": {"label": "enhanced"},
        "result": {"duration": duration, "tracks": list(tracks)},
    }


BOTH = (track("vocals", size=None), track("no_vocals", "back"))


def of_task(told):
    return {"result": {TASK_ID: told}}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "whatever the user called it.wav"
    path.write_bytes(bytes(range(256)) * 1_000)
    return RemoteInput(path=lambda: path, url=lambda: None, size=path.stat().st_size, duration=233.0, extension="wav")


# ── what is said ─────────────────────────────────────────────────────────────────────────────────


def test_the_input_is_sent_raw_with_its_length_under_a_name_of_ours(source):
    answer = {"id": SOURCE, "name": "musproj-9f2c41d0.wav", "size": source.size, "duration": 233, "expires": EXPIRES}
    wire = Wire(answer)

    sent = service(wire).upload(op(), TASK, source)

    (request,) = wire.requests
    assert wire.said == ["POST upload/"]
    assert request.headers["x-license-key"] == KEY
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.headers["content-disposition"] == 'attachment; filename="musproj-9f2c41d0.wav"'
    assert request.headers["content-length"] == str(source.size)
    assert "transfer-encoding" not in request.headers
    assert request.content == source.path().read_bytes()
    assert (sent.phase, sent.upload_ref) == (RemotePhase.STAGED, SOURCE)
    assert sent.upload_expires == datetime.fromtimestamp(EXPIRES, UTC)
    assert sent.cost.state is CostState.NONE


def test_each_try_reads_the_input_anew(source):
    answer = {"id": SOURCE, "expires": EXPIRES}
    wire = Wire(httpx.Response(503), answer)
    lalal = service(wire)

    with pytest.raises(CallError) as caught:
        lalal.upload(op(), TASK, source)
    lalal.upload(op(), TASK, source)

    assert caught.value.kind is CallClass.TRANSIENT
    assert [len(request.content) for request in wire.requests] == [source.size] * 2


@pytest.mark.parametrize(
    ("params", "call", "presets"),
    [
        (
            {"splitter": "andromeda"},
            "stem_separator",
            {
                "stem": "vocals", "splitter": "andromeda", "extraction_level": "deep_extraction",
                "dereverb_enabled": False, "encoder_format": "wav",
            },
        ),
        (
            {"stem": "drum", "format": "flac"},
            "stem_separator",
            {"stem": "drum", "extraction_level": "deep_extraction", "encoder_format": "flac"},
        ),
        (
            {"lead_and_backing": True},
            "stem_separator",
            {
                "stem": "vocals", "extraction_level": "deep_extraction", "dereverb_enabled": False,
                "multivocal": "lead_back", "encoder_format": "wav",
            },
        ),
        (
            {"stem": "vocals, drum"},
            "multistem",
            {"stem_list": ["vocals", "drum"], "extraction_level": "deep_extraction", "encoder_format": "wav"},
        ),
        (
            {"task": "voice_clean", "noise_cancelling": 2, "dereverb": True},
            "voice_clean",
            {"stem": "voice", "noise_cancelling_level": 2, "dereverb_enabled": True, "encoder_format": "wav"},
        ),
        ({"task": "demuser"}, "demuser", {"stem": "music", "encoder_format": "wav"}),
    ],
)  # fmt: skip
def test_a_split_tells_source_presets_and_the_key(source, params, call, presets):
    wire = Wire({"task_id": TASK_ID})

    bought = service(wire).submit(staged(), lalal_task(LalalParams(**params)), source, "https://no.hooks/here")

    (body,) = wire.bodies
    assert wire.said == [f"POST split/{call}/"]
    assert wire.requests[0].headers["content-type"] == "application/json"
    assert set(body) == {"source_id", "presets", "idempotency_key"}
    assert (body["source_id"], body["presets"]) == (SOURCE, presets)
    assert bought.remote_id == TASK_ID


def test_the_key_is_a_random_uuid_by_its_form_and_always_the_same(source):
    wire = Wire({"task_id": TASK_ID}, {"task_id": TASK_ID})
    for _ in range(2):
        service(wire).submit(staged(), TASK, source, None)

    first, second = (UUID(body["idempotency_key"]) for body in wire.bodies)
    assert first == second
    assert (first.version, first.variant) == (4, UUID(TOKEN).variant)
    assert first != UUID(TOKEN)


def test_all_operations_are_asked_for_at_once():
    wire = Wire({"result": {}})
    service(wire).poll([running(), running(OTHER_ID, "other")])

    assert wire.said == ["POST check/"]
    assert wire.bodies == [{"task_ids": [TASK_ID, OTHER_ID]}]


def test_the_rest_is_said_by_a_body_of_one_field():
    wire = Wire({"result": {TASK_ID: {"status": "success"}}}, {}, {"minutes_left": 12.5})
    lalal = service(wire)

    lalal.cancel(running())
    lalal.cleanup(running())
    assert lalal.balance() == (12.5, "minute")

    assert wire.said == ["POST cancel/", "POST delete/", "POST limits/minutes_left/"]
    assert [request.content for request in wire.requests[2:]] == [b""]
    assert [json.loads(request.content) for request in wire.requests[:2]] == [
        {"task_ids": [TASK_ID]}, {"source_id": SOURCE}
    ]  # fmt: skip
    assert {request.headers["x-license-key"] for request in wire.requests} == {KEY}


def test_nothing_is_said_of_what_is_not_there():
    wire = Wire()
    lalal = service(wire)
    lalal.cancel(staged())
    lalal.cleanup(op())

    assert wire.said == []


# ── how far it is ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("told", "state", "fraction"),
    [
        (progress(0), RemoteState.QUEUED, 0.0),
        (progress(42), RemoteState.RUNNING, 0.42),
        (progress(100), RemoteState.RUNNING, 1.0),
        (progress(None), RemoteState.QUEUED, None),
        ({"status": "progress"}, RemoteState.QUEUED, None),
        (success(*BOTH), RemoteState.FINISHED, 1.0),
        ({"status": "success"}, RemoteState.FINISHED, 1.0),
        ({"status": "success", "result": None}, RemoteState.FINISHED, 1.0),
        ({"status": "error", "error": {"detail": "No voice.", "code": None, "id": None}}, RemoteState.FAILED, None),
        ({"status": "cancelled", "source_id": SOURCE}, RemoteState.CANCELLED, None),
        ({"status": "server_error", "error": "Failed to extract information about task"}, RemoteState.GONE, None),
        ({"status": "of the future"}, RemoteState.RUNNING, None),
        ({}, RemoteState.GONE, None),
        (None, RemoteState.GONE, None),
    ],
)
def test_every_status_has_its_meaning(told, state, fraction):
    (update,) = service(Wire(of_task(told))).poll([running()]).values()
    assert (update.state, update.fraction) == (state, fraction)


def test_the_example_of_three_tasks_is_told_apart():
    wire = Wire(
        {
            "result": {
                TASK_ID: progress(42),
                OTHER_ID: {
                    "status": "error", "source_id": SOURCE, "presets": {},
                    "error": {"detail": "Unable to detect voice", "code": "inference_error", "id": None},
                },
                GONE_ID: {"status": "server_error", "error": "Failed to extract information about task"},
            }
        }
    )  # fmt: skip
    ops = [running(), running(OTHER_ID, "other"), running(GONE_ID, "gone"), running("missing", "missing")]

    updates = service(wire).poll(ops)
    assert {token: update.state for token, update in updates.items()} == {
        TOKEN: RemoteState.RUNNING,
        "other": RemoteState.FAILED,
        "gone": RemoteState.GONE,
        "missing": RemoteState.GONE,
    }
    assert updates["other"].fault.message == "LALAL.AI: Unable to detect voice"


def test_an_answer_without_our_task_knows_nothing_of_it():
    assert service(Wire({"result": {}})).poll([running()])[TOKEN].state is RemoteState.GONE


@pytest.mark.parametrize("answer", [{}, {"result": None}, {"result": []}, {"detail": "odd"}])
def test_an_answer_that_tells_of_no_task_says_nothing_of_ours(answer):
    with pytest.raises(CallError) as caught:
        service(Wire(answer)).poll([running()])
    assert caught.value.kind is CallClass.TRANSIENT


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"detail": "No voice. See https://x.example/?k=1"}, "No voice. See https://x.example/"),
        ({"detail": None}, "no reason given"),
        ({}, "no reason given"),
        (None, "no reason given"),
        ("of text", "of text"),
    ],
)
def test_a_failure_tells_the_services_reason(error, words):
    fault = service(Wire(of_task({"status": "error", "error": error}))).poll([running()])[TOKEN].fault
    assert (fault.code, fault.message) == ("remote_rejected", f"LALAL.AI: {words}")


@pytest.mark.parametrize(
    ("tracks", "stems"),
    [
        (BOTH, 1),
        ((track("vocals"), track("drum"), track("no_multistem", "back")), 2),
        ((track("vocals@0"), track("vocals@1"), track("no_vocals", "back")), 1),
        ((track("no_vocals", "back"),), 1),
        ((), 1),
    ],
)
def test_the_length_of_a_result_tells_what_it_should_have_cost(tracks, stems):
    assert service(Wire(of_task(success(*tracks)))).poll([running()])[TOKEN].actual == pytest.approx(233 * stems / 60)


@pytest.mark.parametrize("result", [None, {}, {"duration": None}, {"duration": "233"}, {"tracks": None}])
def test_a_result_without_a_length_tells_no_cost(result):
    update = service(Wire(of_task({"status": "success", "result": result}))).poll([running()])[TOKEN]
    assert (update.state, update.actual) == (RemoteState.FINISHED, None)


# ── what it made ─────────────────────────────────────────────────────────────────────────────────


def test_tracks_are_told_by_their_label_with_a_size_where_there_is_one():
    wire = Wire(of_task(success(*BOTH, track("waveform", "preview"))))

    assert list(service(wire).outputs(running())) == [
        RemoteOutput(label="vocals", url=f"{HOST}/{TASK_ID}/r/vocals", size=None),
        RemoteOutput(label="no_vocals", url=f"{HOST}/{TASK_ID}/r/no_vocals", size=None),
    ]
    assert wire.said == ["POST check/"]


@pytest.mark.parametrize("has_second", [True, False])
def test_lead_and_backing_vocals_come_under_the_labels_that_the_task_knows(has_second):
    task = lalal_task(LalalParams(lead_and_backing=True))
    tracks = [track("vocals@0"), track("no_vocals", "back"), track("mix_no_lead", "back")]
    tracks += [track("vocals@1", size=7)] if has_second else []

    labels = {output.label for output in service(Wire(of_task(success(*tracks)))).outputs(running())}
    assert labels <= set(task.files)
    assert set(task.files) - labels <= task.optional


@pytest.mark.parametrize("told", [None, progress(99), {"status": "server_error", "error": "Permission denied"}])
def test_results_of_a_task_that_it_does_not_know_are_stale(told):
    with pytest.raises(CallError) as caught:
        list(service(Wire(of_task(told))).outputs(running()))
    assert caught.value.kind is CallClass.STALE


def test_a_track_is_fetched_by_https_and_without_the_key(tmp_path):
    content = bytes(range(256))
    wire = Wire(httpx.Response(200, content=content))

    output = RemoteOutput(label="vocals", url=f"{HOST}/{TASK_ID}/r/vo cals")
    fetched = service(wire).fetch(output, tmp_path / "out", max_bytes=1 << 20, check=lambda: None)

    assert wire.said == [f"GET https://d.lalal.ai/{TASK_ID}/r/vo%20cals"]
    assert "x-license-key" not in wire.requests[0].headers
    assert (fetched.size, fetched.sha256) == (256, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("url", ["https://lalal.ai.evil.tld/x", "http://lalal.ai:81/x", "https://u:p@d.lalal.ai/x"])
def test_a_track_that_is_elsewhere_is_not_fetched(tmp_path, url):
    wire = Wire()
    with pytest.raises(RemoteHostRefusedError):
        service(wire).fetch(
            RemoteOutput(label="vocals", url=url), tmp_path / "out", max_bytes=1 << 20, check=lambda: None
        )
    assert wire.said == []


# ── the end ──────────────────────────────────────────────────────────────────────────────────────


def test_stopping_what_does_not_run_is_as_good():
    error = {"status": "server_error", "error": "Task is not in progress state"}
    service(Wire({"result": {TASK_ID: error}})).cancel(running())


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_source_that_is_gone_is_deleted(status):
    service(Wire(httpx.Response(status, json={"detail": "Unknown source"}))).cleanup(running())


@pytest.mark.parametrize(("status", "kind"), [(403, CallClass.AUTH), (500, CallClass.TRANSIENT)])
def test_a_deletion_that_was_not_heard_is_told(status, kind):
    with pytest.raises(CallError) as caught:
        service(Wire(httpx.Response(status))).cleanup(running())
    assert caught.value.kind is kind


# ── calls that fail ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal("idempotency_key_used", "Idempotency key has already been used."), CallClass.AMBIGUOUS),
        (refusal("internal_error"), CallClass.AMBIGUOUS),
        (refusal("exceeded_duration", "The minutes are used up."), CallClass.QUOTA),
        (refusal("exceeded_size"), CallClass.REJECTED),
        (refusal("max_duration"), CallClass.REJECTED),
        (refusal("batch_not_avaliable"), CallClass.REJECTED),
        (refusal("source_not_found"), CallClass.STALE),
        (refusal(None, "Unknown source_id"), CallClass.STALE),
        (httpx.Response(422, json={"detail": [{"loc": ["body", "source_id"], "msg": "bad"}]}), CallClass.STALE),
        (httpx.Response(422, json={"detail": [{"loc": ["body", "presets"], "msg": "bad"}]}), CallClass.REJECTED),
        (httpx.Response(422, json={"detail": {"presets": "bad"}}), CallClass.REJECTED),
        (httpx.Response(403, json={"detail": "Provide license key in 'X-License-Key' header"}), CallClass.AUTH),
        (httpx.Response(403, json={"detail": "Not your source"}), CallClass.AUTH),
        (httpx.Response(402, json={}), CallClass.QUOTA),
        (httpx.Response(429, headers={"retry-after": "7"}), CallClass.REFUSED),
        (httpx.Response(503, headers={"retry-after": "7"}), CallClass.REFUSED),
        (httpx.Response(500, json={"detail": "source"}), CallClass.AMBIGUOUS),
        (httpx.Response(200, text="<html>maintenance</html>"), CallClass.AMBIGUOUS),
        (httpx.ReadTimeout("late"), CallClass.AMBIGUOUS),
        (httpx.ConnectError("refused"), CallClass.NOT_SENT),
    ],
)
def test_what_a_split_that_fails_means(source, answer, kind):
    with pytest.raises(CallError) as caught:
        service(Wire(answer)).submit(staged(), TASK, source, None)
    assert caught.value.kind is kind


@pytest.mark.parametrize("code", ["idempotency_key_used", "source_not_found"])
def test_a_failure_that_means_something_else_keeps_what_was_said(source, code):
    answer = httpx.Response(400, json={"detail": "So it is.", "code": code}, headers={"x-request-id": "r1"})
    with pytest.raises(CallError, match="So it is") as caught:
        service(Wire(answer)).submit(staged(), TASK, source, None)

    assert (caught.value.status, caught.value.code, caught.value.request_id) == (400, code, "r1")


@pytest.mark.parametrize("answer", [{}, {"task": TASK_ID}])
def test_a_split_that_names_no_task_is_in_doubt(source, answer):
    lalal = service(Wire(answer))
    with pytest.raises(CallError) as caught:
        called(lambda: lalal.submit(staged(), TASK, source, None), is_effect=True)
    assert caught.value.kind is CallClass.AMBIGUOUS


@pytest.mark.parametrize("expires", [None, "soon", -1, True, 1e30, 1_795_330_000_000])
def test_an_upload_whose_end_makes_no_sense_has_none(source, expires):
    staged = service(Wire({"id": SOURCE, "expires": expires})).upload(op(), TASK, source)
    assert (staged.upload_ref, staged.upload_expires) == (SOURCE, None)


@pytest.mark.parametrize("answer", [{}, {"id": None}, {"id": ""}, {"id": {"a": 1}}, {"expires": 1}])
def test_an_upload_that_is_not_told_of_is_sent_again(source, answer):
    lalal = service(Wire(answer))
    with pytest.raises(CallError) as caught:
        called(lambda: lalal.upload(op(), TASK, source))
    assert caught.value.kind is CallClass.TRANSIENT


def test_questions_too_many_are_answered_by_how_long_to_wait():
    with pytest.raises(CallError) as caught:
        service(Wire(httpx.Response(429, headers={"retry-after": "7"}))).poll([running()])
    assert (caught.value.kind, caught.value.retry_after) == (CallClass.REFUSED, 7.0)


def test_no_message_holds_the_key(source):
    wire = Wire(httpx.Response(403, json={"detail": f"Unknown license key {KEY}", "code": KEY}))
    with pytest.raises(CallError) as caught:
        service(wire).submit(staged(), TASK, source, None)
    assert KEY not in f"{caught.value.message} {caught.value.code} {caught.value!r}"


# ── what it declares ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("params", "seconds", "minutes"),
    [
        ({}, 90.0, 1.5),
        ({"stem": "vocals,drum,bass"}, 90.0, 4.5),
        ({"lead_and_backing": True}, 90.0, 1.5),
        ({"task": "voice_clean"}, 90.0, 1.5),
        ({}, 0.0, 0.0),
        ({}, None, 60.0),
    ],
)
def test_minutes_are_billed_for_each_stem(params, seconds, minutes):
    cost = service(Wire()).estimate(lalal_task(LalalParams(**params)), seconds)
    assert (cost.unit, cost.estimate, cost.state) == ("minute", pytest.approx(minutes), CostState.NONE)


def test_what_it_can_do():
    caps = service(Wire()).caps

    assert (caps.has_drafts, caps.has_tags, caps.sends_hints, caps.takes_urls) == (False,) * 4
    assert (caps.idempotency, caps.poll_batch, caps.max_upload_bytes) == ("until_start", 200, 10_000_000_000)
    assert caps.limits_polls_alone
    assert caps.calls_per_minute + caps.burst <= 30, "what it allows"
    assert caps.upload_life == caps.task_life
    assert caps.task_life.total_seconds() == 86_400


@pytest.mark.parametrize(
    "call", [lambda one: one.find(op()), lambda one: one.create(op(), TASK, None, None)], ids=["find", "create"]
)
def test_what_it_cannot_do_is_no_call(call):
    wire = Wire()
    with pytest.raises(CallError, match=r"LALAL\.AI") as caught:
        call(service(wire))
    assert (caught.value.kind, wire.said) == (CallClass.FATAL, [])


@pytest.mark.parametrize("left", [None, "12.5", -1, True, 10**400], ids=str)
def test_what_is_left_and_cannot_be_read_is_not_nothing(left):
    lalal = service(Wire({"minutes_left": left}, {}, {"minutes_left": 0}))

    assert lalal.caps.tells_balance
    assert [lalal.balance() for _ in range(3)] == [None, None, (0.0, "minute")]


def test_it_shows_no_key():
    lalal = service(Wire())
    assert (lalal.name, lalal.account) == ("lalal", "default")
    assert KEY not in repr(lalal)


def test_its_connections_are_closed_with_it():
    class Transport(httpx.MockTransport):
        is_closed = False

        def close(self):
            self.is_closed = True

    transport = Transport(Wire())
    attrs.evolve(service(Wire()), transport=transport).close()
    assert transport.is_closed
