"""Every job goes into its hash and comes back; a change writes what differs."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.adapters.redis.deliveries import parked_member, place_in_line, suits
from musproj.adapters.redis.job_records import as_json, changed_fields, load, timestamp, to_fields, to_raw
from musproj.domain.ids import AssetId, JobId
from musproj.domain.job import Attempt, FailureKind, Job, JobError, JobInput, JobStatus, WaitReason
from musproj.testing.clock import NOON
from musproj.testing.records import new_asset, new_job, new_worker

times = st.integers(0, 4_000_000_000_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))
texts = st.text(st.characters(codec="utf-8"), max_size=20)
words = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts, st.lists, max_leaves=5
)
objects = st.dictionaries(texts, values, max_size=3)
attempts = st.builds(
    Attempt,
    attempt=st.integers(1, 9),
    kind=st.sampled_from(FailureKind),
    code=words,
    message=texts,
    at=times,
    worker=st.none() | texts,
    seconds=st.none() | st.floats(0, 1e6),
)
inputs = st.dictionaries(
    st.just("input") | words,
    st.tuples(st.integers(1, 99), st.none() | words),
    min_size=1,
    max_size=3,
).map(
    lambda ports: tuple(
        JobInput(port=port, asset_id=AssetId(f"ast_{version}"), version=version, file=file)
        for port, (version, file) in ports.items()
    )
)
jobs = st.builds(
    Job,
    job_id=st.just(JobId("job_1")),
    root_job_id=st.just(JobId("job_0")),
    type=words,
    owner=words,
    inputs=inputs,
    params=objects,
    processor_version=texts,
    needs=st.lists(words, max_size=2).map(tuple),
    created_at=times,
    updated_at=times,
    expires_at=times,
    run_at=times,
    priority=st.integers(-9, 9),
    max_attempts=st.integers(1, 9),
    retry_of=st.none() | st.just(JobId("job_0")),
    force=st.booleans(),
    status=st.sampled_from(JobStatus),
    wait_reason=st.none() | st.sampled_from(WaitReason),
    progress=st.integers(0, 100),
    stage=st.none() | texts,
    attempts=st.integers(0, 9),
    crashes=st.integers(0, 3),
    token=st.none() | words,
    lease_until=st.none() | times,
    cancel_requested_at=st.none() | times,
    reserved_version=st.none() | st.integers(2, 99),
    result=st.none() | objects,
    error=st.none() | st.builds(JobError, code=words, message=texts, retryable=st.booleans()),
    started_at=st.none() | times,
    finished_at=st.none() | times,
    history=st.lists(attempts, max_size=3).map(tuple),
)


def raw_of(job: Job) -> dict[str, str]:
    return {**to_fields(job), "rev": "7"}


@given(jobs)
def test_a_job_comes_back_whole(job):
    stored = load(job.job_id, raw_of(job), [as_json(entry).encode() for entry in job.history])
    assert stored.job == job
    assert (stored.revision, stored.is_corrupt, stored.is_newer) == (7, False, False)


@given(jobs, jobs)
def test_a_change_turns_one_record_into_the_other(before, after):
    after = attrs.evolve(after, inputs=before.inputs)
    raw: dict[str, str] = raw_of(before)
    for name, value in changed_fields(before, after).items():
        if value is None:
            raw.pop(name, None)
        else:
            raw[name] = value
    assert raw == raw_of(after)


@given(jobs)
def test_no_change_writes_nothing(job):
    assert changed_fields(job, attrs.evolve(job)) == {}


@given(st.dictionaries(st.sampled_from(sorted(to_fields(new_job(new_asset(NOON), NOON)))), st.text(max_size=9)))
def test_garbage_is_a_failed_job(garbage):
    job = new_job(new_asset(NOON), NOON)
    stored = load(job.job_id, {**raw_of(job), **garbage})
    assert stored.job.job_id == job.job_id
    if stored.is_corrupt:
        assert stored.job.status is JobStatus.FAILED
        assert stored.job.error is not None
        assert stored.job.error.code == "corrupt_record"


def test_bytes_that_are_no_text_do_not_raise():
    assert to_raw([b"jobId", b"\xff\xfe"]) == {"jobId": "\ufffd\ufffd"}
    assert load(JobId("job_1"), to_raw([b"jobId", b"\xff"])).is_corrupt


def test_times_are_of_the_wire():
    assert timestamp(NOON + timedelta(milliseconds=7)) == "2026-01-01T12:00:00.007Z"


@pytest.mark.parametrize(
    ("types", "abilities", "able"),
    [
        (["enhance"], ["codecs", "model"], True),
        (["enhance"], ["codecs"], False),
        (["separate"], ["codecs", "model"], False),
    ],
)
def test_who_can_run_a_parked_job(types, abilities, able):
    job = new_job(new_asset(NOON), NOON, needs=("codecs", "model"))
    found = suits(parked_member(job, f"{job.job_id}-3"), new_worker(types=types, abilities=abilities))
    assert found == (f"{job.job_id}-3" if able else None)


def test_a_newer_record_needs_a_newer_program():
    job = new_job(new_asset(NOON), NOON)
    assert suits(parked_member(job, "d-1", schema=2), new_worker()) is None
    assert suits(parked_member(job, "d-1", schema=1), new_worker()) == "d-1"


def test_places_in_line():
    """By priority, then by time; exact in a double."""
    asset = new_asset(NOON)
    order = [
        new_job(asset, NOON, priority=10_000, run_at=NOON + timedelta(days=900)),
        new_job(asset, NOON, priority=1, run_at=NOON + timedelta(milliseconds=1)),
        new_job(asset, NOON, run_at=NOON),
        new_job(asset, NOON, run_at=NOON + timedelta(milliseconds=1)),
        new_job(asset, NOON, priority=-1, run_at=NOON - timedelta(days=900)),
        new_job(asset, NOON, priority=-10_000, run_at=NOON - timedelta(days=900)),
    ]
    places = [place_in_line(job) for job in order]
    assert places == sorted(places)
    assert [int(float(place)) for place in places] == places
    assert len(set(places)) == len(places)
