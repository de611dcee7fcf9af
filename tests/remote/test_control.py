"""Naive clients before the same fakes: what they pay twice shows that the fakes, and the harness, can show it.

Naive is what a queue does with published client code: one function that submits, waits and fetches, from the top
again after any error and after every crash.
"""

import io
import sys
import time
import wave

import attrs
import httpx
import pytest

from musproj.testing.fakes import FakeServices, wav
from musproj.testing.remote import Checkpoints, Crash

TRIES = 4
FAULTS = (
    {"kind": "status", "code": 429, "retry_after": 0.1},
    {"kind": "status", "code": 500},
    {"kind": "status", "code": 503},
    {"kind": "reset"},
    {"kind": "reset_mid_upload"},
    {"kind": "process_then_reset"},
    {"kind": "html"},
    {"kind": "truncate", "at": 100},
)
SOUND = wav(1.0)


class FailedError(Exception):
    """The service said so."""


@attrs.define
class Naive:
    """A client of one service."""

    http: httpx.Client
    points: Checkpoints = attrs.field(factory=Checkpoints)

    def answer(self, method, path, **options):
        self.points.reach(path)
        answer = self.http.request(method, path, **options)
        answer.raise_for_status()
        return answer

    def run(self):
        """Do the job until it works; None after so many tries."""
        for _ in range(TRIES):
            try:
                return self.once()
            except (httpx.HTTPError, ValueError, KeyError, FailedError):
                continue
        return None


class NaiveAuphonic(Naive):
    def once(self):
        form = {"title": "x", "action": "start"}
        made = self.answer("POST", "simple/productions.json", data=form, files={"input_file": ("a.wav", SOUND)})
        uuid = made.json()["data"]["uuid"]
        while True:
            data = self.answer("GET", f"production/{uuid}.json").json()["data"]
            if data["status"] == 3:
                break
            if data["status"] == 2:
                raise FailedError
        moved = self.http.build_request("GET", data["output_files"][0]["download_url"])
        self.points.reach("download")
        answer = self.http.send(moved)
        if not answer.has_redirect_location:
            answer.raise_for_status()
            return answer.content  # written as it comes
        self.points.reach("result")
        answer = httpx.get(answer.headers["Location"], trust_env=False)
        answer.raise_for_status()
        return answer.content


class NaiveLalal(Naive):
    def once(self):
        headers = {"Content-Disposition": 'attachment; filename="a.wav"'}
        source = self.answer("POST", "upload/", content=SOUND, headers=headers).json()["id"]
        asked = {"source_id": source, "presets": {"stem": "vocals", "encoder_format": "wav"}}
        task = self.answer("POST", "split/stem_separator/", json=asked).json()["task_id"]
        while True:
            found = self.answer("POST", "check/", json={"task_ids": [task]}).json()["result"][task]
            if found["status"] == "success":
                break
            if found["status"] != "progress":
                raise FailedError
        contents = []
        for track in found["result"]["tracks"]:
            self.points.reach("result")
            answer = httpx.get(track["url"], trust_env=False)
            answer.raise_for_status()
            contents.append(answer.content)
        self.points.reach("save")  # all files are kept in memory until here
        return b"".join(contents)


@pytest.fixture
def fakes():
    with FakeServices() as fakes:
        yield fakes


@pytest.fixture(params=["auphonic", "lalal"])
def client(request, fakes):
    """Give the service's name, and a function that makes a new client with the next crashes."""
    if request.param == "auphonic":
        kind, url, key = NaiveAuphonic, fakes.auphonic_url + "/", {"Authorization": "Bearer k"}
    else:
        kind, url, key = NaiveLalal, fakes.lalal_url, {"X-License-Key": "k"}
    with httpx.Client(base_url=url, headers=key, trust_env=False) as http:
        yield request.param, lambda *crashes: kind(http, Checkpoints(crashes))


def paid_twice(fakes) -> bool:
    return len(fakes.state()["bills"]) > 1


def is_sound(content: bytes) -> bool:
    try:
        with wave.open(io.BytesIO(content)) as file:
            return file.getnframes() > 0
    except (wave.Error, EOFError):
        return False


EXPECTED = {
    "auphonic": {"calls": 6, "least": 36, "most": 42, "crashes": (5, 6)},
    "lalal": {"calls": 7, "least": 37, "most": 41, "crashes": (6, 8)},
}


def test_faults_make_a_naive_client_pay_twice(client, fakes, capsys):
    name, make = client
    expected = EXPECTED[name]
    assert make().run()
    calls = len(fakes.requests)
    assert calls == expected["calls"]
    twice, wrong = [], 0
    for fault in FAULTS:
        count = 0
        for number in range(1, calls + 1):
            fakes.reset()
            fakes.fault(**fault, call=number)
            content = make().run()
            count += paid_twice(fakes)
            wrong += content is not None and not is_sound(content)
        twice.append(count)
    with capsys.disabled():
        sys.stdout.write(
            f"\nnaive {name}: {sum(twice)} of {calls * len(FAULTS)} billed twice {twice}, no sound {wrong}\n"
        )
    assert expected["least"] <= sum(twice) <= expected["most"]


def test_crashes_make_a_naive_client_pay_twice(client, fakes, capsys):
    name, make = client
    first = make()
    assert first.run()
    points = len(first.points.names)
    twice = 0
    for number in range(1, points + 1):
        fakes.reset()
        with pytest.raises(Crash):
            make(number).run()
        assert make().run()
        twice += paid_twice(fakes)
    with capsys.disabled():
        sys.stdout.write(f"\nnaive {name}: billed twice after {twice} of {points} crashes\n")
    assert (twice, points) == EXPECTED[name]["crashes"]


def test_naive_polling_is_over_the_limit_of_lalal_from_the_third_job_on():
    """One question per task each 5 s, as the vendor's example asks: 12 a minute and job, of 30 that are allowed."""
    clock = [time.time()]
    with (
        FakeServices(clock=lambda: clock[0], poll_ticks=1_000) as fakes,
        httpx.Client(base_url=fakes.lalal_url, headers={"X-License-Key": "k"}, trust_env=False) as http,
    ):
        statuses = {}
        for jobs in (2, 3):
            fakes.reset(poll_ticks=1_000)
            tasks = [task_of(http) for _ in range(jobs)]
            answers = []
            for _ in range(13):
                answers += [http.post("check/", json={"task_ids": [task]}).status_code for task in tasks]
                clock[0] += 5.0
            statuses[jobs] = set(answers)
    assert statuses == {2: {200}, 3: {200, 429}}


def task_of(http) -> str:
    headers = {"Content-Disposition": 'attachment; filename="a.wav"'}
    source = http.post("upload/", content=SOUND, headers=headers).json()["id"]
    asked = {"source_id": source, "presets": {"stem": "vocals", "encoder_format": "wav"}}
    return http.post("split/stem_separator/", json=asked).json()["task_id"]
