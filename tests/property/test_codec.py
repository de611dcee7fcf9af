import json
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.codec import from_plain, to_plain
from musproj.domain.asset import Asset, ThenJob, Upload, UploadError
from musproj.domain.job import Attempt, FailureKind, Job, JobError, JobInput, JobStatus, WaitReason
from musproj.domain.version import File, Provenance, ProvenanceInput, Version
from musproj.errors import CorruptRecordError
from musproj.ports.jobs import LiveWorker

text = st.text(max_size=20)
ids = st.from_regex(r"[a-z0-9_]{1,20}", fullmatch=True)
number = st.integers(1, 10_000)
hexes = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - made aware in the next line
    lambda t: t.replace(tzinfo=UTC, microsecond=t.microsecond // 1000 * 1000)
)
plain = st.dictionaries(text, st.one_of(text, st.booleans(), number, st.floats(allow_nan=False, allow_infinity=False)))


def maybe(strategy):
    return st.none() | strategy


files = st.builds(
    File,
    name=ids,
    kind=ids,
    object_key=ids,
    size_bytes=number,
    sha256=hexes,
    etag=hexes,
    content_type=text,
    duration=maybe(st.floats(0, 1e6)),
    sample_rate=maybe(number),
    channels=maybe(number),
)
inputs = st.builds(ProvenanceInput, port=ids, asset_id=ids, version=number, file=ids, sha256=hexes)
provenances = st.builds(
    Provenance,
    job_id=ids,
    processor=ids,
    processor_version=ids,
    params=plain,
    inputs=st.lists(inputs, max_size=2).map(tuple),
    libraries=st.dictionaries(ids, text, max_size=2),
)
versions = st.builds(
    Version,
    number=number,
    kind=ids,
    files=st.lists(files, min_size=1, max_size=3).map(tuple),
    created_at=times,
    from_version=maybe(number),
    provenance=maybe(provenances),
)
uploads = st.builds(
    Upload,
    object_key=ids,
    content_type=text,
    filename=maybe(text),
    size_bytes=maybe(number),
    sha256=maybe(hexes),
    expires_at=times,
    next_look=maybe(times),
    confirm_token=maybe(ids),
    confirm_until=maybe(times),
    error=maybe(st.builds(UploadError, ids, text, text)),
    then=st.lists(st.builds(ThenJob, job_id=ids, type=ids, params=plain), max_size=2).map(tuple),
)
assets = st.builds(Asset, asset_id=ids, owner=ids, created_at=times, upload=uploads, deleted_at=maybe(times))
jobs = st.builds(
    Job,
    job_id=ids,
    type=ids,
    owner=ids,
    inputs=st.lists(st.builds(JobInput, asset_id=ids, version=number), min_size=1, max_size=2).map(tuple),
    params=plain,
    needs=st.lists(ids, max_size=2).map(tuple),
    created_at=times,
    updated_at=times,
    expires_at=times,
    run_at=times,
    root_job_id=ids,
    status=st.sampled_from(JobStatus),
    wait_reason=maybe(st.sampled_from(WaitReason)),
    error=maybe(st.builds(JobError, code=ids, message=text)),
    history=st.lists(
        st.builds(Attempt, attempt=number, kind=st.sampled_from(FailureKind), code=ids, message=text, at=times),
        max_size=2,
    ).map(tuple),
)
workers = st.builds(
    LiveWorker,
    worker_id=ids,
    host=ids,
    pid=number,
    types=st.frozensets(ids),
    abilities=st.frozensets(ids),
    concurrency=number,
    seen_at=times,
)


@given(st.one_of(files, provenances, versions, uploads, assets, jobs, workers))
def test_every_record_survives_json(record):
    data = json.loads(json.dumps(to_plain(record)))
    assert from_plain(type(record), data) == record


@given(jobs)
def test_a_reader_ignores_what_a_newer_writer_added(job):
    assert from_plain(Job, {**to_plain(job), "addedLater": 1}) == job


@given(
    st.recursive(
        st.none() | st.booleans() | number | text, lambda inner: st.lists(inner) | st.dictionaries(text, inner)
    )
)
def test_garbage_is_a_corrupt_record_and_nothing_else(data):
    with pytest.raises(CorruptRecordError):
        from_plain(Version, data)


def test_intervals_are_seconds():
    @attrs.frozen
    class Span:
        length: timedelta

    assert to_plain(Span(timedelta(minutes=1))) == {"length": 60.0}
    assert from_plain(Span, {"length": 60.0}) == Span(timedelta(minutes=1))
