"""RQ's own format: what its tools show, and what a stock worker can run."""

from collections.abc import Mapping
from typing import cast

from redis import Redis
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job as RqEntry
from rq.job import JobStatus as RqStatus
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.utils import now

from musproj.domain.job import Job

FUNCTION = "musproj.worker.run"
"""What a stock worker calls with the job's id; named, not imported: it stands above the adapters."""
TIMEOUT_S = 86_400
"""A stock worker's own limit, which only has to outlast ours; RQ's default of 180 s kills audio jobs."""
FAILURE_TTL_S = 86_400


class RqWire:
    """Makes the entries of deliveries and knows the keys they lie under."""

    def __init__(self, function: str = FUNCTION) -> None:
        self._function = function
        # RQ's objects want a client although making an entry sends nothing; this one never connects.
        self._client = Redis()

    def entry(self, job: Job, delivery: int) -> tuple[str, Mapping[str, str | bytes]]:
        """Return the key and the fields of the entry, as `Queue.enqueue_call` writes it."""
        entry = RqEntry.create(
            self._function,
            args=(job.job_id,),
            connection=self._client,
            serializer=JSONSerializer,
            id=self.delivery_id(job.job_id, delivery),
            origin=job.queue,
            status=RqStatus.QUEUED,
            timeout=TIMEOUT_S,
            result_ttl=0,
            failure_ttl=FAILURE_TTL_S,
            description=f"{job.type} {job.job_id}",
        )
        entry.enqueued_at = now()
        fields = cast("dict[str, object]", entry.to_dict())
        return self.entry_key(entry.id), {name: _plain(value) for name, value in fields.items()}

    def delivery_id(self, job_id: str, delivery: int) -> str:
        """Return what lies in the queue's list."""
        return f"{job_id}-{delivery}"

    def entry_key(self, delivery_id: str) -> str:
        """Return the key of the entry."""
        return RqEntry.key_for(delivery_id)

    def queue_key(self, queue: str) -> str:
        """Return the list of deliveries that wait."""
        return f"{Queue.redis_queue_namespace_prefix}{queue}"

    def taken_key(self, queue: str) -> str:
        """Return the list of deliveries that were taken and not acknowledged."""
        return IntermediateQueue.get_intermediate_queue_key(self.queue_key(queue))

    @property
    def queues_key(self) -> str:
        """Return the set of the keys of all queues."""
        return Queue.redis_queues_keys


def _plain(value: object) -> str | bytes:
    value = getattr(value, "value", value)  # the status is an Enum
    return value if isinstance(value, bytes) else str(value)
