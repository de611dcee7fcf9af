"""The look at everything that becomes due by itself: lost leases, jobs whose time has come, lost deliveries.

What is due is claimed by a script that puts it off for a while: of several that look at one moment each takes
other jobs, and if one of them dies, the next one finds what it had claimed.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

import attrs

from musproj.adapters.redis.backend import CHANGED, RedisBackend, Settled, Step
from musproj.adapters.redis.job_changes import forget
from musproj.adapters.redis.job_reads import find_jobs, read_for_change
from musproj.adapters.redis.job_records import StoredJob
from musproj.adapters.redis.looks import Decision, Looks
from musproj.adapters.redis.plan import Plan
from musproj.adapters.redis.script import Script
from musproj.adapters.redis.workers import Workers
from musproj.domain.ids import JobId
from musproj.domain.times import from_millis, to_millis
from musproj.errors import CorruptRecordError, SchemaTooNewError
from musproj.ports.jobs import Tick

log = logging.getLogger(__name__)

TICK_S = 2.0
"""How long one look may take, since it is made by a worker that has beats to give; the next one goes on."""
PAGE = 100
FEW = 10
"""So many of those that wait are looked at in each tick, due or not: whoever waits for a worker that is not there
hears of it soon."""
LOCK_MS = 11_500
"""One process of an installation ticks within this time (a tick comes each 12 to 14.5 s)."""
LOCK_SHARE = 0.38
"""The same, in leases, where these are short."""
PUT_OFF_SHARE = 2 / 3
"""What is claimed comes again after so many leases: 20 s."""

CLAIM_DUE = Script(
    """
-- KEYS: timers, delayed, delivered, expiring, lastTick
-- ARGV: now or '', lease, put off by, page of leases or 0, page of looks or 0, few, outage      (times in ms)
-- Answers {now, was away, more, leases, delayed, looks, first in line}.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local lease, off, page, looks = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local function text(n) return string.format('%.0f', n) end
local function claim(key, low, high, count, into)
  local ids = redis.call('ZRANGE', key, low, high, 'BYSCORE', 'LIMIT', 0, count)
  for _, id in ipairs(ids) do
    redis.call('ZADD', key, text(now + off), id)
    into[#into + 1] = id
  end
  return #ids == count
end
local leases, delayed, looked, first = {}, {}, {}, {}
local away, more = 0, false
if page > 0 then
  local last = redis.call('GET', KEYS[5])
  if not last or now - last > tonumber(ARGV[7]) then away = 1 end
  more = claim(KEYS[1], '-inf', text(now), page, leases)
  more = claim(KEYS[1], '(' .. text(now + 2 * lease), '+inf', page, leases) or more
  -- Where more is to come, the next page belongs to the same look: it must find the store as long away.
  if not more then redis.call('SET', KEYS[5], text(now)) end
end
more = claim(KEYS[2], '-inf', text(now), 100, delayed) or more
if looks > 0 then
  claim(KEYS[4], '-inf', text(now), looks, delayed)
  claim(KEYS[3], '-inf', text(now), looks, looked)
  first = redis.call('ZRANGE', KEYS[3], 0, ARGV[6] - 1)
end
return {text(now), away, more and 1 or 0, leases, delayed, looked, first}
"""
)


@attrs.frozen
class Due:
    """What one claim brought."""

    now: datetime
    was_away: bool
    is_more: bool
    leases: Sequence[JobId]
    delayed: Sequence[JobId]
    looks: Sequence[JobId]
    """Waiting jobs whose delivery is to be looked after."""
    first: Sequence[JobId]
    """Some of those that wait."""


def tick(backend: RedisBackend, workers: Workers) -> Tick:
    """Do one tick, unless another process has just done one, or there is nothing to look at."""
    if backend.clock is None and not _is_called_for(backend):
        return Tick()
    done, looks = Tick(), PAGE
    until = time.monotonic() + TICK_S
    while True:
        due = _claim_due(backend, leases=PAGE, looks=looks)
        done = _sum([done, *_mind(backend, workers, due)])
        looks = 0  # a long queue must not hold up what else is due
        if not due.is_more or time.monotonic() > until:
            return attrs.evolve(done, next_run_at=next_run_at(backend))


def deliver_due(backend: RedisBackend, workers: Workers) -> bool:
    """Deliver the jobs whose time has come; tell whether there were any."""
    now, (reply,) = backend.read_at(("ZRANGE", backend.keys.delayed, 0, 0, "WITHSCORES"))
    if not reply or float(reply[1]) > to_millis(now):
        return False
    until = time.monotonic() + TICK_S
    is_more = True
    while is_more and time.monotonic() < until:
        due = _claim_due(backend, leases=0, looks=0)
        _mind(backend, workers, due)
        is_more = due.is_more
    return True


def next_run_at(backend: RedisBackend) -> datetime | None:
    """Return when the first of the delayed jobs comes due."""
    now, (reply,) = backend.read_at(("ZRANGE", backend.keys.delayed, 0, PAGE, "WITHSCORES"))
    times = (from_millis(int(float(score))) for score in reply[1::2])
    return next((at for at in times if at > now), None)


def _is_called_for(backend: RedisBackend) -> bool:
    """Take this tick; tell whether anything runs or waits at all."""
    keys = backend.keys
    lock = min(LOCK_MS, round(backend.rules.lease.total_seconds() * 1000 * LOCK_SHARE))
    if backend.connection.execute([("SET", keys.tick, "1", "NX", "PX", lock)])[0] is None:
        return False
    return bool(backend.read(("EXISTS", keys.timers, keys.delayed, keys.delivered))[0])


def _claim_due(backend: RedisBackend, *, leases: int, looks: int) -> Due:
    keys, lease = backend.keys, round(backend.rules.lease.total_seconds() * 1000)
    now = "" if backend.clock is None else str(to_millis(backend.clock.now()))
    names = [keys.timers, keys.delayed, keys.delivered, keys.expiring, keys.last_tick]
    outage = round(backend.rules.outage.total_seconds() * 1000)
    numbers = (lease, round(lease * PUT_OFF_SHARE), leases, looks, FEW, outage)
    reply = backend.connection.evaluate(CLAIM_DUE, names, [now, *map(str, numbers)])
    ids = [[JobId(part.decode("utf-8", "replace")) for part in dict.fromkeys(found)] for found in reply[3:]]
    return Due(from_millis(int(reply[0])), bool(reply[1]), bool(reply[2]), *ids)


def _mind(backend: RedisBackend, workers: Workers, due: Due) -> list[Tick]:
    """Do with each job what it is due for."""
    looks = Looks(backend, workers)
    done = [
        *_each(backend, due.leases, due.now, partial(looks.at_lease, was_away=due.was_away)),
        *_each(backend, due.delayed, due.now, looks.at_delayed),
        *_each(backend, due.looks, due.now, looks.at_delivered),
        *_each(backend, [job_id for job_id in due.first if job_id not in due.looks], due.now, looks.at_waiting),
    ]
    looks.put_off()
    return done


def _each(backend: RedisBackend, job_ids: Sequence[JobId], now: datetime, decide: Decision) -> Iterator[Tick]:
    """Read the records at once, change one after the other."""
    seen = dict(zip(job_ids, find_jobs(backend, job_ids), strict=True))
    for job_id in job_ids:
        first = [(now, seen[job_id])]
        try:
            yield backend.change(partial(_decide, backend, job_id, first, decide))
        except SchemaTooNewError as exc:
            log.warning("%s", exc, extra={"action": "schema_too_new", "job": job_id})
        except CorruptRecordError as exc:
            log.error("A job is no record and is looked after no longer: %s", exc, extra=_facts(job_id))  # noqa: TRY400
            plan = Plan()
            forget(plan, backend, job_id)
            plan.apply(backend.connection)


def _facts(job_id: JobId) -> dict[str, str]:
    return {"action": "job_unreadable", "job": job_id}


def _decide(
    backend: RedisBackend, job_id: JobId, first: list[tuple[datetime, StoredJob | None]], decide: Decision
) -> Step[Tick] | Settled[Tick]:
    now, stored = first.pop() if first else read_for_change(backend, job_id)
    if stored is not None and (stored.is_corrupt or stored.is_newer):
        now, stored = read_for_change(backend, job_id)
    if stored is None:
        plan = Plan()
        plan.require_presence(backend.keys.job(job_id), present=False, name=CHANGED)
        forget(plan, backend, job_id)
        return Step(plan=plan, answer=lambda _: Tick())
    return decide(now, stored)


def _sum(ticks: Sequence[Tick]) -> Tick:
    return Tick(
        requeued=sum(tick.requeued for tick in ticks),
        ended=sum(tick.ended for tick in ticks),
        extended=sum(tick.extended for tick in ticks),
    )
