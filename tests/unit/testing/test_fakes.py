import hashlib
import io
import json
import subprocess
import sys
import threading
import time
import uuid
import wave
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import httpx
import pytest

from musproj.testing.fakes import KINDS, FakeServices, Options, media_of, parse, wav

SOUND = wav(2.0)
BEARER = {"Authorization": "Bearer k"}
LICENSE = {"X-License-Key": "k"}


@pytest.fixture
def fakes():
    with FakeServices() as fakes:
        yield fakes


@pytest.fixture
def plain():
    """A client without a key, as results want it."""
    with httpx.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def auphonic(fakes):
    with httpx.Client(base_url=fakes.auphonic_url, headers=BEARER, trust_env=False) as client:
        yield client


@pytest.fixture
def lalal(fakes):
    with httpx.Client(base_url=fakes.lalal_url, headers=LICENSE, trust_env=False) as client:
        yield client


def draft(auphonic, **fields):
    asked = {"output_files": [{"format": "wav-24bit"}], "output_basename": "musproj-1", **fields}
    answer = auphonic.post("/productions.json", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["uuid"]


def put_in(auphonic, production, content=SOUND, name="a.wav"):
    return auphonic.post(f"/production/{production}/upload.json", files={"input_file": (name, content)})


def staged(auphonic, content=SOUND, **fields):
    production = draft(auphonic, **fields)
    assert put_in(auphonic, production, content).json()["data"]["status"] == 10
    return production


def start(auphonic, production):
    return auphonic.post(f"/production/{production}/start.json")


def get(auphonic, production):
    return auphonic.get(f"/production/{production}.json").json()["data"]


def statuses(auphonic, production, count):
    return [get(auphonic, production)["status"] for _ in range(count)]


def done(auphonic, **fields):
    production = staged(auphonic, **fields)
    start(auphonic, production)
    for _ in range(10):
        data = get(auphonic, production)
        if data["status"] == 3:
            return data
    raise AssertionError(data)


def signed_url(auphonic, data):
    answer = auphonic.get(data["output_files"][0]["download_url"])
    assert answer.status_code == 302
    return answer.headers["Location"]


def uploaded(lalal, content=SOUND, name="a.wav"):
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Type": "application/octet-stream"}
    answer = lalal.post("upload/", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def split(lalal, source, *, kind="stem_separator", key=None, **presets):
    presets = presets or {"stem": "vocals", "encoder_format": "wav"}
    asked = {"source_id": source, "presets": presets, **({"idempotency_key": key} if key else {})}
    return lalal.post(f"split/{kind}/", json=asked)


def check(lalal, *tasks):
    return lalal.post("check/", json={"task_ids": list(tasks)})


def finished(fakes, lalal, **asked):
    task = split(lalal, uploaded(lalal), **asked).json()["task_id"]
    fakes.finish(task)
    return check(lalal, task).json()["result"][task]


def tracks(result):
    return {track["label"]: track for track in result["result"]["tracks"]}


def new_key():
    return str(uuid.uuid4())


def eventually(condition):
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)


class Receiver:
    """Where webhooks arrive."""

    def __init__(self):
        forms = self.forms = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                forms.append({name: values[0] for name, values in parse_qs(body).items()})
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


# ── audio ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("channels", "width", "seconds"), [(1, 2, 1.0), (2, 3, 0.5), (1, 3, 0.000125)])
def test_a_tone_is_a_wav_file_that_others_can_read(channels, width, seconds):
    content = wav(seconds, channels=channels, width=width)
    media = parse(content)
    assert (media.channels, media.rate, media.frames) == (channels, 8_000, round(8_000 * seconds))
    assert media_of(content, len(content), default_duration=9) == media
    with wave.open(io.BytesIO(content)) as file:
        assert file.getsampwidth() == width


def test_anything_else_counts_as_mono_of_the_usual_length():
    media = media_of(b"ID3 what", 1_000, default_duration=9)
    assert (media.channels, media.rate, media.duration) == (1, 44_100, 9)


def test_labels_sound_different():
    assert len({wav(0.1, label=label) for label in ("vocals", "no_vocals", "drum", "no_multistem", "input")}) == 5


# ── Auphonic ─────────────────────────────────────────────────────────────────────────────────────


def test_a_production_goes_from_draft_to_result(fakes, auphonic, plain):
    production = draft(auphonic, metadata={"title": "Take 3"})
    first = get(auphonic, production)
    assert (first["status"], first["status_string"], first["start_allowed"]) == (9, "Incomplete", False)
    assert first["output_files"][0]["download_url"] is None
    assert put_in(auphonic, production).json()["data"]["input_file"] == "a.wav"
    assert fakes.state()["bills"] == []
    assert start(auphonic, production).json()["data"]["status_string"] == "Waiting"
    assert statuses(auphonic, production, 4) == [4, 5, 3, 3]

    data = get(auphonic, production)
    assert data["used_credits"]["combined"] == pytest.approx(0.05)
    assert (data["length"], data["channels"], data["samplerate"]) == (2.0, 1, 8_000)
    told = data["output_files"][0]
    assert told["filename"] == "musproj-1.wav"
    url = signed_url(auphonic, data)
    assert url.startswith("http://localhost:")
    content = plain.get(url).content
    assert len(content) == told["size"]
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == told["checksum"]
    assert parse(content).frames == 16_000

    assert auphonic.delete(f"/production/{production}.json").status_code == 200
    assert auphonic.get(f"/production/{production}.json").status_code == 404
    state = fakes.state()
    assert state["deleted"] == [production]
    assert state["bills"] == [
        {"service": "auphonic", "id": production, "units": pytest.approx(0.05), "tag": "musproj-1"}
    ]
    assert (state["live"], state["running"], state["max_concurrent"]) == (0, 0, 1)
    assert state["leaks"] == state["forbidden"] == []


def test_the_same_input_is_billed_once_and_another_one_again(fakes, auphonic):
    production = done(auphonic)["uuid"]
    assert start(auphonic, production).status_code == 200
    assert start(auphonic, production).status_code == 400  # it runs
    assert put_in(auphonic, production).status_code == 400
    assert len(fakes.state()["bills"]) == 1
    fakes.finish(production)
    put_in(auphonic, production, wav(400.0, rate=100))
    start(auphonic, production)
    assert [bill["units"] for bill in fakes.state()["bills"]] == pytest.approx([180 / 3_600, 400 / 3_600])


def test_a_start_needs_an_input_and_credits(fakes, auphonic):
    refusal = start(auphonic, draft(auphonic))
    assert (refusal.status_code, refusal.json()["data"]) == (400, None)
    assert refusal.json()["error_message"]
    fakes.reset(balance_hours=0.01)
    assert start(auphonic, staged(auphonic)).json()["error_message"] == "Not enough credits"
    assert fakes.state()["bills"] == []


def test_bad_drafts_are_refused_with_form_errors(auphonic):
    assert auphonic.post("/productions.json", content=b"{").json()["form_errors"]
    refusal = auphonic.post("/productions.json", json={"output_files": [{"format": "mp3"}]})
    assert refusal.status_code == refusal.json()["status_code"] == 400
    assert "output_files" in refusal.json()["form_errors"]
    assert get(auphonic, draft(auphonic, output_files=[]))["output_files"][0]["format"] == "wav"
    assert auphonic.post(f"/production/{draft(auphonic)}/upload.json", data={"x": "y"}).status_code == 400


def test_an_address_as_input_is_not_fetched(auphonic):
    production = draft(auphonic, input_file="https://example.org/a.mp3", action="start")
    assert statuses(auphonic, production, 4) == [12, 4, 5, 3]
    assert get(auphonic, production)["length"] == 60


def test_the_list_shows_the_newest_first_and_late(fakes, auphonic):
    made = [draft(auphonic, output_basename=f"b{n}") for n in range(12)]
    listed = auphonic.get("/productions.json").json()["data"]
    assert [item["uuid"] for item in listed] == made[:1:-1]
    assert auphonic.get("/productions.json?uuids_only=1&limit=2&offset=1").json()["data"] == [made[10], made[9]]
    fakes.reset(list_lag=10, minimal_drops_basename=True)
    draft(auphonic)
    assert auphonic.get("/productions.json").json()["data"] == []
    fakes.advance(11)
    assert auphonic.get("/productions.json").json()["data"][0]["output_basename"] == "musproj-1"
    assert "output_basename" not in auphonic.get("/productions.json?minimal_data=1").json()["data"][0]


def test_status_update_and_stop(auphonic):
    production = staged(auphonic)
    auphonic.post(f"/production/{production}.json", json={"output_files": [{"format": "wav"}], "output_basename": "x"})
    data = get(auphonic, production)
    assert [output["format"] for output in data["output_files"]] == ["wav-24bit", "wav"]
    assert data["output_basename"] == "x"
    stop = f"/production/{production}/stop.json"
    assert auphonic.post(stop).status_code == 400
    start(auphonic, production)
    assert auphonic.get(f"/production/{production}/status.json").json()["data"] == {
        "status": 4,
        "status_string": "Audio Processing",
    }
    assert auphonic.post(stop).json()["data"]["status"] == 13
    assert statuses(auphonic, production, 2) == [10, 10]


def test_small_auphonic_routes(fakes, auphonic):
    done(auphonic)
    user = auphonic.get("/user.json").json()["data"]
    assert user["credits"] == pytest.approx(99.95)
    assert {"onetime_credits", "recurring_credits", "recharge_date"} <= set(user)
    assert auphonic.get("/info/production_status.json").json()["data"]["9"] == "Incomplete"
    hook = "/preset/abc/webhook.json"
    assert auphonic.get(hook).json()["data"] == {"webhook": None}
    assert auphonic.post(hook, json={"webhook": "http://x.test/"}).json()["data"] == {"webhook": ["http://x.test/"]}
    assert auphonic.delete(hook).json()["data"] == {"webhook": None}
    assert auphonic.get("/what.json").json()["status_code"] == 404
    assert fakes.state()["forbidden"] == []


def test_the_simple_way_works_and_is_noted(fakes, auphonic):
    answer = auphonic.post(
        "/simple/productions.json",
        data={"title": "t", "action": "start", "output_basename": "s"},
        files={"input_file": ("a.wav", SOUND)},
    )
    assert answer.json()["data"]["status"] == 1
    state = fakes.state()
    assert state["forbidden"] == ["POST /api/simple/productions.json"]
    assert [bill["tag"] for bill in state["bills"]] == ["s"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic k"}])
def test_auphonic_wants_its_key(fakes, plain, headers):
    answer = plain.get(f"{fakes.auphonic_url}/user.json", headers=headers)
    assert (answer.status_code, answer.json()["status_code"], answer.json()["data"]) == (401, 401, None)
    url = f"{fakes.auphonic_url}/download/audio-result/x/y.wav"
    assert plain.get(url, headers=headers).status_code == 401
    assert plain.get(f"{fakes.auphonic_url}/user.json", headers={"authorization": "bearer k"}).status_code == 200


def test_scripts_tell_what_polls_answer(fakes, auphonic):
    fakes.script([{"statuses": [12, 15, 11, 3]}, {"statuses": [2, 3], "error": {"error_message": "too quiet"}}])
    odd, failing = staged(auphonic), staged(auphonic)
    start(auphonic, odd)
    start(auphonic, failing)
    assert statuses(auphonic, odd, 1) == [12]
    assert auphonic.get(f"/production/{odd}/status.json").json()["data"]["status_string"] == "Future State"
    assert statuses(auphonic, odd, 2) == [11, 11]  # outdated: it waits for a start
    start(auphonic, odd)
    assert statuses(auphonic, odd, 1) == [3]
    data = get(auphonic, failing)
    assert (data["status"], data["error_status"], data["error_message"]) == (2, 1, "too quiet")
    start(auphonic, failing)
    assert statuses(auphonic, failing, 1) == [3]
    assert len(fakes.state()["bills"]) == 2


def test_in_clock_mode_time_does_the_work(fakes, auphonic, lalal):
    fakes.reset(mode="clock", queue_seconds=5)
    production = staged(auphonic)
    start(auphonic, production)
    task = split(lalal, uploaded(lalal)).json()["task_id"]
    assert statuses(auphonic, production, 3) == [1, 1, 1]
    assert check(lalal, task).json()["result"][task]["progress"] == 0
    fakes.advance(6)
    assert statuses(auphonic, production, 2) == [4, 4]
    assert 0 < check(lalal, task).json()["result"][task]["progress"] < 100
    fakes.advance(5)
    assert fakes.state()["running"] == 0
    assert statuses(auphonic, production, 1) == [3]
    assert check(lalal, task).json()["result"][task]["status"] == "success"


def test_an_injected_clock_is_used():
    now = [1_000_000.0]
    with FakeServices(clock=lambda: now[0], mode="clock") as fakes, httpx.Client(trust_env=False) as client:
        source = client.post(
            f"{fakes.lalal_url}upload/", headers={**LICENSE, "Content-Disposition": "filename=a.mp3"}, content=b"x"
        ).json()
        assert (source["expires"], source["duration"]) == (1_086_400, 60)
        now[0] += 50
        assert fakes.requests[0].t == 1_000_000


def test_signed_addresses_expire(fakes, auphonic, plain):
    url = signed_url(auphonic, done(auphonic))
    assert plain.get(url.replace("musproj-1", "other")).status_code == 404
    assert plain.get(url.split("?")[0]).status_code == 403
    fakes.advance(3_601)
    answer = plain.get(url)
    assert answer.status_code == 403
    assert "Request has expired" in answer.text


# ── webhooks ─────────────────────────────────────────────────────────────────────────────────────


def test_a_webhook_tells_the_end(fakes, auphonic, receiver):
    production = done(auphonic, webhook=receiver.url)["uuid"]
    eventually(lambda: fakes.state()["webhooks"][0]["answered"] == 204)
    assert receiver.forms == [{"uuid": production, "status": "3", "status_string": "Done"}]
    failing = staged(auphonic, webhook=receiver.url)
    start(auphonic, failing)
    fakes.finish(failing, 2)
    eventually(lambda: len(receiver.forms) == 2)
    assert receiver.forms[1] == {"uuid": failing, "status": "2", "status_string": "Error"}


def test_in_clock_mode_a_webhook_needs_no_poll(fakes, auphonic, receiver):
    fakes.reset(mode="clock")
    start(auphonic, staged(auphonic, webhook=receiver.url))
    fakes.advance(100)
    eventually(lambda: len(receiver.forms) == 1)


def test_a_preset_has_webhooks_too(fakes, auphonic, receiver):
    auphonic.post("/preset/abc/webhook.json", json={"webhook": receiver.url})
    fakes.finish(staged(auphonic, preset="abc"))
    eventually(lambda: len(receiver.forms) == 1)


def test_nobody_needs_to_answer_a_webhook(fakes, auphonic):
    done(auphonic, webhook="http://127.0.0.1:9/")
    eventually(lambda: fakes.state()["webhooks"][0]["answered"] == "URLError")


@pytest.mark.parametrize(("kind", "count"), [("no_webhook", 0), ("duplicate_webhook", 2), ("late_webhook", 1)])
def test_webhook_faults(fakes, auphonic, receiver, kind, count):
    fakes.fault(kind=kind, seconds=0.1)
    done(auphonic, webhook=receiver.url)
    assert len(fakes.state()["webhooks"]) == count
    if kind == "late_webhook":
        assert receiver.forms == []
    eventually(lambda: len(receiver.forms) == count)


# ── LALAL ────────────────────────────────────────────────────────────────────────────────────────


def test_a_split_goes_from_upload_to_tracks(fakes, lalal, plain):
    key, source = new_key(), uploaded(lalal)
    answer = split(lalal, source, key=key)
    assert len(answer.headers["x-request-id"]) == 32
    task = answer.json()["task_id"]
    told = [check(lalal, task).json()["result"][task] for _ in range(3)]
    assert [(t["status"], t.get("progress")) for t in told] == [("progress", 30), ("progress", 60), ("success", None)]
    found = tracks(told[-1])
    assert {label: track["type"] for label, track in found.items()} == {"vocals": "stem", "no_vocals": "back"}
    assert told[-1]["result"]["duration"] == 2
    assert told[-1]["presets"]["task_type"] == "split"
    contents = [plain.get(track["url"]).content for track in found.values()]
    assert [len(content) for content in contents] == [track["size"] for track in found.values()]
    assert contents[0] != contents[1]
    assert parse(contents[0]).frames == 16_000
    assert fakes.state()["bills"] == [{"service": "lalal", "id": task, "units": pytest.approx(2 / 60), "tag": key}]
    assert lalal.post("limits/minutes_left/").json()["minutes_left"] == pytest.approx(1_000 - 2 / 60)

    assert lalal.post("delete/", json={"source_id": source}).json() == {}
    assert fakes.state()["live"] == 0
    assert fakes.state()["deleted"] == [source]
    assert plain.get(found["vocals"]["url"]).status_code == 200
    fakes.advance(3_601)
    assert plain.get(found["vocals"]["url"]).status_code == 404
    assert check(lalal, task).json()["result"][task]["status"] == "success"
    fakes.advance(86_400)
    assert check(lalal, task).json()["result"][task]["status"] == "server_error"


def test_an_upload_needs_a_name_and_has_a_limit(fakes, lalal):
    refusal = lalal.post("upload/", content=SOUND)
    assert (refusal.status_code, refusal.json()["code"]) == (400, "bad_request")
    named = lalal.post("upload/", content=SOUND, headers={"Content-Disposition": "attachment; filename*=utf-8''%C3%A4"})
    assert named.json()["name"] == "ä"
    assert set(named.json()) == {"id", "name", "size", "duration", "expires"}
    fakes.reset(max_bytes=10)
    refusal = lalal.post("upload/", content=SOUND, headers={"Content-Disposition": 'attachment; filename="a"'})
    assert refusal.json()["code"] == "exceeded_size"


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ({"stem": "drum"}, ["drum", "no_drum"]),
        ({"stem": "vocals", "multivocal": "lead_back"}, ["vocals@0", "vocals@1", "no_vocals", "mix_no_lead"]),
        ({"kind": "multistem", "stem_list": ["vocals", "bass"]}, ["vocals", "bass", "no_multistem"]),
        ({"kind": "voice_clean", "stem": "voice", "noise_cancelling_level": 1}, ["voice", "no_voice"]),
        ({"kind": "demuser", "stem": "music"}, ["music", "no_music"]),
    ],
)
def test_each_split_has_its_labels(fakes, lalal, asked, labels):
    assert list(tracks(finished(fakes, lalal, **asked))) == labels
    stems = len(asked.get("stem_list", [1]))
    assert [bill["units"] for bill in fakes.state()["bills"]] == pytest.approx([stems * 2 / 60])


def test_a_voice_is_changed(fakes, lalal):
    asked = {"source_id": uploaded(lalal), "presets": {"voice_pack_id": "p"}}
    task = lalal.post("change_voice/", json=asked).json()["task_id"]
    fakes.finish(task, "success")
    (track,) = check(lalal, task).json()["result"][task]["result"]["tracks"]
    assert (track["type"], track["label"]) == ("back", "converted_mix")
    assert lalal.post("voice_packs/list/", json={}).json() == {"packs": []}
    assert len(fakes.state()["bills"]) == 1


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"source_id": None}, ["source_id"]),
        ({"presets": None}, ["presets"]),
        ({"presets": {}}, ["presets", "stem"]),
        ({"presets": {"stem": "tuba"}}, ["presets", "stem"]),
        ({"presets": {"stem": "vocals", "splitter": "x"}}, ["presets", "splitter"]),
        ({"idempotency_key": str(uuid.uuid5(uuid.NAMESPACE_URL, "x"))}, ["idempotency_key"]),
    ],
)
def test_malformed_splits_are_told_by_field(fakes, lalal, change, loc):
    answer = lalal.post("split/stem_separator/", json={"source_id": "x", "presets": {"stem": "vocals"}, **change})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "split_input", *loc]
    assert fakes.state()["bills"] == []


def test_a_split_needs_a_source_minutes_and_wav(fakes, lalal):
    assert split(lalal, new_key()).json()["code"] == "source_not_found"
    source = uploaded(lalal)
    assert split(lalal, source, stem="vocals", encoder_format="mp3").status_code == 400
    fakes.advance(86_401)
    assert split(lalal, source).json()["code"] == "source_not_found"
    fakes.reset(balance_minutes=0.01)
    assert split(lalal, uploaded(lalal)).json()["code"] == "exceeded_duration"
    assert fakes.state()["bills"] == []


def test_a_key_counts_until_the_task_starts(fakes, lalal):
    source, key = uploaded(lalal), new_key()
    first, second = split(lalal, source, key=key), split(lalal, source, key=key)
    assert first.json() == second.json()
    check(lalal, first.json()["task_id"])
    third = split(lalal, source, key=key)
    assert (third.status_code, third.json()["code"]) == (400, "idempotency_key_used")
    assert len(fakes.state()["bills"]) == 1


def test_a_key_counts_for_some_time(fakes, lalal):
    fakes.reset(key_window="timed", queue_seconds=5)
    source, key = uploaded(lalal), new_key()
    task = split(lalal, source, key=key).json()["task_id"]
    check(lalal, task)
    assert split(lalal, source, key=key).json()["task_id"] == task
    fakes.advance(6)
    assert split(lalal, source, key=key).json()["code"] == "idempotency_key_used"


def test_a_key_never_counts_twice(fakes, lalal):
    fakes.reset(key_window="none")
    source, key = uploaded(lalal), new_key()
    assert split(lalal, source, key=key).status_code == 200
    assert split(lalal, source, key=key).json()["code"] == "idempotency_key_used"
    assert len(fakes.state()["bills"]) == 1


def test_a_batch_answers_in_order(fakes, lalal):
    source, unknown = uploaded(lalal), new_key()
    items = [{"source_id": name, "presets": {"stem": "voice"}} for name in (unknown, source)]
    first, second = lalal.post("split/batch/voice_clean/", json={"items": items}).json()["results"]
    assert (first["status"], first["code"], first["source_id"]) == ("error", "source_not_found", unknown)
    assert (second["status"], second["source_id"]) == ("success", source)
    assert len(fakes.state()["bills"]) == 1
    assert lalal.post("split/batch/voice_clean/", json={"items": [{}]}).status_code == 422
    assert lalal.post("split/batch/voice_clean/", json={"items": []}).status_code == 422
    fakes.reset(no_batch=True)
    assert lalal.post("split/batch/demuser/", json={"items": items}).json()["code"] == "batch_not_avaliable"


def test_checks_are_limited_per_minute(fakes, lalal):
    task = new_key()
    assert [check(lalal, task).status_code for _ in range(31)] == [200] * 30 + [429]
    refusal = check(lalal, task)
    assert refusal.json() == {"detail": "Too Many Requests"}
    assert "Retry-After" not in refusal.headers
    fakes.advance(61)
    assert check(lalal, task).json()["result"][task]["status"] == "server_error"


def test_a_check_takes_200_uuids(lalal):
    assert check(lalal, *(new_key() for _ in range(200))).status_code == 200
    assert check(lalal, *(new_key() for _ in range(201))).status_code == 422
    assert check(lalal, "tsk_1").status_code == 422


def test_scripts_tell_what_checks_answer(fakes, lalal):
    fakes.script(
        [
            {"statuses": [0, "missing", "server_error", "error"], "error": {"code": None}},
            {"statuses": ["success"], "without": ["vocals@1"]},
        ]
    )
    failing = split(lalal, uploaded(lalal)).json()["task_id"]
    told = [check(lalal, failing).json()["result"].get(failing) for _ in range(4)]
    assert told[0]["progress"] == 0
    assert told[1] is None
    assert told[2]["status"] == "server_error"
    detail = "Unable to detect voice/vocals in the uploaded files"
    assert told[3]["error"] == {"detail": detail, "code": None, "id": None}
    assert "vocals@1" not in tracks(finished(fakes, lalal, stem="vocals", multivocal="lead_back"))


def test_tasks_are_cancelled(fakes, lalal):
    source = uploaded(lalal)
    one, two, three = (split(lalal, source).json()["task_id"] for _ in range(3))
    unknown = new_key()
    assert lalal.post("cancel/", json={"task_ids": [one, unknown]}).json()["result"] == {
        one: {"status": "success"},
        unknown: {"status": "server_error", "error": "Failed to extract information about task"},
    }
    again = lalal.post("cancel/", json={"task_ids": [one]}).json()["result"][one]
    assert again["error"] == "Task is not in progress state"
    lalal.post("delete/", json={"source_id": source})
    lalal.post("delete/", json={"source_id": "unknown"})
    assert {t["status"] for t in check(lalal, two, three).json()["result"].values()} == {"cancelled"}
    four = split(lalal, uploaded(lalal)).json()["task_id"]
    assert four in lalal.post("cancel/all/").json()["result"]
    state = fakes.state()
    assert state["forbidden"] == ["POST /api/v1/cancel/all/"]
    assert (state["running"], state["max_concurrent"], state["live"]) == (0, 3, 1)


def test_sizes_may_be_untold(fakes, lalal):
    fakes.reset(null_size=True)
    assert {track["size"] for track in tracks(finished(fakes, lalal)).values()} == {None}


@pytest.mark.parametrize("headers", [{}, {"X-License-Key": "wrong"}])
def test_lalal_wants_its_key(fakes, plain, headers):
    answer = plain.post(f"{fakes.lalal_url}check/", headers=headers)
    assert answer.status_code == 403
    assert answer.json() == {"detail": "Provide license key in 'X-License-Key' header"}
    assert answer.headers["x-request-id"]


def test_lalal_wants_post(lalal):
    assert lalal.get("check/").status_code == 405
    assert lalal.post("what/").status_code == 404


# ── leaks, log, control ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["Authorization", "X-License-Key", "x-api-key", "xi-api-key", "Cookie"])
def test_a_key_at_the_results_host_is_a_leak(fakes, auphonic, lalal, plain, name):
    stored = plain.get(signed_url(auphonic, done(auphonic)), headers={name: "SENTINEL"})
    assert (stored.status_code, "<Error>" in stored.text) == (400, True)
    track = tracks(finished(fakes, lalal))["vocals"]
    assert plain.get(track["url"], headers={name: "SENTINEL"}).status_code == 400
    assert [leak["header"] for leak in fakes.state()["leaks"]] == [name.lower()] * 2
    assert "SENTINEL" not in str(fakes.state()["leaks"])


def test_a_key_in_the_query_is_a_leak(fakes, plain):
    assert plain.get(f"{fakes.auphonic_url}/user.json?bearer_token=k").status_code == 401
    assert [leak["header"] for leak in fakes.state()["leaks"]] == ["bearer_token"]


def test_requests_are_logged(fakes, auphonic):
    production = draft(auphonic)

    def chunks():
        yield SOUND[:100]
        yield SOUND[100:]

    auphonic.post(f"/production/{production}.json?x=1", content=chunks())
    first, second = fakes.requests
    assert (first.n, first.line, first.header("authorization")) == (1, "POST /api/productions.json", "Bearer k")
    assert (second.n, second.query, second.body_len) == (2, "x=1", len(SOUND))
    assert second.body_sha256 == hashlib.sha256(SOUND).hexdigest()
    assert [call["path"] for call in fakes.state()["calls"]] == [first.path, second.path]


def test_control_works_over_http_too(fakes, auphonic, plain):
    def control(name, data):
        return plain.post(f"{fakes.url}/_fake/{name}", json=data)

    assert control("reset", {"poll_ticks": 1}).json() == {}
    control("script", {"outcomes": [{"statuses": [5, 3]}]})
    control("faults", [{"path": "user", "kind": "status", "code": 418}])
    control("advance", {"seconds": 1_000})
    assert fakes.requests == []
    assert auphonic.get("/user.json").status_code == 418
    production = staged(auphonic)
    start(auphonic, production)
    assert statuses(auphonic, production, 1) == [5]
    control("finish", {"id": production, "status": 2})
    assert statuses(auphonic, production, 1) == [2]
    state = plain.get(f"{fakes.url}/_fake/state").json()
    assert state["bills"] == fakes.state()["bills"]
    assert state["calls"][0]["t"] > time.time() + 900


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("reset", {"what": 1}),
        ("reset", {"mode": "x"}),
        ("faults", [{"kind": "x"}]),
        ("script", {"outcomes": [{}]}),
        ("advance", {}),
        ("finish", {"id": "x"}),
        ("what", {}),
    ],
)
def test_a_wrong_control_call_says_so(fakes, plain, name, data):
    answer = plain.post(f"{fakes.url}/_fake/{name}", json=data)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_fakes_run_as_a_process(plain):
    command = [sys.executable, "-m", "musproj.testing.fakes", "--options", json.dumps({"api_key": "z"})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        assert plain.get(f"{url}/api/user.json", headers={"Authorization": "Bearer z"}).status_code == 200
        process.terminate()
        assert process.wait(10) == 0


def test_many_clients_at_once(fakes, auphonic):
    production = staged(auphonic)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: start(auphonic, production).status_code, range(8)))
    assert sorted(codes) == [200] + [400] * 7
    assert len(fakes.state()["bills"]) == 1


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────


def test_a_body_above_the_limit_is_refused(fakes, lalal):
    fakes.reset(max_body_bytes=1_000)
    disposition = {"Content-Disposition": 'attachment; filename="a"'}
    assert lalal.post("upload/", content=SOUND, headers=disposition).status_code == 413
    assert lalal.post("upload/", content=iter([SOUND]), headers=disposition).status_code == 413
    assert fakes.state()["live"] == 0


def test_bodies_need_not_be_kept(fakes, auphonic, lalal, plain):
    fakes.reset(keep_bodies=False, max_body_bytes=100_000, short_results=True)
    sound = wav(200.0)
    source = uploaded(lalal, sound)
    data = done(auphonic, content=sound)
    assert (data["length"], data["channels"]) == (200, 1)
    assert parse(plain.get(signed_url(auphonic, data)).content).duration == 60
    uploads = [call for call in fakes.requests if "upload" in call.path]
    assert uploads[0].body_sha256 == hashlib.sha256(sound).hexdigest()
    task = split(lalal, source).json()["task_id"]
    fakes.finish(task)
    track = tracks(check(lalal, task).json()["result"][task])["vocals"]
    assert parse(plain.get(track["url"]).content).duration == 60
    assert [bill["units"] for bill in fakes.state()["bills"]] == pytest.approx([200 / 3_600, 200 / 60])
    assert auphonic.post("/productions.json", json={"x": "y" * 200_000}).status_code == 413


def test_a_file_may_look_like_its_boundary(auphonic):
    content = wav(0.5) + b"\r\n--boundar" * 50_000 + b"\r\n--"
    production = draft(auphonic)
    put_in(auphonic, production, content)
    first = auphonic.post(
        f"/production/{production}/upload.json",
        content=b'--boundary\r\nContent-Disposition: form-data; name="input_file"; filename="b.wav"\r\n\r\n'
        + content
        + b"\r\n--boundary--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=boundary"},
    ).json()["data"]
    assert (first["input_file"], first["length"]) == ("b.wav", 0.5)


# ── faults ───────────────────────────────────────────────────────────────────────────────────────

TESTED = {
    "status", "reset", "reset_mid_upload", "process_then_reset", "slow", "drip", "truncate", "truncate_silent", "html",
    "garbage", "wrong_size", "bad_audio", "flip", "gzip_bomb", "early_response", "evil_redirect", "no_webhook",
    "duplicate_webhook", "late_webhook",
}  # fmt: skip


def test_there_are_no_other_faults_than_those_below():
    assert TESTED == KINDS
    with pytest.raises(ValueError, match="there are: bad_audio"), FakeServices() as fakes:
        fakes.fault(kind="flood")
    with pytest.raises(ValueError, match="there are: poll_ticks"):
        FakeServices(ticks=3)


def test_a_fault_happens_where_when_and_as_often_as_told(fakes, auphonic):
    fakes.fault(path="^GET .*user", kind="status", code=500, times=2)
    fakes.fault(call=4, kind="status", code=501)
    fakes.fault(path="info", kind="status", code=502, times=None)
    codes = [auphonic.get("/user.json").status_code for _ in range(5)]
    assert codes == [500, 500, 200, 501, 200]
    assert {auphonic.get("/info/production_status.json").status_code for _ in range(3)} == {502}


def test_status_has_no_effect(fakes, auphonic):
    production = staged(auphonic)
    fakes.fault(path="start", kind="status", code=429, retry_after=0.1)
    fakes.fault(path="start", kind="status", code=503, body="busy")
    answer = start(auphonic, production)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "0.1")
    assert answer.json() == {"detail": "fault", "error_message": "fault", "status_code": 429}
    assert start(auphonic, production).text == "busy"
    assert fakes.state()["bills"] == []


@pytest.mark.parametrize(("kind", "bills"), [("reset", 0), ("process_then_reset", 1)])
def test_resets_look_alike_and_differ_in_effect(fakes, auphonic, kind, bills):
    production = staged(auphonic)
    fakes.fault(path="start", kind=kind)
    with pytest.raises(httpx.TransportError):
        start(auphonic, production)
    assert len(fakes.state()["bills"]) == bills
    assert get(auphonic, production)["status"] == (4 if bills else 10)


def test_reset_mid_upload(fakes, lalal):
    fakes.fault(path="upload", kind="reset_mid_upload", after_bytes=1_024)
    with pytest.raises(httpx.TransportError):
        uploaded(lalal, bytes(8_000_000))
    assert fakes.state()["live"] == 0


def test_html_and_garbage_differ_in_effect(fakes, auphonic):
    production = staged(auphonic)
    fakes.fault(path="start", kind="html")
    answer = start(auphonic, production)
    assert (answer.status_code, answer.text) == (200, "<html>maintenance</html>")
    assert fakes.state()["bills"] == []
    fakes.fault(path="start", kind="garbage")
    with pytest.raises(ValueError, match="Expecting"):
        start(auphonic, production).json()
    assert len(fakes.state()["bills"]) == 1


def test_slow_and_drip_take_their_time(fakes, auphonic):
    fakes.fault(path="user", kind="slow", seconds=0.2)
    began = time.monotonic()
    assert auphonic.get("/user.json").status_code == 200
    assert time.monotonic() - began >= 0.2
    fakes.fault(path="user", kind="drip", bytes=10, interval=0.01)
    began = time.monotonic()
    assert auphonic.get("/user.json").json()["data"]
    assert time.monotonic() - began >= 0.1


def test_truncated_answers(fakes, lalal, plain):
    url = tracks(finished(fakes, lalal))["vocals"]["url"]
    fakes.fault(path="/cdn/", kind="truncate", at=100)
    with pytest.raises(httpx.TransportError):
        plain.get(url)
    fakes.fault(path="/cdn/", kind="truncate_silent", at=1_000)
    assert len(plain.get(url).content) == 1_000


def test_early_response_comes_before_the_body_is_read(fakes, lalal):
    fakes.fault(path="upload", kind="early_response")
    disposition = {"Content-Disposition": 'attachment; filename="a"'}
    assert lalal.post("upload/", content=bytes(8_000_000), headers=disposition).status_code == 413
    assert fakes.requests[0].body_len == 0


def test_sizes_are_told_wrong(fakes, auphonic, lalal):
    right = done(auphonic)
    fakes.fault(path="production/", kind="wrong_size")
    assert get(auphonic, right["uuid"])["output_files"][0]["size"] == right["output_files"][0]["size"] + 1
    assert get(auphonic, right["uuid"])["output_files"] == right["output_files"]
    fakes.fault(path="check", kind="wrong_size")
    assert tracks(finished(fakes, lalal))["vocals"]["size"] == len(SOUND) + 1


def test_results_are_spoiled(fakes, lalal, plain):
    url = tracks(finished(fakes, lalal))["vocals"]["url"]
    good = plain.get(url).content
    fakes.fault(kind="flip", offset=44)
    flipped = plain.get(url).content
    assert [at for at, (a, b) in enumerate(zip(good, flipped, strict=True)) if a != b] == [44]
    fakes.fault(kind="bad_audio")
    bad = plain.get(url).content
    assert len(bad) == len(good)
    assert bad[:4] != b"RIFF"
    assert plain.get(url).content == good


def test_a_bomb_is_small_on_the_wire(fakes, lalal, plain):
    url = tracks(finished(fakes, lalal))["vocals"]["url"]
    fakes.fault(path="/cdn/", kind="gzip_bomb")
    with plain.stream("GET", url) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert int(answer.headers["Content-Length"]) < 100_000
        assert sum(len(block) for block in answer.iter_bytes()) == 64 * 1024**2


def test_evil_redirect(fakes, auphonic, plain):
    data = done(auphonic)
    fakes.fault(path="/s3/", kind="evil_redirect", location="http://169.254.169.254/")
    answer = plain.get(signed_url(auphonic, data))
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://169.254.169.254/")
    fakes.fault(path="download", kind="evil_redirect", location="http://10.0.0.1/")
    assert signed_url(auphonic, data) == "http://10.0.0.1/"


def test_a_key_is_not_shown():
    assert "SENTINEL" not in repr(Options(api_key="SENTINEL"))


def test_closing_ends_what_waits():
    with FakeServices() as fakes, ThreadPoolExecutor(1) as pool:
        fakes.fault(kind="slow", seconds=60)
        waiting = pool.submit(httpx.get, f"{fakes.url}/x", trust_env=False)
        eventually(lambda: fakes.requests)
        fakes.__exit__(None, None, None)
        assert isinstance(waiting.exception(10) or waiting.result(), httpx.TransportError | httpx.Response)
