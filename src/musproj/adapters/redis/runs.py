"""The life of one run: begin, beat, reserve, commit, release; each decided on a record that was read before."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from musproj.adapters.redis.backend import CHANGED, RedisBackend, Settled, Step
from musproj.adapters.redis.deliveries import parked_member, place_in_line, suits
from musproj.adapters.redis.job_changes import add_change, add_discard, add_postponement, add_redelivery
from musproj.adapters.redis.job_reads import as_submitted, read_for_change
from musproj.adapters.redis.job_records import StoredJob
from musproj.adapters.redis.plan import Applied, Plan, Refused
from musproj.adapters.redis.publication import add_attachment, add_version
from musproj.domain import ledger
from musproj.domain.asset import AssetStatus
from musproj.domain.ids import JobId, Owner
from musproj.domain.job import Job, JobStatus
from musproj.domain.ledger import Failure, Worker
from musproj.domain.remote import RemoteOp
from musproj.domain.times import to_millis
from musproj.ports.jobs import Beat, Publication

T = TypeVar("T")

_PAGE = 200
_FULL, _GONE, _TAKEN = "full", "gone", "taken"


def begin(
    backend: RedisBackend, job_id: JobId, worker: Worker, token: str, delivery: int | None = None
) -> Step[ledger.BeginAnswer | None] | Settled[ledger.BeginAnswer | None]:
    """Grant the job or say why not; None for a delivery that was replaced by a newer one.

    One that came by a `delivery` waits in line where there is no free slot, and for its time where it came too early.
    """
    now, stored = read_for_change(backend, job_id, is_newer_welcome=delivery is not None)
    if stored is None:
        return Settled(ledger.Missing())
    if delivery is not None and delivery < stored.delivery:
        return Settled(None)
    if delivery is not None and stored.is_newer:
        return _park(backend, stored, delivery)
    if ledger.holds(stored.job, token):
        return Settled(ledger.Granted(stored.job, token))
    job = as_submitted(backend, stored.job, now)
    after, answer = ledger.begin(job, worker, token=token, now=now, rules=backend.rules, has_slot=True)
    plan = Plan(at=to_millis(now))
    match answer:
        case ledger.Granted():
            slots = _slots(backend, job, worker)
            add_change(plan, backend, stored, after, slots=slots, delivery=delivery)
            _require_slots(plan, backend, job, worker, slots, delivery)
        case ledger.Ended():
            add_change(plan, backend, stored, after)
            if delivery is not None:
                _pass_on(plan, backend, job, worker)
        case ledger.NotDue() if delivery is not None and not stored.is_delayed:
            add_postponement(plan, backend, stored)
        case ledger.Unable() if delivery is not None:
            return _park(backend, stored, delivery)
        case ledger.Finished() if delivery is not None:
            _pass_on(plan, backend, job, worker)
        case _:
            return Settled(answer)
    return Step(plan=plan, answer=lambda _: answer, refused={_FULL: lambda _: ledger.Throttled()})


def beat(
    backend: RedisBackend, beat: Beat, first_look: list[tuple[datetime, StoredJob | None]]
) -> Step[ledger.BeatAnswer] | Settled[ledger.BeatAnswer]:
    """Renew a lease; the record may have been read already, once."""
    now, stored = first_look.pop() if first_look else read_for_change(backend, beat.job_id)
    if stored is not None and (stored.is_corrupt or stored.is_newer):
        now, stored = read_for_change(backend, beat.job_id)
    if stored is None:
        return Settled(ledger.Stale())
    after, answer = ledger.beat(
        stored.job, beat.token, progress=beat.progress, stage=beat.stage, now=now, rules=backend.rules
    )
    return _changed(backend, stored, after, answer, now)


def reserve(
    backend: RedisBackend, job_id: JobId, token: str, *, above: int
) -> Step[ledger.ReserveAnswer] | Settled[ledger.ReserveAnswer]:
    """Give the job its asset's next number, unless it has one."""
    now, stored = read_for_change(backend, job_id)
    if stored is None or not ledger.holds(stored.job, token):
        return Settled(ledger.Stale())
    job, keys = stored.job, backend.keys
    held = job.reserved_version
    plan = Plan(at=to_millis(now))
    if held is not None and held > above:
        plan.require(keys.asset(job.asset_id), "status", AssetStatus.READY, name=_GONE)
        return Step(plan=plan, answer=lambda _: ledger.Reserved(held), refused=_WHERE_GONE)
    add_change(plan, backend, stored, job)
    plan.require(keys.asset(job.asset_id), "status", AssetStatus.READY, name=_GONE)
    plan.next_number(keys.asset(job.asset_id), keys.job(job_id), above)
    if held is not None:
        add_discard(plan, backend, job, held, to_millis(now))
    return Step(plan=plan, answer=lambda applied: ledger.Reserved(applied.numbers[0]), refused=_WHERE_GONE)


def commit(
    backend: RedisBackend, job_id: JobId, token: str, publication: Publication
) -> Step[ledger.CommitAnswer] | Settled[ledger.CommitAnswer]:
    """Check token, number, flag, asset and number again, in this order; then publish."""
    now, stored = read_for_change(backend, job_id)
    if stored is None or stored.job.token != token:
        return Settled(ledger.Stale())
    job, version = stored.job, publication.version
    if job.status is JobStatus.SUCCEEDED:
        return Settled(ledger.Committed(job, again=True))
    if job.status is JobStatus.CANCELLED:
        return Settled(ledger.CancelledFirst(job))
    if not ledger.holds(job, token) or (version and version.number != job.reserved_version):
        return Settled(ledger.Stale())
    if job.cancel_requested_at is not None:
        ended = job.end_cancelled(now=now)
        return _changed(backend, stored, ended, ledger.CancelledFirst(ended), now)
    done = job.succeed(now=now, created_version=version.number if version else None, result=publication.result)
    plan = Plan(at=to_millis(now))
    add_change(plan, backend, stored, done)
    plan.require(backend.keys.asset(job.asset_id), "status", AssetStatus.READY, name=_GONE)
    if version:
        plan.require_presence(backend.keys.version(job.asset_id, version.number), present=False, name=_TAKEN)
        add_version(plan, backend, job.owner, job.asset_id, version, moves_head=publication.moves_head)
    for attachment in publication.attachments:
        add_attachment(plan, backend, job.asset_id, attachment, now)
    return Step(plan=plan, answer=lambda _: ledger.Committed(done), refused=_UNPUBLISHED)


def release(
    backend: RedisBackend, job_id: JobId, token: str, failure: Failure
) -> Step[ledger.ReleaseAnswer] | Settled[ledger.ReleaseAnswer]:
    """Take the run off its worker."""
    now, stored = read_for_change(backend, job_id)
    if stored is None:
        return Settled(ledger.Stale())
    after, answer = ledger.release(stored.job, token, failure, now=now, rules=backend.rules)
    return _changed(backend, stored, after, answer, now)


def note(
    backend: RedisBackend, job_id: JobId, token: str, op: RemoteOp
) -> Step[ledger.NoteAnswer] | Settled[ledger.NoteAnswer]:
    """Record the next state of a run's remote operation."""
    now, stored = read_for_change(backend, job_id)
    if stored is None:
        return Settled(ledger.Stale())
    after, answer = ledger.note(stored.job, token, op, now=now)
    return _changed(backend, stored, after, answer, now)


def park(
    backend: RedisBackend, job_id: JobId, token: str, op: RemoteOp, *, until: datetime, stage: str
) -> Step[ledger.ParkAnswer] | Settled[ledger.ParkAnswer]:
    """Record it, and let the job wait for its service."""
    now, stored = read_for_change(backend, job_id)
    if stored is None:
        return Settled(ledger.Stale())
    after, answer = ledger.park(stored.job, token, op, until=until, stage=stage, now=now)
    return _changed(backend, stored, after, answer, now)


def hear(
    backend: RedisBackend, job_id: JobId, op: RemoteOp, *, percent: int | None
) -> Step[ledger.HearAnswer] | Settled[ledger.HearAnswer]:
    """Record what was heard from a service; deliver a job that has something to do."""
    now, stored = read_for_change(backend, job_id)
    if stored is None:
        return Settled(ledger.Stale())
    after, answer = ledger.hear(stored.job, op, percent=percent, now=now)
    if after.run_at == stored.job.run_at:
        return _changed(backend, stored, after, answer, now)
    plan = Plan(at=to_millis(now))
    add_redelivery(plan, backend, stored, after)
    return Step(plan=plan, answer=lambda _: answer)


def forget_remote(backend: RedisBackend, service: str, job_id: JobId, stored: StoredJob | None) -> None:
    """Look after a job's service no longer: its record is gone, or tells nothing of one."""
    plan, key = Plan(), backend.keys.job(job_id)
    if stored is None:
        plan.require_presence(key, present=False)
    else:
        plan.require(key, "rev", str(stored.revision))
    plan.write("ZREM", backend.keys.remotes(service), job_id)
    plan.apply(backend.connection)


def cancel(
    backend: RedisBackend, owner: Owner, job_id: JobId
) -> Step[ledger.CancelAnswer] | Settled[ledger.CancelAnswer]:
    """Cancel a waiting job, tell a running one to stop."""
    now, stored = read_for_change(backend, job_id)
    if stored is None or stored.job.owner != owner:
        return Settled(ledger.Missing())
    after, answer = ledger.cancel(stored.job, now=now)
    return _changed(backend, stored, after, answer, now)


def take_parked(backend: RedisBackend, queue: str, worker: Worker) -> str | None:
    """Take the first delivery that `worker` can run of those that the worker that had it could not."""
    wire, key = backend.wire, backend.keys.parked(queue)
    assert wire is not None
    for start in itertools.count(0, _PAGE):
        (members,) = backend.read(("ZRANGE", key, start, start + _PAGE - 1))
        for member in [part.decode("utf-8", "replace") for part in members]:
            delivery = suits(member, worker)
            if delivery is None:
                continue
            plan = Plan()
            plan.unpark(key, wire.taken_key(queue), member, delivery)
            applied = plan.apply(backend.connection)
            if isinstance(applied, Applied) and applied.numbers == (1,):
                return delivery
        if len(members) < _PAGE:
            break
    return None


def _park(backend: RedisBackend, stored: StoredJob, delivery: int) -> Step[ledger.BeginAnswer | None]:
    """Let the delivery wait for a worker that can run the job."""
    job, wire, plan = stored.job, backend.wire, Plan()
    assert wire is not None
    name = wire.delivery_id(job.job_id, delivery)
    plan.require(backend.keys.job(job.job_id), "rev", str(stored.revision), name=CHANGED)
    plan.write("ZADD", backend.keys.parked(job.queue), place_in_line(job), parked_member(job, name, stored.schema))
    plan.write("LREM", wire.taken_key(job.queue), 1, name)
    return Step(plan=plan, answer=lambda _: ledger.Unable())


def _pass_on(plan: Plan, backend: RedisBackend, job: Job, worker: Worker) -> None:
    """Let others have the slots that a job was handed which needs them no longer."""
    keys, wire = backend.keys, backend.wire
    assert wire is not None
    lines = {"p": keys.waiting_for_type(job.queue, job.type), "o": keys.waiting_for_owner(job.queue, job.owner)}
    for slot in _slots(backend, job, worker):
        plan.pass_on(waiting=lines[slot], queue=wire.queue_key(job.queue), delivered=keys.delivered)


def _changed(backend: RedisBackend, stored: StoredJob, after: Job, answer: T, now: datetime) -> Step[T] | Settled[T]:
    if after is stored.job:
        return Settled(answer)
    plan = Plan(at=to_millis(now))
    add_change(plan, backend, stored, after)
    return Step(plan=plan, answer=lambda _: answer)


def _slots(backend: RedisBackend, job: Job, worker: Worker) -> str:
    """Return which slots a run of the job needs: those that are limited."""
    of_type = "p" if worker.limits.get(job.type) is not None else ""
    return of_type + ("o" if backend.rules.owner_concurrency is not None else "")


def _require_slots(
    plan: Plan, backend: RedisBackend, job: Job, worker: Worker, slots: str, delivery: int | None
) -> None:
    """Check for a free slot of each kind; where there is none, the delivery waits in line for one."""
    keys, queue = backend.keys, job.queue
    kinds = {
        "p": (keys.type_slots(job.type), worker.limits.get(job.type), keys.waiting_for_type(queue, job.type)),
        "o": (keys.owner_slots(job.owner), backend.rules.owner_concurrency, keys.waiting_for_owner(queue, job.owner)),
    }
    longest = round(2 * backend.rules.lease.total_seconds() * 1000)
    for slot in slots:
        key, limit, line = kinds[slot]
        assert limit is not None
        others = [kinds[other][2] for other in slots if other != slot]
        otherwise = None if delivery is None else partial(_stand_in_line, backend, job, delivery, line, others)
        plan.require_room(key, limit, member=job.job_id, longest_ms=longest, name=_FULL, otherwise=otherwise)


def _stand_in_line(
    backend: RedisBackend, job: Job, delivery: int, line: str, others: Sequence[str], plan: Plan
) -> None:
    """Let the delivery wait; the slot of the other kind that it may have been handed goes to the next."""
    wire = backend.wire
    assert wire is not None
    name = wire.delivery_id(job.job_id, delivery)
    plan.write("ZADD", line, place_in_line(job), name)
    plan.write("LREM", wire.taken_key(job.queue), 1, name)
    for other in others:
        plan.pass_on(waiting=other, queue=wire.queue_key(job.queue), delivered=backend.keys.delivered)


_WHERE_GONE: Mapping[object, Callable[[Refused], ledger.ReserveAnswer]] = {_GONE: lambda _: ledger.AssetDeleted()}
_UNPUBLISHED: Mapping[object, Callable[[Refused], ledger.CommitAnswer]] = {
    _GONE: lambda _: ledger.AssetDeleted(),
    _TAKEN: lambda _: ledger.NumberTaken(),
}
