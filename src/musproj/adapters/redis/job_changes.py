"""A changed job: its fields, the lists and timers that show it, what its end frees."""

from musproj.adapters.redis.backend import CHANGED, RedisBackend
from musproj.adapters.redis.deliveries import add_delay, add_delivery, drop_delay, drop_taken, drop_waiting
from musproj.adapters.redis.job_records import StoredJob, as_json, changed_fields, to_fields
from musproj.adapters.redis.plan import Plan
from musproj.domain.asset import GC_GRACE
from musproj.domain.ids import JobId
from musproj.domain.job import KEPT_ATTEMPTS, Job, JobStatus
from musproj.domain.times import to_millis

KEPT_S = {JobStatus.SUCCEEDED: 30 * 86_400, JobStatus.CANCELLED: 30 * 86_400, JobStatus.FAILED: 90 * 86_400}
"""How long an ended job is known."""


def add_change(
    plan: Plan, backend: RedisBackend, before: StoredJob, after: Job, *, slots: str = "", delivery: int | None = None
) -> None:
    """Turn the job that was read into `after`; where it was changed meanwhile, the check `CHANGED` fails.

    A running job keeps or takes `slots`; one that begins was brought by the delivery of that number.
    """
    own = _own_fields(before, after, slots, delivery)
    _write_fields(plan, backend, before, changed_fields(before.job, after) | own)
    _write_history(plan, backend, before.job, after)
    if after.status is not before.job.status:
        _move(plan, backend, before, after)
    _mind_lease(plan, backend, before, after, slots)
    if after.remote_due != before.job.remote_due:
        add_remote_due(plan, backend, after)
    if after.is_terminal and not before.job.is_terminal:
        _end(plan, backend, after)
    _tell(plan, backend, before.job, after)


def add_redelivery(plan: Plan, backend: RedisBackend, before: StoredJob, after: Job) -> None:
    """Deliver a waiting job, for the first time or anew; an older delivery of it leads to nothing from now on."""
    own: dict[str, str | None] = {"delivery": str(before.delivery + 1)}
    if before.is_delayed:
        own["delayed"] = None
        drop_delay(plan, backend, before.job)
    if before.suspect:
        own["suspect"] = None
    _write_fields(plan, backend, before, changed_fields(before.job, after) | own)
    drop_taken(plan, backend, before.job, before.delivery)
    drop_waiting(plan, backend, before.job, before.delivery)
    add_delivery(plan, backend, after, before.delivery + 1)
    if after.remote_due != before.job.remote_due:
        add_remote_due(plan, backend, after)
    _tell(plan, backend, before.job, after)


def add_postponement(plan: Plan, backend: RedisBackend, before: StoredJob) -> None:
    """Let a job that came too early wait for its time: it was submitted by a clock ahead of ours."""
    _write_fields(plan, backend, before, {"delayed": "1"})
    plan.write("ZREM", backend.keys.delivered, before.job.job_id)
    drop_taken(plan, backend, before.job, before.delivery)
    add_delay(plan, backend, before.job)


def add_suspicion(plan: Plan, backend: RedisBackend, before: StoredJob) -> None:
    """Note that the job's delivery is with a worker, who should have begun it long ago."""
    _write_fields(plan, backend, before, {"suspect": str(before.delivery)})


def add_home(plan: Plan, backend: RedisBackend, stored: StoredJob) -> None:
    """Leave the job in the timer set that it belongs to, and in no other."""
    job, keys = stored.job, backend.keys
    plan.require(keys.job(job.job_id), "rev", str(stored.revision), name=CHANGED)
    homes: dict[str, int] = {}
    if job.status is JobStatus.RUNNING and job.lease_until is not None:
        homes[keys.timers] = to_millis(job.lease_until)
    elif job.status is JobStatus.QUEUED and stored.is_delayed:
        homes[keys.delayed] = to_millis(job.run_at)
        if job.expires_at < job.run_at:
            homes[keys.expiring] = to_millis(job.expires_at)
    elif job.status is JobStatus.QUEUED:
        homes[keys.delivered] = to_millis(job.updated_at)
    for timer in _timers(backend):
        if timer in homes:
            plan.write("ZADD", timer, homes[timer], job.job_id)
        else:
            plan.write("ZREM", timer, job.job_id)


def forget(plan: Plan, backend: RedisBackend, job_id: JobId) -> None:
    """Take a job without a record out of the timer sets."""
    for timer in _timers(backend):
        plan.write("ZREM", timer, job_id)


def add_repair(plan: Plan, backend: RedisBackend, corrupt: StoredJob, was: str | None) -> None:
    """Overwrite a record that cannot be read with the failed job that it is taken for; `was` is its status field."""
    job, keys = corrupt.job, backend.keys
    plan.write("DEL", keys.job(job.job_id))
    plan.write("DEL", keys.attempts(job.job_id))
    fields = {**to_fields(job), "rev": str(corrupt.revision + 1)}
    plan.write("HSET", keys.job(job.job_id), *(part for field in fields.items() for part in field))
    for timer in _timers(backend):
        plan.write("ZREM", timer, job.job_id)
    if was != job.status:
        for status in JobStatus:
            plan.write("ZREM", keys.owner_jobs(job.owner, status), job.job_id)
        plan.write("ZADD", keys.owner_jobs(job.owner, job.status), 0, job.job_id)
        plan.write("HINCRBY", keys.job_counts, job.status, 1)
    _give_up_slots(plan, backend, job, "po")
    plan.write("EXPIRE", keys.job(job.job_id), KEPT_S[job.status])
    plan.write("PUBLISH", keys.changes, job.job_id)


def add_remote_due(plan: Plan, backend: RedisBackend, job: Job) -> None:
    """Write when somebody has to look at the job's service, or that nobody has to."""
    if job.remote is None:
        return
    key, due = backend.keys.remotes(job.remote.service), job.remote_due
    plan.write("SADD", backend.keys.services, job.remote.service)
    if due is None:
        plan.write("ZREM", key, job.job_id)
    else:
        plan.write("ZADD", key, to_millis(due), job.job_id)


def add_discard(plan: Plan, backend: RedisBackend, job: Job, number: int, at: int) -> None:
    """Put the prefix of a version number that the job will not publish on gc's list."""
    due = at + round(GC_GRACE.total_seconds() * 1000)
    plan.write("ZADD", backend.keys.gc_due, due, f"{job.asset_id}/v{number}")


def _timers(backend: RedisBackend) -> tuple[str, ...]:
    keys = backend.keys
    return keys.timers, keys.delayed, keys.delivered, keys.expiring


def _own_fields(before: StoredJob, after: Job, slots: str, delivery: int | None) -> dict[str, str | None]:
    """Return the changed fields that no other store has."""
    is_queued, is_running = after.status is JobStatus.QUEUED, after.status is JobStatus.RUNNING
    found: dict[str, str | None] = {}
    if before.is_delayed and not (is_queued and before.job.status is after.status):
        found["delayed"] = None
    if before.suspect and not is_queued:
        found["suspect"] = None
    if before.slots and not is_running:
        found["slots"] = None
    elif slots != before.slots and is_running and before.job.token != after.token:
        found["slots"] = slots or None
    if is_queued and before.job.status is not JobStatus.QUEUED:
        if _is_due(after):
            found["delivery"] = str(before.delivery + 1)
        else:
            found["delayed"] = "1"
    elif delivery is not None and delivery != before.delivery:
        found["delivery"] = str(delivery)
    return found


def _write_fields(plan: Plan, backend: RedisBackend, before: StoredJob, fields: dict[str, str | None]) -> None:
    key = backend.keys.job(before.job.job_id)
    plan.require(key, "rev", str(before.revision), name=CHANGED)
    fields = {"rev": str(before.revision + 1), **fields}
    plan.write("HSET", key, *(part for name, value in fields.items() if value is not None for part in (name, value)))
    gone = [name for name, value in fields.items() if value is None]
    if gone:
        plan.write("HDEL", key, *gone)


def _write_history(plan: Plan, backend: RedisBackend, before: Job, after: Job) -> None:
    if after.history is before.history:
        return
    key = backend.keys.attempts(after.job_id)
    known = {id(entry) for entry in before.history}
    plan.write("RPUSH", key, *(as_json(entry) for entry in after.history if id(entry) not in known))
    plan.write("LTRIM", key, -KEPT_ATTEMPTS, -1)
    plan.write("HSET", backend.keys.job(after.job_id), "attemptsKept", len(after.history))


def _move(plan: Plan, backend: RedisBackend, before: StoredJob, after: Job) -> None:
    """Take the job out of the lists of its old status and put it into those of the new one."""
    keys, job = backend.keys, before.job
    plan.write("ZREM", keys.owner_jobs(job.owner, job.status), job.job_id)
    plan.write("ZADD", keys.owner_jobs(job.owner, after.status), 0, job.job_id)
    if after.is_terminal:
        plan.write("HINCRBY", keys.job_counts, after.status, 1)
    if job.status is JobStatus.RUNNING:
        drop_taken(plan, backend, job, before.delivery)
    elif before.is_delayed:
        drop_delay(plan, backend, job)
    else:
        plan.write("ZREM", keys.delivered, job.job_id)
    if job.status is JobStatus.QUEUED and after.is_terminal:
        drop_waiting(plan, backend, job, before.delivery)
    if after.status is JobStatus.QUEUED:
        if _is_due(after):
            add_delivery(plan, backend, after, before.delivery + 1)
        else:
            add_delay(plan, backend, after)


def _is_due(after: Job) -> bool:
    """Tell whether a job that was just put back may run at once."""
    return after.run_at <= after.updated_at


def _mind_lease(plan: Plan, backend: RedisBackend, before: StoredJob, after: Job, slots: str) -> None:
    """Keep the lease's timer, and the slots that end with it."""
    job, keys = after, backend.keys
    if job.status is not JobStatus.RUNNING:
        if before.job.status is JobStatus.RUNNING:
            plan.write("ZREM", keys.timers, job.job_id)
            _give_up_slots(plan, backend, job, before.slots)
        return
    if job.lease_until == before.job.lease_until:
        return
    assert job.lease_until is not None
    until = to_millis(job.lease_until)
    plan.write("ZADD", keys.timers, until, job.job_id)
    is_new = job.token != before.job.token
    for key, _ in _slots_of(backend, job, slots if is_new else before.slots):
        plan.write("ZADD", key, until, job.job_id)
    if is_new:
        _give_up_slots(plan, backend, job, "".join(slot for slot in before.slots if slot not in slots))


def _give_up_slots(plan: Plan, backend: RedisBackend, job: Job, slots: str) -> None:
    """Hand each slot on to the first job that waits for one."""
    for key, waiting in _slots_of(backend, job, slots):
        if backend.wire is None:
            plan.write("ZREM", key, job.job_id)
        else:
            plan.hand_on(
                slots=key,
                member=job.job_id,
                waiting=waiting,
                queue=backend.wire.queue_key(job.queue),
                delivered=backend.keys.delivered,
            )


def _slots_of(backend: RedisBackend, job: Job, slots: str) -> list[tuple[str, str]]:
    """Return the key of each slot's set and that of the jobs that wait for one."""
    keys = backend.keys
    found = {
        "p": (keys.type_slots(job.type), keys.waiting_for_type(job.queue, job.type)),
        "o": (keys.owner_slots(job.owner), keys.waiting_for_owner(job.queue, job.owner)),
    }
    return [found[slot] for slot in slots]


def _end(plan: Plan, backend: RedisBackend, job: Job) -> None:
    keys, kept = backend.keys, KEPT_S[job.status]
    plan.write("EXPIRE", keys.job(job.job_id), kept)
    if job.history:
        plan.write("EXPIRE", keys.attempts(job.job_id), kept)
    dedupe = job.dedupe_key
    if dedupe is not None:
        plan.write("DEL", keys.twin(job.owner, dedupe))
    if job.status is JobStatus.SUCCEEDED:
        if dedupe is not None:
            plan.set_later(keys.finished_twin(job.owner, dedupe), job.job_id, kept * 1000)
    elif job.reserved_version is not None:
        add_discard(plan, backend, job, job.reserved_version, to_millis(job.updated_at))


def _tell(plan: Plan, backend: RedisBackend, before: Job, after: Job) -> None:
    """Say that the job changed, but not for a mere sign of life."""
    keys = backend.keys
    if _shown(after) != _shown(before):
        plan.write("PUBLISH", keys.changes, after.job_id)
    if (
        after.status is JobStatus.RUNNING
        and after.cancel_requested_at is not None
        and before.cancel_requested_at is None
    ):
        plan.write("PUBLISH", keys.stops, after.job_id)


def _shown(job: Job) -> tuple[object, ...]:
    return job.status, job.progress, job.stage, job.attempts, job.run_at, job.cancel_requested_at, job.wait_reason
