"""Follow a job to its end on the terminal, and the exit code that tells how it ended."""

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from musproj.cli.exit_codes import ExitCode
from musproj.domain.ids import DEFAULT_OWNER, JobId
from musproj.domain.job import Job, JobStatus, WaitReason
from musproj.ports.processor import ProcessorSpec, needed_processor, needed_service

if TYPE_CHECKING:
    from musproj import MusProj
    from musproj.cli.call import Call

_WORDS = {
    WaitReason.DELAY: "its time",
    WaitReason.RETRY: "another try",
    WaitReason.RATE: "a free slot",
    WaitReason.REMOTE: "its service",
    WaitReason.DRAIN: "another worker",
    WaitReason.NO_PROCESSOR: "a worker that can run it",
}
_ENDS = {
    JobStatus.SUCCEEDED: ExitCode.OK,
    JobStatus.FAILED: ExitCode.FAILED,
    JobStatus.CANCELLED: ExitCode.CANCELLED,
}


def exit_of(job: Job) -> int:
    """Return how `job` ended; one that still goes on has outlived the time that was given."""
    return _ENDS.get(job.status, ExitCode.TIMEOUT)


def follow(
    call: "Call", mp: "MusProj", job_id: JobId, *, timeout: float | None, on_change: Callable[[Job], None] | None = None
) -> Job:
    """Show a job's progress on stderr until it has ended or `timeout` seconds are over, and return it."""
    job: Job | None = None
    try:
        with call.progress(job_id) as report:
            for job in mp.jobs.watch(DEFAULT_OWNER, job_id, timeout=timeout):
                report(job.progress / 100, _stage(job))
                if on_change is not None:
                    on_change(job)
    except KeyboardInterrupt:
        call.out.note(f"The job goes on. Watch it with: musproj jobs watch {job_id}")
        raise
    assert job is not None  # watch() yields at once
    if not job.is_terminal:
        call.out.note(f"The time is over, the job goes on. Watch it with: musproj jobs watch {job_id}")
    return job


def hints(
    job: Job, specs: Callable[[], Iterable[ProcessorSpec]], workers: Callable[[], Collection[object]]
) -> list[tuple[str, str]]:
    """Return why a job waits and what would help."""
    if job.status is not JobStatus.QUEUED:
        return []
    if job.wait_reason in (None, WaitReason.NO_PROCESSOR) and not workers():
        return [("waits for", "a worker; `musproj work` starts one")]
    if job.wait_reason is None:
        return [("waits for", "its turn")]
    found = [("waits for", _WORDS[job.wait_reason])]
    if job.wait_reason is WaitReason.NO_PROCESSOR:
        names = {job.type, *filter(None, map(needed_processor, job.needs))}
        extras = {spec.extra for spec in specs() if spec.name in names and spec.extra}
        extras |= {need for need in job.needs if needed_processor(need) is None and needed_service(need) is None}
        from musproj.services import key_setting

        services = sorted(filter(None, map(needed_service, job.needs)))
        extras = {"services"} if services else extras
        lines = [f"pip install 'musproj[{extra}]'" for extra in sorted(extras)]
        lines += [f"a key of {service} ({key_setting(service)})" for service in services]
        found.append(("would help", " and ".join(lines) or f"a worker with the processor {job.type!r}"))
    return found


def _stage(job: Job) -> str:
    return job.stage or ("" if job.status is JobStatus.RUNNING else str(job.status))
