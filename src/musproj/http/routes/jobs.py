"""Jobs: submit, show, wait for, list, cancel, retry."""

from functools import partial
from typing import Any

from musproj.application.jobs import is_replay
from musproj.domain.ids import AssetId
from musproj.domain.job import Job
from musproj.errors import (
    AssetNotFoundError,
    AssetNotReadyError,
    FileNotFoundInVersionError,
    IdempotencyMismatchError,
    InvalidCursorError,
    InvalidParamsError,
    JobAlreadyFinishedError,
    JobNotFoundError,
    JobNotRetryableError,
    PresetNotFoundError,
    UnknownJobTypeError,
    VersionNotFoundError,
)
from musproj.http import queries, schemas, specs
from musproj.http.headers import job_etag, retry_after
from musproj.http.operations import Api, Call, Reply
from musproj.ports.jobs import JobFilter, SubmitAnswer

api = Api()


@api.op(
    "GET",
    "/jobs/{jobId}",
    id="getJob",
    tag="jobs",
    is_conditional=True,
    waits=True,
    has_retry_after=True,
    errors=(JobNotFoundError,),
)
def get_job(call: Call[None, queries.JobQuery]) -> Reply[schemas.Job]:
    """Show a job; with a wait, once it has ended, or changed where `If-None-Match` tells what is known."""
    return _shown(call, call.mp.jobs.get(call.owner, call.job_id))


@api.op(
    "POST",
    "/jobs",
    id="submitJob",
    tag="jobs",
    status=202,
    is_idempotent=True,
    waits=True,
    has_location=True,
    has_retry_after=True,
    errors=(
        AssetNotFoundError,
        VersionNotFoundError,
        FileNotFoundInVersionError,
        AssetNotReadyError,
        UnknownJobTypeError,
        PresetNotFoundError,
        InvalidParamsError,
        IdempotencyMismatchError,
    ),
)
def submit_job(call: Call[schemas.JobRequest, queries.WaitQuery]) -> Reply[schemas.Job]:
    """Submit a job, or get the identical one that is there; with a wait, once it has ended."""
    return _submitted(call, call.mp.jobs.submit(call.owner, specs.job_spec(call.body), call.idempotency))


@api.op("GET", "/jobs", id="listJobs", tag="jobs", errors=(InvalidCursorError,))
def list_jobs(call: Call[None, queries.JobsQuery]) -> Reply[schemas.JobPage]:
    """List jobs, newest first."""
    query = call.query
    filters = JobFilter(
        asset_id=AssetId(query.asset_id) if isinstance(query.asset_id, str) else None,
        status=specs.known(query.status),
        **specs.created_between(query.created_after, query.created_before),
    )
    page = call.mp.jobs.list(call.owner, filters, limit=query.limit, cursor=specs.known(query.cursor))
    return Reply(content=schemas.to_job_page(page), next_cursor=page.next_cursor)


@api.op(
    "POST",
    "/jobs/{jobId}/cancel",
    id="cancelJob",
    tag="jobs",
    status=202,
    is_body_optional=True,
    has_retry_after=True,
    errors=(JobNotFoundError, JobAlreadyFinishedError),
)
def cancel_job(call: Call[schemas.Nothing, None]) -> Reply[schemas.Job]:
    """Cancel a waiting job, tell a running one to stop; repeatable."""
    return _shown(call, call.mp.jobs.cancel(call.owner, call.job_id))


@api.op(
    "POST",
    "/jobs/{jobId}/retry",
    id="retryJob",
    tag="jobs",
    status=202,
    is_body_optional=True,
    is_idempotent=True,
    has_location=True,
    has_retry_after=True,
    errors=(
        JobNotFoundError,
        JobNotRetryableError,
        AssetNotFoundError,
        AssetNotReadyError,
        VersionNotFoundError,
        UnknownJobTypeError,
        IdempotencyMismatchError,
    ),
)
def retry_job(call: Call[schemas.Nothing, None]) -> Reply[schemas.Job]:
    """Submit a failed or cancelled job anew, as another job."""
    return _submitted(call, call.mp.jobs.retry(call.owner, call.job_id, call.idempotency))


def _submitted(call: Call[Any, Any], answer: SubmitAnswer) -> Reply[schemas.Job]:
    return _shown(call, answer.job, location=f"/jobs/{answer.job.job_id}", is_replay=is_replay(answer))


def _shown(call: Call[Any, Any], job: Job, **more: Any) -> Reply[schemas.Job]:
    """Return the reply that shows `job`, now or after the request was held; `more` stays the same."""
    include = getattr(call.query, "include", None)
    return Reply(
        content=schemas.to_job(job, with_attempts=include == "attempts"),
        etag=job_etag(job),
        retry_after=None if job.is_terminal else retry_after(job, call.mp.clock.now()),
        job=job,
        render=partial(_shown, call, **more),
        **more,
    )
