"""Every fault of the network on every call of a run: never paid twice, and nearly always finished."""

import resource
import sys
from collections import Counter

import pytest

from musproj.domain.job import JobStatus
from musproj.domain.remote import CostState, RemotePhase

FAULTS = {
    "429": {"kind": "status", "code": 429, "retry_after": 0.1},
    "500": {"kind": "status", "code": 500},
    "503": {"kind": "status", "code": 503},
    "reset": {"kind": "reset"},
    "reset_mid_upload": {"kind": "reset_mid_upload"},
    "process_then_reset": {"kind": "process_then_reset"},
    "html": {"kind": "html"},
    "truncate": {"kind": "truncate", "at": 100},
}
MATRIX = [("auphonic", {}), ("lalal", {"key_window": "prestart"}), ("lalal", {"key_window": "none"})]
RESULT = {"auphonic": "GET /s3/", "lalal": "GET /cdn/"}


def run(harness, job_type, fault=None, *, options=None, **params):
    """Return the job after a run to which one thing happens."""
    harness.fakes.reset(**(options or {}))
    if fault is not None:
        harness.fakes.fault(**fault)
    return harness.drive(harness.submit(job_type, **params))


def strays(harness) -> int:
    """Return how many uploads may be left: all but one, where the word that they arrived was lost."""
    return max(0, sum(call.line == "POST /api/v1/upload/" for call in harness.fakes.requests) - 1)


def checked(harness, job, **expected):
    harness.check(job, strays=strays(harness), **expected)
    if job.status is JobStatus.SUCCEEDED:
        assert harness.result(job) == harness.promised(job)
    return job


# ── every fault on every call ──


@pytest.mark.parametrize(("job_type", "options"), MATRIX, ids=["auphonic", "lalal", "lalal-none"])
def test_no_fault_on_any_call_is_paid_for_twice(harness, job_type, options, capsys):
    run(harness, job_type, options=options)
    lines = [call.line for call in harness.fakes.requests]
    ended: Counter[str] = Counter()
    for name, fault in FAULTS.items():
        for number, line in enumerate(lines, start=1):
            job = run(harness, job_type, {**fault, "call": number}, options=options)
            checked(harness, job)
            ended["finished" if job.error is None else job.error.code] += 1
            may_lose = options.get("key_window") == "none" and "/split/" in line and name in LOSING
            assert job.status is JobStatus.SUCCEEDED or may_lose, (name, line, job.error)
    with capsys.disabled():
        sys.stdout.write(f"\n{job_type} {options}: {len(lines)} calls, {sum(ended.values())} runs, {dict(ended)}\n")


LOSING = {"process_then_reset", "truncate"}
"""What leaves it open whether a split was made, when it was."""


# ── faults of results ──


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
@pytest.mark.parametrize(
    ("fault", "where"),
    [
        ({"kind": "garbage"}, "api"),
        ({"kind": "slow", "seconds": 0.05}, "api"),
        ({"kind": "early_response"}, "upload"),
        ({"kind": "garbage"}, "result"),
        ({"kind": "drip", "bytes": 4096, "interval": 0.001}, "result"),
        ({"kind": "truncate_silent", "at": 200}, "result"),
        ({"kind": "bad_audio"}, "result"),
        ({"kind": "gzip_bomb"}, "result"),
        ({"kind": "status", "code": 404}, "result"),
        ({"kind": "wrong_size", "times": 1}, "sizes"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else value,
)
def test_what_happens_once_is_overcome(harness, job_type, fault, where):
    path = {"api": "/api/", "upload": "upload", "result": RESULT[job_type], "sizes": "."}[where]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    job = run(harness, job_type, {**fault, "path": path})
    if fault["kind"] == "early_response":  # a 413 refuses the input for good
        assert (job.error.code, job.remote.cost.state) == ("remote_rejected", CostState.NONE)
        checked(harness, job, bills=0)
    else:
        assert job.status is JobStatus.SUCCEEDED, job.error
        checked(harness, job)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB


def test_a_flipped_byte_is_found_by_the_checksum(harness):
    job = run(harness, "auphonic", {"kind": "flip", "path": RESULT["auphonic"], "offset": 5_000})
    assert job.status is JobStatus.SUCCEEDED
    checked(harness, job)


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
@pytest.mark.parametrize("kind", ["wrong_size", "bad_audio", "gzip_bomb"])
def test_a_result_that_stays_wrong_is_given_up_after_three_fetches(harness, job_type, kind):
    job = run(harness, job_type, {"kind": kind, "times": None})
    assert job.error.code == "remote_result_invalid"
    assert job.remote.fetches == 3
    assert job.remote.cost.state is CostState.BILLED
    assert "it is fetched again for nothing" in job.error.message
    checked(harness, job)


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
def test_results_are_fetched_from_no_other_host(harness, job_type):
    fault = {"kind": "evil_redirect", "times": None, "location": "http://169.254.169.254/latest/"}
    job = run(harness, job_type, {**fault, "path": "download" if job_type == "auphonic" else "/cdn/"})
    assert job.error.code == "remote_host_refused", job.error
    checked(harness, job)


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
def test_a_result_that_is_gone_for_good_has_expired(harness, job_type):
    job = run(harness, job_type, {"kind": "status", "code": 404, "times": None, "path": RESULT[job_type]})
    assert job.error.code == "remote_result_expired"
    checked(harness, job)


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize("path", ["POST .*/(productions|split|start)", "upload", "(GET .*/production/|check)"])
@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
def test_a_refused_key_stops_the_account_and_no_job_fails(harness, job_type, path, code):
    fakes = harness.fakes
    fakes.reset()
    fakes.fault(kind="status", code=code, path=path, times=1)
    job = harness.drive(harness.submit(job_type), until=lambda _: harness.mp.outside.accounts.pauses())
    (pause,) = harness.mp.outside.accounts.pauses()
    assert (pause.account, pause.fault.code) == (f"{job_type}:default", "remote_auth")
    assert not job.is_terminal
    calls = len(fakes.requests)
    other = harness.drive(harness.submit(job_type, force=True), until=lambda job: job.stage and "paused" in job.stage)
    assert not other.is_terminal
    job = harness.drive(job)
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert len(fakes.requests) > calls
    assert max(harness.bills().values()) == 1


def test_an_account_without_minutes_waits_until_there_are_some(harness):
    harness.fakes.reset(balance_minutes=0.0)
    job = harness.drive(harness.submit("lalal"), until=lambda _: harness.mp.outside.accounts.pauses())
    (pause,) = harness.mp.outside.accounts.pauses()
    assert pause.fault.code == "remote_quota"
    assert job.remote.cost.state is CostState.NONE or job.remote.intent == "submit"
    assert harness.bills() == {}


# ── addresses and inputs that expire ──


def test_an_expired_address_is_asked_for_anew(harness):
    job = run(harness, "auphonic", {"kind": "status", "code": 403, "path": RESULT["auphonic"]})  # as S3 answers then
    assert job.status is JobStatus.SUCCEEDED
    assert sum("/s3/" in call.path for call in harness.fakes.requests) == 2
    checked(harness, job)


def test_an_address_that_is_always_expired_is_given_up_after_three_fetches(harness):
    job = run(harness, "auphonic", options={"url_ttl": -1.0})
    assert job.error.code == "remote_result_expired"
    assert sum("/s3/" in call.path for call in harness.fakes.requests) == 6  # under two addresses each
    checked(harness, job)


def test_a_source_about_to_expire_is_sent_again_before_it_is_paid_for(harness):
    harness.fakes.reset()
    job = harness.drive(
        harness.submit("lalal"),
        crashes=[next_checkpoint(harness, "lalal", "lalal.submit:before") - 2],
        until=lambda job: harness.points.crashed,
    )
    assert job.remote.phase is RemotePhase.STAGED
    assert job.remote.intent is None
    harness.clock.advance(23 * 3_600)
    job = harness.drive(job)
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert sum("/upload/" in call.path for call in harness.fakes.requests) == 2
    checked(harness, job)


def next_checkpoint(harness, job_type, name) -> int:
    """Return the number of a checkpoint in a run to which nothing happens."""
    harness.drive(harness.submit(job_type))
    harness.fakes.reset()
    return harness.points.names.index(name) + 1


def test_a_source_that_is_gone_is_sent_again_once(harness):
    harness.fakes.reset()
    body = {"detail": "The source was not found.", "code": "source_not_found"}
    harness.fakes.fault(kind="status", code=400, path="split", body=body)
    job = harness.drive(harness.submit("lalal"))
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert sum("/upload/" in call.path for call in harness.fakes.requests) == 2
    checked(harness, job)


def test_a_source_that_is_always_gone_is_a_clear_failure(harness):
    body = {"detail": "The source was not found.", "code": "source_not_found"}
    job = run(harness, "lalal", {"kind": "status", "code": 400, "path": "split", "body": body, "times": None})
    assert (job.error.code, job.remote.cost.state) == ("remote_rejected", CostState.NONE)
    checked(harness, job, bills=0)


def test_a_task_that_was_forgotten_after_a_day_is_a_clear_failure(harness):
    harness.fakes.reset()
    job = harness.drive(harness.submit("lalal"), until=lambda job: job.wait_reason == "remote")
    harness.clock.advance(25 * 3_600)
    job = harness.drive(job)
    assert job.error.code in {"remote_lost", "remote_deadline"}
    assert job.remote.cost.state is CostState.MAYBE
    checked(harness, job)


# ── statuses of the future ──


@pytest.mark.parametrize("statuses", [[1, 15, 4, 77, 3], [4, 13, 4, 3], [0, 12, 14, 6, 7, 8, 3]])
def test_a_status_that_nobody_documented_is_waited_for(harness, statuses):
    harness.fakes.reset()
    harness.fakes.script([{"statuses": statuses}])
    job = harness.drive(harness.submit("auphonic"))
    assert job.status is JobStatus.SUCCEEDED, job.error
    checked(harness, job)


@pytest.mark.parametrize("status", [15, 4])
def test_a_production_that_never_ends_is_stopped_at_its_deadline(harness, status):
    harness.fakes.reset()
    harness.fakes.script([{"statuses": [status]}])
    job = harness.drive(harness.submit("auphonic"))
    assert job.error.code == "remote_deadline", job.error
    assert any("stop" in call.path for call in harness.fakes.requests)
    checked(harness, job)


@pytest.mark.parametrize("status", [9, 10, 11])
def test_a_production_that_fell_back_is_started_again_and_not_for_ever(harness, status):
    harness.fakes.reset()
    harness.fakes.script([{"statuses": [4, status]}])
    job = harness.drive(harness.submit("auphonic"))
    assert job.error.code == "remote_rejected", job.error
    assert 2 <= sum("start" in call.path for call in harness.fakes.requests) <= 5
    assert job.remote.cost.state is CostState.BILLED
    checked(harness, job)


def test_a_failed_production_is_started_once_more_and_costs_nothing_more(harness):
    harness.fakes.reset()
    harness.fakes.script([{"statuses": [4, 2]}])
    job = harness.drive(harness.submit("auphonic"))
    assert job.error.code == "remote_rejected"
    assert sum("start" in call.path for call in harness.fakes.requests) == 2
    assert job.remote.cost.state is CostState.BILLED
    checked(harness, job)


# ── tasks that go wrong ──


@pytest.mark.parametrize(
    ("outcome", "code", "state"),
    [
        ({"statuses": [30, "error"], "error": {"detail": "No voice here"}}, "remote_rejected", CostState.MAYBE),
        ({"statuses": [30, "server_error"]}, "remote_lost", CostState.MAYBE),
        ({"statuses": [30, "missing"]}, "remote_lost", CostState.MAYBE),
        ({"statuses": [30, "cancelled"]}, "remote_cancelled", CostState.MAYBE),
        ({"statuses": [30, "success"], "without": ["no_vocals"]}, "remote_result_invalid", CostState.BILLED),
    ],
    ids=["error", "server_error", "missing", "cancelled", "a track missing"],
)
def test_a_task_that_fails_says_why(harness, outcome, code, state):
    harness.fakes.reset()
    harness.fakes.script([outcome])
    job = harness.drive(harness.submit("lalal"))
    assert (job.error.code, job.remote.cost.state) == (code, state)
    if "error" in outcome:
        assert "No voice here" in job.error.message
    checked(harness, job)


def test_one_unknown_status_of_a_task_is_no_failure(harness):
    harness.fakes.reset()
    harness.fakes.script([{"statuses": [30, "server_error", "missing", 60, "success"]}])
    job = harness.drive(harness.submit("lalal"))
    assert job.status is JobStatus.SUCCEEDED, job.error
    checked(harness, job)


def test_backing_vocals_may_be_missing(harness):
    harness.fakes.reset()
    harness.fakes.script([{"statuses": ["success"], "without": ["vocals@1"]}])
    job = harness.drive(harness.submit("lalal", leadAndBacking=True))
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert set(harness.result(job)) == {"lead_vocals", "instrumental", "instrumental_backing"}
    harness.check(job)


def test_a_size_that_is_not_told_is_not_missed(harness):
    job = run(harness, "lalal", options={"null_size": True})
    assert job.status is JobStatus.SUCCEEDED
    checked(harness, job)


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
@pytest.mark.parametrize("code", [429, 400])
def test_a_refused_purchase_is_recorded_as_none(harness, job_type, code):
    harness.fakes.reset()
    fault = {"kind": "status", "code": code, "path": "split|start", "times": None}
    harness.fakes.fault(**fault, **({"retry_after": 5} if code == 429 else {}))
    job = harness.drive(
        harness.submit(job_type), until=lambda job: job.is_terminal or (job.stage or "").startswith("retrying")
    )
    assert (job.remote.intent, job.remote.cost.state) == (None, CostState.NONE)
    if code == 400:
        assert job.error.code == "remote_rejected"
        assert "400" in job.error.message
