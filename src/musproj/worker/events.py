"""What a worker tells whoever started it, and its log."""

import logging
from collections.abc import Callable, Mapping

import attrs

from musproj.domain.job import Job

log = logging.getLogger("musproj.worker")

_LOUD = frozenset({"job_failed", "job_fenced", "backend_down", "lease_expired"})
_QUIET = frozenset({"job_progress"})


@attrs.frozen(kw_only=True)
class WorkerEvent:
    """Something that happened."""

    action: str
    """`worker_started`, `worker_draining`, `worker_stopped`, `job_begun`, `job_progress`, `job_committed`,
    `job_released` (it will run again), `job_failed`, `job_cancelled`, `job_fenced` (another run holds the job),
    `backend_down`, `backend_up`; stable."""
    text: str
    """One plain sentence."""
    job: Job | None = None
    """The record as it is now, where the event is a job's."""
    facts: Mapping[str, object] = attrs.field(factory=dict[str, object])


@attrs.frozen
class Teller:
    """Logs each event and hands it on."""

    worker_id: str
    on_event: Callable[[WorkerEvent], None] | None = None

    def __call__(self, action: str, text: str, job: Job | None = None, **facts: object) -> None:
        """Tell one event."""
        level = logging.WARNING if action in _LOUD else logging.DEBUG if action in _QUIET else logging.INFO
        extra: dict[str, object] = {"action": action, "worker": self.worker_id, **facts}
        if job is not None:
            extra |= {"job": job.job_id, "asset": job.asset_id, "owner": job.owner, "attempt": job.attempts}
        log.log(level, "%s", text if job is None else f"Job {job.job_id}: {text}", extra=extra)
        if self.on_event is None:
            return
        try:
            self.on_event(WorkerEvent(action=action, text=text, job=job, facts=facts))
        except Exception:
            # Whoever watches may fail, a closed terminal for one; the jobs go on.
            log.debug("An event was not taken.", exc_info=True)
