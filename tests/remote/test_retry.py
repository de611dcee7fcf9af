"""`jobs retry` after every way to fail, before and after the service's objects were deleted; and identical jobs."""

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.domain.remote import CostState, RemotePhase

TRIES = 20 + 4
"""Of a call in one phase (`RemotePolicy.tries`), and one in each attempt after the first."""
SERVICES = pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
WHEN = pytest.mark.parametrize("is_cleaned", [False, True], ids=["before cleanup", "after cleanup"])


def retry(harness, job):
    return harness.mp.jobs.retry(DEFAULT_OWNER, job.job_id).job


def failed(harness, job_type, *, is_cleaned=False, faults=(), script=None, status=JobStatus.FAILED, **options):
    """Return a job that failed of `faults`, which are over then."""
    harness.fakes.reset(**options)
    for fault in faults:
        harness.fakes.fault(**fault)
    if script:
        harness.fakes.script([script])
    job = harness.drive(harness.submit(job_type), until=None if is_cleaned else lambda job: job.is_terminal)
    assert job.status is status, job
    return job


def retried(harness, job):
    again = harness.drive(retry(harness, job))
    harness.drive(job)  # what of it no retry took over is deleted too
    assert max(harness.bills().values(), default=0) <= 1
    assert harness.fakes.state()["live"] == 0
    assert (again.root_job_id, again.retry_of) == (job.root_job_id, job.job_id)
    return again


PLACES = {
    ("auphonic", "POST .*/productions"): RemotePhase.PLANNED,
    ("auphonic", "upload"): RemotePhase.DRAFT,
    ("auphonic", "start"): RemotePhase.STAGED,
    ("lalal", "upload"): RemotePhase.PLANNED,
}


@WHEN
@pytest.mark.parametrize(("job_type", "path"), PLACES)
def test_what_could_not_be_reached_goes_on_where_it_was(harness, job_type, path, is_cleaned):
    fault = {"kind": "status", "code": 500, "path": path, "times": TRIES}
    job = failed(harness, job_type, is_cleaned=is_cleaned, faults=[fault])
    assert (job.error.code, job.remote.phase) == ("remote_unavailable", PLACES[job_type, path])
    again = retried(harness, job)
    if again.status is not JobStatus.SUCCEEDED:  # what it stood on was deleted: said, and not paid for
        assert is_cleaned
        assert again.error.code in {"remote_rejected", "remote_lost"}
        assert harness.bills() == {}
        return
    assert list(harness.bills().values()) == [1]
    assert harness.result(again) == harness.promised(again)


@SERVICES
def test_a_finished_result_that_was_wrong_is_fetched_anew(harness, job_type):
    downloads = 6 if job_type == "auphonic" else 3  # where the checksum is wrong, each is repeated at once
    job = failed(harness, job_type, faults=[{"kind": "bad_audio", "times": downloads, "path": "(s3|cdn)"}])
    assert (job.error.code, job.remote.phase) == ("remote_result_invalid", RemotePhase.FINISHED)
    again = retried(harness, job)
    assert again.status is JobStatus.SUCCEEDED, again.error
    assert list(harness.bills().values()) == [1]


@SERVICES
@WHEN
def test_a_result_that_expired_is_looked_for_once_more(harness, job_type, is_cleaned):
    faults = [{"kind": "status", "code": 404, "path": "(s3|cdn)", "times": 6}]  # three times, under two addresses each
    job = failed(harness, job_type, is_cleaned=is_cleaned, faults=faults)
    assert job.error.code == "remote_result_expired"
    again = retried(harness, job)
    if is_cleaned:
        assert again.error.code == "remote_result_expired"
    else:
        assert again.status is JobStatus.SUCCEEDED, again.error
    assert list(harness.bills().values()) == [1]


@WHEN
def test_a_failed_production_is_started_again_for_nothing(harness, is_cleaned):
    job = failed(harness, "auphonic", is_cleaned=is_cleaned, script={"statuses": [4, 2]})
    assert (job.error.code, job.remote.phase) == ("remote_rejected", RemotePhase.FAILED)
    starts = sum("start" in call.path for call in harness.fakes.requests)
    again = retried(harness, job)
    assert again.error.code == "remote_rejected"
    assert sum("start" in call.path for call in harness.fakes.requests) > starts
    assert again.remote.cost.state is CostState.BILLED
    assert list(harness.bills().values()) == [1]


@WHEN
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ({"statuses": [30, "error"]}, "remote_rejected"),
        ({"statuses": [30, "missing"]}, "remote_lost"),
        ({"statuses": [30, "cancelled"]}, "remote_cancelled"),
    ],
)
def test_a_task_that_may_have_been_billed_ends_as_before_and_says_so(harness, script, code, is_cleaned):
    job = failed(harness, "lalal", is_cleaned=is_cleaned, script=script)
    assert job.error.code == code
    calls = len(harness.fakes.requests)
    again = retried(harness, job)
    assert again.error.code == code
    assert "may have cost" in again.error.message
    assert "force" in again.error.message
    assert not any("split" in call.path for call in harness.fakes.requests[calls:])
    assert list(harness.bills().values()) == [1]


def test_a_lost_split_is_not_bought_again(harness):
    faults = [{"kind": "process_then_reset", "path": "split"}]
    job = failed(harness, "lalal", faults=faults, key_window="none")
    assert job.error.code == "remote_lost"
    again = retried(harness, job)
    assert (again.error.code, again.remote.cost.state) == ("remote_lost", CostState.MAYBE)
    assert list(harness.bills().values()) == [1]


@SERVICES
@WHEN
def test_a_refusal_that_cost_nothing_is_tried_again_from_the_beginning(harness, job_type, is_cleaned):
    faults = [{"kind": "status", "code": 422, "path": "(split|start)"}]
    job = failed(harness, job_type, is_cleaned=is_cleaned, faults=faults)
    assert (job.error.code, job.remote.cost.state) == ("remote_rejected", CostState.NONE)
    again = retried(harness, job)
    assert again.status is JobStatus.SUCCEEDED, again.error
    assert list(harness.bills().values()) == [1]


@SERVICES
@WHEN
def test_a_job_that_was_cancelled_before_it_was_bought_is_bought_once(harness, job_type, is_cleaned):
    harness.drive(harness.submit(job_type))
    number = harness.points.names.index(f"{job_type}.upload:after") + 3
    harness.fakes.reset()
    job = harness.submit(job_type)
    until = None if is_cleaned else (lambda job: job.is_terminal)
    cancel = {number: lambda: harness.mp.jobs.cancel(DEFAULT_OWNER, job.job_id)}
    job = harness.drive(job, meanwhile=cancel, until=until)
    assert (job.status, harness.bills()) == (JobStatus.CANCELLED, {})
    again = retried(harness, job)
    assert again.status is JobStatus.SUCCEEDED, again.error
    assert list(harness.bills().values()) == [1]


@SERVICES
@WHEN
def test_a_job_that_was_cancelled_after_it_was_bought_is_not_bought_again(harness, job_type, is_cleaned):
    harness.fakes.reset(poll_ticks=9)
    job = harness.drive(harness.submit(job_type), until=lambda job: job.wait_reason == "remote")
    harness.mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
    job = harness.drive(job, until=None if is_cleaned else lambda job: job.is_terminal)
    again = retried(harness, job)
    assert (again.status, again.error.code) == (JobStatus.FAILED, "remote_cancelled")
    assert list(harness.bills().values()) == [1]


@SERVICES
@WHEN
@pytest.mark.parametrize("place", ["submit:before", "submit:after"])
def test_a_job_that_died_at_its_purchase_and_was_cancelled_is_paid_for_once(harness, job_type, place, is_cleaned):
    harness.drive(harness.submit(job_type))
    number = harness.points.names.index(f"{job_type}.{place}") + 1
    harness.fakes.reset()
    job = harness.drive(harness.submit(job_type), crashes=[number], until=lambda _: harness.points.crashed)
    harness.mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
    job = harness.drive(job, until=None if is_cleaned else lambda job: job.is_terminal)
    assert (job.status, job.remote.cost.state) == (JobStatus.CANCELLED, CostState.MAYBE)
    again = retried(harness, job)
    assert again.is_terminal
    assert len(harness.fakes.state()["bills"]) <= 1


@pytest.mark.parametrize("has_bought", [False, True])
def test_what_an_heir_works_with_is_not_deleted_by_its_forerunner(harness, has_bought):
    """A draft has the name that both have: deleting it by that name would end work that was paid for."""
    harness.drive(harness.submit("auphonic"))
    number = harness.points.names.index("auphonic.create:after") + 1
    harness.fakes.reset()
    job = harness.drive(harness.submit("auphonic"), crashes=[number], until=lambda _: harness.points.crashed)
    harness.mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
    job = harness.drive(job, until=lambda job: job.is_terminal)
    assert (job.remote.intent, job.remote.remote_id, harness.fakes.state()["live"]) == ("create", None, 1)

    again = retry(harness, job)
    if has_bought:
        harness.step(again)
        assert harness.now(again).remote.phase is RemotePhase.SUBMITTED
    harness.poll()

    assert (harness.now(job).remote.cleanup_due, harness.fakes.state()["live"]) == (None, 1)
    again = harness.drive(again)
    assert again.status is JobStatus.SUCCEEDED, again.error
    harness.check(again)


def test_two_retries_are_one(harness):
    job = failed(harness, "lalal", faults=[{"kind": "status", "code": 422, "path": "split"}])
    first = retry(harness, job)
    assert retry(harness, job).job_id == first.job_id
    again = harness.drive(first)
    assert again.status is JobStatus.SUCCEEDED
    harness.drive(job)
    harness.check(again)
