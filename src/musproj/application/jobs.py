"""Submit, show, list, cancel, retry and watch jobs."""

import selectors
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from musproj.application import params
from musproj.application.catalog import Catalog
from musproj.application.inputs import check_ports
from musproj.application.presets import Choice
from musproj.domain.ids import AssetId, JobId, Owner, new_job_id
from musproj.domain.job import DEFAULT_LIFETIME, Job, JobInput, JobStatus, WaitReason
from musproj.domain.ledger import Cancelled, CancelRequested, Missing, Noted, TooLate
from musproj.domain.media import needs_of
from musproj.domain.remote import CostState
from musproj.errors import (
    JobAlreadyFinishedError,
    JobNotFoundError,
    JobNotRetryableError,
    VersionNotFoundError,
)
from musproj.ports.assets import AssetStore, Idempotency, Page
from musproj.ports.changes import ChangeFeed
from musproj.ports.clock import Clock
from musproj.ports.jobs import Existing, JobFilter, JobStore, SubmitAnswer
from musproj.ports.processor import ProcessorSpec

HIGH_PRIORITY = 10
ENDED_BADLY = (JobStatus.FAILED, JobStatus.CANCELLED)
LOOKED_BACK = 50
"""Ended jobs of an asset among which an identical one is looked for."""


@attrs.frozen(kw_only=True)
class InputRef:
    """An input as a client names it."""

    asset_id: AssetId
    version: int | None = None
    """None: the asset's head."""
    file: str | None = None
    """None: the primary file."""


@attrs.frozen(kw_only=True)
class JobSpec:
    """A job as a client asks for it."""

    type: str = ""
    """Name of a processor; empty where `preset` is given."""
    preset: str | None = None
    """Name of a preset, whose parameters `params` go before."""
    inputs: Mapping[str, InputRef]
    """By port; a single port is named `input`."""
    params: Mapping[str, object] = attrs.field(factory=dict[str, object])
    force: bool = False
    priority: int = 0
    run_at: datetime | None = None
    expires_at: datetime | None = None


@attrs.frozen(kw_only=True)
class Jobs:
    """What a client can do with jobs; every id of another owner is an unknown id."""

    jobs: JobStore
    assets: AssetStore
    catalog: Catalog
    clock: Clock
    queue_name: str = "audio-jobs"
    lifetime: timedelta = DEFAULT_LIFETIME

    def submit(self, owner: Owner, spec: JobSpec, idempotency: Idempotency | None = None) -> SubmitAnswer:
        """Put a job into the queue, or return the identical one that is there.

        Raises:
            UnknownJobTypeError: no such processor.
            PresetNotFoundError: no such preset.
            InvalidParamsError: a parameter is unknown or out of range.
            InvalidError: an unknown or a missing port; both a type and a preset, or neither.
            AssetNotFoundError: an input is unknown, or another owner's.
            AssetNotReadyError: an input's asset is pending or deleted.
            VersionNotFoundError: an input's version was not published.
            FileNotFoundInVersionError: an input's version has no such file.
            IdempotencyMismatchError: the key was used with another request.
        """
        choice = Choice(type=spec.type, preset=spec.preset, params=spec.params)
        name, given = choice.resolved(self.catalog.presets)
        declared = self.catalog.get(name).spec
        if name in self.catalog.engines:
            given = {"engine": self.catalog.engines[name], **given}
        parsed = params.parse(declared.params, given)
        processor = declared.given(parsed)
        checked = params.canonical(parsed)
        check_ports(processor, spec.inputs, single="/assetId")
        resolved = [
            self._resolve(owner, port.name, spec.inputs[port.name])
            for port in processor.inputs
            if port.name in spec.inputs
        ]
        now = self.clock.now()
        job = new_job(
            processor, owner, tuple(i for i, _ in resolved), checked, now=now, queue=self.queue_name,
            lifetime=self.lifetime,
        )  # fmt: skip
        job = attrs.evolve(
            job,
            needs=tuple(sorted({*processor.needs(parsed), *(need for _, needs in resolved for need in needs)})),
            force=spec.force,
            priority=spec.priority,
            run_at=spec.run_at or now,
            wait_reason=WaitReason.DELAY if spec.run_at and spec.run_at > now else None,
            expires_at=spec.expires_at or job.expires_at,
        )
        if processor.paid and not spec.force:
            job = self._after_failure(job)
        return self.jobs.submit(job, idempotency, paid=processor.paid)

    def get(self, owner: Owner, job_id: JobId) -> Job:
        """Return a job.

        Raises:
            JobNotFoundError: unknown, or another owner's.
        """
        return self.jobs.get(owner, job_id)

    def list(
        self, owner: Owner, filters: JobFilter | None = None, *, limit: int = 20, cursor: str | None = None
    ) -> Page[Job]:
        """Return a page of jobs, newest first.

        Raises:
            InvalidCursorError: the cursor is malformed.
        """
        return self.jobs.list(owner, filters or JobFilter(), limit=limit, cursor=cursor)

    def cancel(self, owner: Owner, job_id: JobId) -> Job:
        """Cancel a waiting job, tell a running one to stop; cancelling again changes nothing.

        Raises:
            JobNotFoundError: unknown, or another owner's.
            JobAlreadyFinishedError: it has succeeded or failed.
        """
        match self.jobs.cancel(owner, job_id):
            case Missing():
                raise JobNotFoundError(f"No job {job_id}.", job_id=job_id)
            case TooLate(job):
                raise JobAlreadyFinishedError(f"Job {job_id} has {job.status}.", job_id=job_id, status=str(job.status))
            case Cancelled(job) | CancelRequested(job):
                return job

    def retry(self, owner: Owner, job_id: JobId, idempotency: Idempotency | None = None) -> SubmitAnswer:
        """Submit a failed or cancelled job anew: another job of the same root.

        Raises:
            JobNotFoundError: unknown, or another owner's.
            JobNotRetryableError: it still runs, or it succeeded.
            AssetNotReadyError: an input's asset was deleted.
        """
        old = self.jobs.get(owner, job_id)
        if old.status not in ENDED_BADLY:
            raise JobNotRetryableError(f"Job {job_id} is {old.status}.", job_id=job_id, status=str(old.status))
        declared = self.catalog.get(old.type).spec
        processor = declared.given(params.parse(declared.params, old.params))
        now = self.clock.now()
        job = new_job(processor, owner, old.inputs, old.params, now=now, queue=self.queue_name, lifetime=self.lifetime)
        job = attrs.evolve(
            job, needs=old.needs, priority=old.priority, retry_of=old.job_id, root_job_id=old.root_job_id
        )
        if old.remote is not None:
            job = self._inherit(old, job)
        return self.jobs.submit(job, idempotency, paid=processor.paid)

    def _after_failure(self, job: Job) -> Job:
        """Return a new job as the retry of an identical one that ended badly after something was bought.

        Without `force` nothing is paid for twice, whether a client retries or just asks again.
        """
        ended = [
            old
            for status in ENDED_BADLY
            for old in self.jobs.list(
                job.owner, JobFilter(asset_id=job.asset_id, status=status), limit=LOOKED_BACK
            ).items
            if old.likeness == job.likeness and old.remote is not None and old.remote.cost.state is not CostState.NONE
        ]
        if not ended:
            return job
        return self._inherit(max(ended, key=lambda old: old.job_id), job)

    def _inherit(self, old: Job, job: Job) -> Job:
        """Return a job as the retry of `old`, or of its last heir, with what that one bought.

        The forerunner names its heir first, so that nothing is deleted that the heir is to find; one that names an
        heir that was never submitted, because its submitter died, hands on to the same id once more. It is one of its
        own even beside an identical job, which has bought for itself.
        """
        while old.remote is not None:
            heir_id, op = old.remote.heir, old.remote
            heir = self.jobs.find(heir_id) if heir_id is not None else None
            if heir is not None and heir.status in ENDED_BADLY:
                old = heir
                continue
            if heir_id is None:
                heir_id, op = job.job_id, op.evolve(heir=job.job_id)
                if not isinstance(self.jobs.hear(old.job_id, op), Noted):
                    old = self.jobs.get(old.owner, old.job_id)  # others were faster
                    continue
            return attrs.evolve(
                job, job_id=heir_id, retry_of=old.job_id, root_job_id=old.root_job_id, remote=op.for_retry(), force=True
            )
        return attrs.evolve(job, retry_of=old.job_id, root_job_id=old.root_job_id)

    def watch(self, owner: Owner, job_id: JobId, *, timeout: float | None = None) -> Iterator[Job]:
        """Yield the job at once and after each change until it has ended or `timeout` seconds are over.

        Raises:
            JobNotFoundError: unknown, or another owner's.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        feed = self.jobs.listen()
        try:
            job = self.jobs.get(owner, job_id)
            yield job
            while not job.is_terminal and (deadline is None or time.monotonic() < deadline):
                _wait(feed)
                if feed.poll() and (fresh := self.jobs.get(owner, job_id)) != job:
                    job = fresh
                    yield job
        finally:
            feed.close()

    def wait(self, owner: Owner, job_id: JobId, *, timeout: float | None = None) -> Job:
        """Return the job when it has ended, or as it is after `timeout` seconds.

        Raises:
            JobNotFoundError: unknown, or another owner's.
        """
        *_, last = self.watch(owner, job_id, timeout=timeout)
        return last

    def _resolve(self, owner: Owner, port: str, ref: InputRef) -> tuple[JobInput, Sequence[str]]:
        asset = self.assets.get(owner, ref.asset_id).require_ready()
        number = ref.version if ref.version is not None else asset.head
        if number is None:
            raise VersionNotFoundError(f"Asset {ref.asset_id} has no version yet.", asset_id=ref.asset_id)
        file = self.assets.version(owner, ref.asset_id, number).file(ref.file)
        return JobInput(port=port, asset_id=ref.asset_id, version=number, file=ref.file), needs_of(file.content_type)


def new_job(
    processor: ProcessorSpec,
    owner: Owner,
    inputs: tuple[JobInput, ...],
    canonical_params: Mapping[str, object],
    *,
    now: datetime,
    queue: str,
    lifetime: timedelta,
) -> Job:
    """Return a fresh job with a root of its own."""
    job_id = new_job_id(now)
    return Job(
        job_id=job_id,
        root_job_id=job_id,
        type=processor.name,
        owner=owner,
        inputs=inputs,
        params=canonical_params,
        processor_version=processor.version,
        created_at=now,
        updated_at=now,
        run_at=now,
        expires_at=now + lifetime,
        queue=queue,
        max_attempts=processor.max_attempts,
    )


def _wait(feed: ChangeFeed) -> None:
    """Sleep until the feed may have something to tell."""
    descriptor = feed.fileno()
    if descriptor is None:
        time.sleep(feed.interval)
        return
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        selector.select(feed.interval)


def is_replay(answer: SubmitAnswer) -> bool:
    """Tell whether an idempotency key, not the job's likeness, found the job."""
    return isinstance(answer, Existing) and answer.replayed
