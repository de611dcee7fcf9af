"""No key and no signature gets out: into logs, errors, records, results, or what the command line shows."""

import json
import logging
import subprocess
import sys

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.testing.fakes import FakeServices
from musproj.testing.remote import RemoteHarness, clock_of, open_with

KEYS = {"auphonic": "SENTINEL-auphonic-7f3a", "lalal": "SENTINEL-lalal-90bc"}
FAULTS = (
    {"kind": "status", "code": 401, "times": 1},
    {"kind": "status", "code": 422, "path": "(split|start)"},
    {"kind": "status", "code": 500, "path": "(split|start)"},
    {"kind": "html", "path": "(split|start)"},
    {"kind": "process_then_reset", "path": "(split|start)"},
    {"kind": "bad_audio", "times": None},
    {"kind": "status", "code": 404, "path": "(s3|cdn)", "times": None},
    {"kind": "status", "code": 500, "path": "(s3|cdn)", "times": 2},
    {"kind": "truncate", "at": 100, "path": "(s3|cdn)", "times": 2},
    {"kind": "evil_redirect", "times": None, "location": "http://169.254.169.254/?X-Amz-Signature=SENTINEL-signature"},
)
SIGNED = ("X-Amz-Signature", "Bearer ", "SENTINEL")


def echoing(key):
    """Return the fault of a service that repeats the key in its answer."""
    body = {"detail": f"The key {key} may not do that", "error_message": f"The key {key}", "code": key}
    return {"kind": "status", "code": 400, "path": "(split|start|upload)", "body": body}


@pytest.mark.parametrize("service", ["auphonic", "lalal"])
def test_a_key_is_nowhere(service, clock, tmp_path, caplog):
    key = KEYS[service]
    caplog.set_level(logging.DEBUG)
    keys = {f"{name}_key": "nobody" for name in KEYS} | {f"{service}_key": key}
    with (
        FakeServices(clock=clock_of(clock), api_key=key) as fakes,
        open_with(fakes, clock, tmp_path, **keys) as mp,
    ):
        harness = RemoteHarness(mp=mp, fakes=fakes, clock=clock, folder=tmp_path)
        jobs = [harness.drive(harness.submit(service))]
        assert jobs[0].status is JobStatus.SUCCEEDED
        for fault in (*FAULTS, echoing(key)):
            fakes.reset(api_key=key)
            fakes.fault(**fault)
            jobs.append(harness.drive(harness.submit(service)))
            assert fakes.state()["leaks"] == []
        assert {job.status for job in jobs} == {JobStatus.SUCCEEDED, JobStatus.FAILED}
        texts = {
            "logs": caplog.text + "".join(str(vars(record)) for record in caplog.records),
            "records": repr(jobs),
            "installation": repr(mp) + repr(mp.services) + repr(mp.outside) + repr(mp.services.open(service)),
            "versions": repr(harness.versions()),
        }
        for job in jobs:
            if job.error is not None:
                texts[f"error {job.error.code}"] = job.error.message
        shown = [show(tmp_path, service, key, job.job_id) for job in (jobs[0], jobs[-1])]
    texts["command line"] = "".join(shown)
    for name, text in texts.items():
        assert not [word for word in SIGNED if word in text], name
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [word for word in SIGNED if word.encode() in content], path
    assert json.loads(shown[0])["status"] == "succeeded"


def show(data, service, key, job_id) -> str:
    """Return all that `musproj jobs show` prints."""
    settings = [f"MUSPROJ_DATA={data}", "MUSPROJ_LOG=debug", f"MUSPROJ_{service.upper()}_KEY={key}"]
    command = ["env", *settings, sys.executable, "-m", "musproj", "jobs", "show", job_id, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert key not in done.stderr
    return done.stdout


def test_a_wrong_key_is_not_told(clock, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with FakeServices(clock=clock_of(clock)) as fakes, open_with(fakes, clock, tmp_path, lalal_key=KEYS["lalal"]) as mp:
        harness = RemoteHarness(mp=mp, fakes=fakes, clock=clock, folder=tmp_path)
        job = harness.drive(harness.submit("lalal"), until=lambda _: mp.outside.accounts.pauses())
        text = caplog.text + repr(mp.outside.accounts.pauses()) + repr(mp.jobs.get(DEFAULT_OWNER, job.job_id))
    assert "SENTINEL" not in text
    assert "remote_auth" in text
