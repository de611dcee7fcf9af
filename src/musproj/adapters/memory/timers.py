"""The look at everything that becomes due by itself."""

from datetime import datetime

import attrs

from musproj.adapters.memory.state import MemoryState
from musproj.domain import ledger
from musproj.domain.job import Job, JobStatus, WaitReason
from musproj.domain.ledger import Rules, Worker
from musproj.ports.jobs import WORKER_LIFE, Tick

_REPLACEABLE = frozenset({None, WaitReason.DELAY, WaitReason.RETRY})
"""Reasons that `no_processor` may stand for; the others say that the next start resumes an attempt."""


def look_at_timers(state: MemoryState, rules: Rules, now: datetime) -> Tick:
    """Do one tick; the caller holds the lock."""
    was_away = state.last_tick is None or now - state.last_tick > rules.outage
    state.last_tick = now
    tick = Tick()
    able = [
        Worker(worker_id=seen.worker_id, types=seen.types, abilities=seen.abilities)
        for seen in state.workers.values()
        if seen.seen_at > now - WORKER_LIFE
    ]
    for job in list(state.jobs.values()):
        if job.status is JobStatus.RUNNING and not ledger.is_live(job, now, rules):
            tick = _look_at_lease(state, rules, job, now, tick, was_away=was_away)
        elif job.status is JobStatus.QUEUED and job.expires_at <= now:
            state.save_job(ledger.expire(job, now=now), now)
            tick = attrs.evolve(tick, ended=tick.ended + 1)
        elif job.status is JobStatus.QUEUED and job.run_at <= now:
            _look_for_workers(state, job, able, now)
    return attrs.evolve(tick, next_run_at=next_run_at(state, now=now))


def next_run_at(state: MemoryState, *, now: datetime, queue: str | None = None) -> datetime | None:
    """Return when the first of the delayed jobs comes due."""
    times = (
        job.run_at
        for job in state.jobs.values()
        if job.status is JobStatus.QUEUED and job.run_at > now and queue in (None, job.queue)
    )
    return min(times, default=None)


def _look_at_lease(state: MemoryState, rules: Rules, job: Job, now: datetime, tick: Tick, *, was_away: bool) -> Tick:
    if was_away:
        state.save_job(job.renew(now=now, lease=rules.lease, progress=None, stage=None), now)
        return attrs.evolve(tick, extended=tick.extended + 1)
    job = state.save_job(ledger.lose(job, now=now, rules=rules), now)
    if job.is_terminal:
        return attrs.evolve(tick, ended=tick.ended + 1)
    return attrs.evolve(tick, requeued=tick.requeued + 1)


def _look_for_workers(state: MemoryState, job: Job, able: list[Worker], now: datetime) -> None:
    can_run = any(worker.can_run(job) for worker in able)
    if not can_run and job.wait_reason in _REPLACEABLE:
        state.save_job(job.wait(WaitReason.NO_PROCESSOR, now=now), now)
    elif can_run and job.wait_reason is WaitReason.NO_PROCESSOR:
        state.save_job(job.wait(None, now=now), now)
