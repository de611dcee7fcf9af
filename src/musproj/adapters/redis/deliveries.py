"""How a job gets to workers: its entry at the queue's carrier, and the sets in which entries wait."""

from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.job_records import SCHEMA
from musproj.adapters.redis.plan import Plan, in_ms
from musproj.domain.job import Job
from musproj.domain.ledger import Worker
from musproj.domain.times import to_millis

FIRST_LOOK_MS = 15_000
"""How long after its delivery a job that nobody has begun is looked after."""
_SCHEMA = "schema:"
"""A record that a newer program wrote needs one that can read it."""
_MOST_URGENT = 500
_SPAN = 10**13
"""More than any time in ms, and 500 times as much is an integer that a double holds."""


def add_delivery(plan: Plan, backend: RedisBackend, job: Job, number: int) -> None:
    """Put the job into its queue, for the `number`-th time; it is to be looked after if nobody begins it."""
    plan.write("ZADD", backend.keys.delivered, in_ms(FIRST_LOOK_MS), job.job_id)
    wire = backend.wire
    if wire is None:
        return
    key, fields = wire.entry(job, number)
    plan.write("HSET", key, *(part for field in fields.items() for part in field))
    queue, delivery = wire.queue_key(job.queue), wire.delivery_id(job.job_id, number)
    plan.write("SADD", wire.queues_key, queue)
    # What was begun before has waited already: the job of a killed worker must not wait for all that came meanwhile.
    if job.priority > 0 or (job.attempts and job.priority == 0):
        plan.deliver_urgent(queue, backend.keys.urgent(job.queue), delivery)
    else:
        plan.write("RPUSH", queue, delivery)


def add_delay(plan: Plan, backend: RedisBackend, job: Job) -> None:
    """Let the job wait for its time, and look after it where it expires before."""
    plan.write("ZADD", backend.keys.delayed, to_millis(job.run_at), job.job_id)
    if job.expires_at < job.run_at:
        plan.write("ZADD", backend.keys.expiring, to_millis(job.expires_at), job.job_id)


def drop_delay(plan: Plan, backend: RedisBackend, job: Job) -> None:
    """Let the job wait for its time no longer."""
    plan.write("ZREM", backend.keys.delayed, job.job_id)
    if job.expires_at < job.run_at:
        plan.write("ZREM", backend.keys.expiring, job.job_id)


def drop_taken(plan: Plan, backend: RedisBackend, job: Job, number: int) -> None:
    """Acknowledge the delivery that a worker has taken; a stock worker's entry is dropped by that one itself."""
    wire = backend.wire
    if wire is None or number == 0:
        return
    delivery = wire.delivery_id(job.job_id, number)
    plan.acknowledge(wire.taken_key(job.queue), wire.entry_key(delivery), delivery)


def drop_waiting(plan: Plan, backend: RedisBackend, job: Job, number: int) -> None:
    """Take the delivery out of the sets in which it may wait; one that lies in the queue leads to nothing."""
    wire = backend.wire
    if wire is None or number == 0:
        return
    keys, delivery = backend.keys, wire.delivery_id(job.job_id, number)
    plan.write("ZREM", keys.waiting_for_type(job.queue, job.type), delivery)
    plan.write("ZREM", keys.waiting_for_owner(job.queue, job.owner), delivery)
    plan.write("ZREM", keys.parked(job.queue), parked_member(job, delivery))
    plan.write("DEL", wire.entry_key(delivery))


def parked_member(job: Job, delivery: str, schema: int = SCHEMA) -> str:
    """Return what stands in the set of deliveries that wait for an able worker."""
    needs = job.needs if schema <= SCHEMA else (*job.needs, f"{_SCHEMA}{schema}")
    return f"{job.type}|{','.join(needs)}|{delivery}"


def suits(member: str, worker: Worker) -> str | None:
    """Return the delivery of a `parked_member` that `worker` can run, else None."""
    job_type, _, rest = member.partition("|")
    words, _, delivery = rest.partition("|")
    needs = {need for need in words.split(",") if need and not _is_known(need)}
    return delivery if job_type in worker.types and worker.abilities.issuperset(needs) else None


def _is_known(need: str) -> bool:
    number = need.removeprefix(_SCHEMA)
    return number != need and number.isdecimal() and int(number) <= SCHEMA


def place_in_line(job: Job) -> int:
    """Return the score that orders waiting jobs by priority, then by time."""
    urgency = max(-_MOST_URGENT, min(_MOST_URGENT, job.priority))
    return to_millis(job.run_at) - urgency * _SPAN
