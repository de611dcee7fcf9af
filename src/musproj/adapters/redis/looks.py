"""What a tick does with a job that is due: decided on its record, applied in one call."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from musproj.adapters.redis.backend import RedisBackend, Settled, Step
from musproj.adapters.redis.carrier import Carrier
from musproj.adapters.redis.job_changes import add_change, add_home, add_postponement, add_redelivery, add_suspicion
from musproj.adapters.redis.job_reads import as_submitted
from musproj.adapters.redis.job_records import StoredJob
from musproj.adapters.redis.plan import Plan
from musproj.adapters.redis.workers import Workers
from musproj.domain import ledger
from musproj.domain.ids import JobId
from musproj.domain.job import Job, JobStatus, WaitReason
from musproj.domain.ledger import Worker
from musproj.domain.times import to_millis
from musproj.ports.jobs import Tick

SECOND_LOOK = timedelta(seconds=10)
"""After the first look that found a delivery with a worker who has not begun the job."""
NEXT_LOOK, LAST_LOOK = timedelta(seconds=60), timedelta(minutes=15)
"""A delivery that is well is looked after at doubling distances, between these."""

_REPLACEABLE = frozenset({None, WaitReason.DELAY, WaitReason.RETRY})
"""Reasons that `no_processor` may stand for; the others say that the next start resumes an attempt."""

Outcome = Step[Tick] | Settled[Tick]
Decision = Callable[[datetime, StoredJob], Outcome]


class Looks:
    """The looks of one claim; what all of them need is asked for once."""

    def __init__(self, backend: RedisBackend, workers: Workers) -> None:
        self._backend = backend
        self._workers = workers
        self._able: Sequence[Worker] | None = None
        self._carrier = Carrier(backend)
        self._next: dict[JobId, int] = {}

    def at_lease(self, now: datetime, stored: StoredJob, *, was_away: bool) -> Outcome:
        """Take the job off a lost worker; where the store was away, wait once more for its sign of life."""
        job, rules = stored.job, self._backend.rules
        if job.status is not JobStatus.RUNNING or ledger.is_live(job, now, rules):
            return self._home(stored)
        if was_away:
            renewed = job.renew(now=now, lease=rules.lease, progress=None, stage=None)
            return self._change(now, stored, renewed, Tick(extended=1))
        after = ledger.lose(job, now=now, rules=rules)
        return self._change(now, stored, after, Tick(ended=1) if after.is_terminal else Tick(requeued=1))

    def at_delayed(self, now: datetime, stored: StoredJob) -> Outcome:
        """Deliver the job whose time has come."""
        job = stored.job
        if job.status is not JobStatus.QUEUED or not stored.is_delayed:
            return self._home(stored)
        if job.expires_at <= now:
            return self._change(now, stored, ledger.expire(job, now=now), Tick(ended=1))
        if job.run_at > now:
            return self._home(stored)
        return self._deliver(now, stored)

    def at_delivered(self, now: datetime, stored: StoredJob) -> Outcome:
        """Deliver the job anew where its queue has lost it."""
        over = self._over(now, stored)
        if over is not None:
            return over
        waited = now - stored.job.updated_at
        is_taken = self._carrier.has_taken(stored)
        if is_taken and stored.suspect != stored.delivery:
            self._put_off(stored.job, now, SECOND_LOOK)
            plan = Plan(at=to_millis(now))
            add_suspicion(plan, self._backend, stored)
            return Step(plan=plan, answer=lambda _: Tick())
        if is_taken or self._carrier.has_lost(stored, is_long_ago=waited >= LAST_LOOK):
            return self._deliver(now, stored)
        self._put_off(stored.job, now, min(max(waited, NEXT_LOOK), LAST_LOOK))
        return self._mark(now, stored)

    def at_waiting(self, now: datetime, stored: StoredJob) -> Outcome:
        """End a job that waited too long; note whether a live worker can run it."""
        over = self._over(now, stored)
        return self._mark(now, stored) if over is None else over

    def _over(self, now: datetime, stored: StoredJob) -> Outcome | None:
        """Return what becomes of a job that does not wait for a worker."""
        job = as_submitted(self._backend, stored.job, now)
        if job.status is not JobStatus.QUEUED or stored.is_delayed:
            return self._home(stored)
        if job.expires_at <= now:
            return self._change(now, stored, ledger.expire(job, now=now), Tick(ended=1))
        if job.run_at > now:
            plan = Plan(at=to_millis(now))
            add_postponement(plan, self._backend, stored)
            return Step(plan=plan, answer=lambda _: Tick())
        return None

    def _mark(self, now: datetime, stored: StoredJob) -> Outcome:
        marked = self._marked(stored.job, now)
        return Settled(Tick()) if marked is stored.job else self._change(now, stored, marked, Tick())

    def put_off(self) -> None:
        """Note when the deliveries that are well are to be looked after again."""
        if self._next:
            scores = [part for job_id, at in self._next.items() for part in (at, job_id)]
            self._backend.connection.execute([("ZADD", self._backend.keys.delivered, "XX", *scores)])

    def _put_off(self, job: Job, now: datetime, by: timedelta) -> None:
        self._next[job.job_id] = to_millis(now + by)

    def _home(self, stored: StoredJob) -> Outcome:
        plan = Plan()
        add_home(plan, self._backend, stored)
        return Step(plan=plan, answer=lambda _: Tick())

    def _deliver(self, now: datetime, stored: StoredJob) -> Outcome:
        plan = Plan(at=to_millis(now))
        add_redelivery(plan, self._backend, stored, self._marked(stored.job, now))
        return Step(plan=plan, answer=lambda _: Tick())

    def _change(self, now: datetime, stored: StoredJob, after: Job, done: Tick) -> Outcome:
        plan = Plan(at=to_millis(now))
        add_change(plan, self._backend, stored, after)
        return Step(plan=plan, answer=lambda _: done)

    def _marked(self, job: Job, now: datetime) -> Job:
        """Return the job with the right reason to wait."""
        if self._able is None:
            self._able = [
                Worker(worker_id=seen.worker_id, types=seen.types, abilities=seen.abilities)
                for seen in self._workers.living()
            ]
        can_run = any(worker.can_run(job) for worker in self._able)
        if not can_run and job.wait_reason in _REPLACEABLE:
            return job.wait(WaitReason.NO_PROCESSOR, now=now)
        if can_run and job.wait_reason is WaitReason.NO_PROCESSOR:
            return job.wait(None, now=now)
        return job
