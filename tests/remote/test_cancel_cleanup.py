"""A job that is cancelled, in whichever phase; and what is deleted at the service, whenever that is possible."""

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.domain.remote import CLEANUP_RARELY, CLEANUP_TRIES, KEEP_FAILED, CostState, RemotePhase
from musproj.errors import JobAlreadyFinishedError
from musproj.testing.remote import Checkpoints

DELETE = {"auphonic": "DELETE", "lalal": "delete/"}


def cancel(harness, job):
    try:
        harness.mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
    except JobAlreadyFinishedError:
        assert harness.now(job).status is JobStatus.SUCCEEDED


def checked_cancel(harness, job, name):
    state = harness.fakes.state()
    bills = len(state["bills"])
    assert bills <= 1
    harness.check(job, bills=bills)
    assert state["running"] == 0
    if job.status is JobStatus.SUCCEEDED:
        return
    assert job.status is JobStatus.CANCELLED, name
    assert job.remote is None or job.remote.phase is RemotePhase.CANCELLED, name
    if bills:
        assert job.remote.cost.state is not CostState.NONE, name


# ── cancelled in every phase ──


@pytest.mark.parametrize("crashes", [False, True], ids=["while it runs", "while nobody runs it"])
@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
def test_a_cancel_at_any_checkpoint_leaves_nothing_behind(harness, job_type, crashes):
    harness.drive(harness.submit(job_type))
    names = list(harness.points.names)
    ended = set()
    for number, name in enumerate(names, start=1):
        harness.fakes.reset()
        job = harness.submit(job_type)
        if crashes:
            harness.drive(job, crashes=[number], until=lambda _: harness.points.crashed)
            cancel(harness, job)
            job = harness.drive(job)
            if "lalal.upload:after" in (name, names[number - 2] if name == "jobs.note:before" else ""):
                # No record knows of it; it expires.
                assert harness.fakes.state()["live"] == 1
                continue
        else:
            job = harness.drive(job, meanwhile={number: lambda job=job: cancel(harness, job)})
        checked_cancel(harness, job, name)
        ended.add(job.status)
    assert ended == {JobStatus.CANCELLED, JobStatus.SUCCEEDED}


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
def test_a_cancel_while_the_service_works_stops_it_and_no_other(harness, job_type):
    harness.fakes.reset(poll_ticks=20)
    other = harness.drive(harness.submit(job_type), until=lambda job: job.wait_reason == "remote")
    job = harness.drive(harness.submit(job_type), until=lambda job: job.wait_reason == "remote")
    assert harness.fakes.state()["running"] == 2
    cancel(harness, job)
    job = harness.drive(job)
    assert (job.status, job.remote.phase) == (JobStatus.CANCELLED, RemotePhase.CANCELLED)
    assert job.remote.cost.state is not CostState.NONE
    state = harness.fakes.state()
    assert (state["running"], state["live"], state["forbidden"]) == (1, 1, [])
    assert harness.drive(other).status is JobStatus.SUCCEEDED


# ── deletions that fail ──


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
def test_a_delete_that_fails_is_repeated_by_whoever_polls_then(harness, job_type):
    harness.fakes.reset()
    harness.fakes.fault(kind="status", code=500, path=DELETE[job_type], times=5)
    job = harness.drive(harness.submit(job_type), until=lambda job: job.is_terminal)
    assert job.status is JobStatus.SUCCEEDED
    began = harness.clock.now()
    for _ in range(5):
        harness._lives += 1  # another process
        before = len(harness.fakes.requests)
        harness.drive(job, until=lambda _, before=before: len(harness.fakes.requests) > before)
        assert harness.now(job).status is JobStatus.SUCCEEDED
    job = harness.drive(job)
    assert job.remote.phase is RemotePhase.CLEANED
    assert (harness.clock.now() - began).total_seconds() > 60 * (1 + 2 + 4 + 8 + 16)
    harness.check(job)


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
def test_a_delete_that_fails_for_days_is_tried_once_a_day(harness, job_type):
    harness.fakes.reset()
    harness.fakes.fault(kind="status", code=500, path=DELETE[job_type], times=CLEANUP_TRIES + 2)
    job = harness.drive(harness.submit(job_type), until=lambda job: job.remote and job.remote.cleanups == CLEANUP_TRIES)
    assert (job.status, job.remote.phase) == (JobStatus.SUCCEEDED, RemotePhase.COMMITTED)
    assert job.remote.cleanup_error is not None
    assert job.remote.cleanup_due - harness.clock.now() == CLEANUP_RARELY
    job = harness.drive(job)
    assert job.remote.phase is RemotePhase.CLEANED
    harness.check(job)


def test_a_failed_job_keeps_its_objects_for_a_day(harness):
    harness.fakes.reset()
    harness.fakes.fault(kind="wrong_size", times=None)
    job = harness.drive(harness.submit("auphonic"), until=lambda job: job.is_terminal)
    assert job.remote.cleanup_due == job.finished_at + KEEP_FAILED
    harness.poll()
    assert harness.fakes.state()["live"] == 1
    harness.check(harness.drive(job))


def test_drafts_whose_id_is_unknown_are_deleted_and_those_of_others_are_not(harness):
    harness.drive(harness.submit("auphonic"))
    created = harness.points.names.index("auphonic.create:after") + 1
    harness.fakes.reset()
    other = harness.drive(harness.submit("auphonic"), crashes=[created + 2], until=lambda _: harness.points.crashed)
    assert other.remote.phase is RemotePhase.DRAFT
    job = harness.drive(harness.submit("auphonic"), crashes=[created], until=lambda _: harness.points.crashed)
    assert (job.remote.remote_id, job.remote.intent) == (None, "create")
    assert harness.fakes.state()["live"] == 2
    cancel(harness, job)
    harness.drive(job)
    assert harness.fakes.state()["live"] == 1
    harness.points = Checkpoints()
    other = harness.drive(other)
    assert other.status is JobStatus.SUCCEEDED
    harness.check(other)
