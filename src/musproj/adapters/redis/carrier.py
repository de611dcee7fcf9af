"""What the queue's carrier still knows of deliveries."""

from musproj.adapters.redis.backend import RedisBackend
from musproj.adapters.redis.job_records import StoredJob

ALIVE = (b"queued", b"started")
"""States of an entry that somebody may still take, or that a stock worker has taken."""
SEARCHES = 20
"""So many times a whole queue is searched in one tick."""


class Carrier:
    """Asks the carrier; lists of a queue once."""

    def __init__(self, backend: RedisBackend) -> None:
        self._backend = backend
        self._taken: dict[str, frozenset[str]] = {}
        self._searches = SEARCHES

    def has_taken(self, stored: StoredJob) -> bool:
        """Tell whether a worker of ours has the delivery."""
        wire, queue = self._backend.wire, stored.job.queue
        if wire is None:
            return False
        if queue not in self._taken:
            (reply,) = self._backend.read(("LRANGE", wire.taken_key(queue), 0, -1))
            self._taken[queue] = frozenset(part.decode("utf-8", "replace") for part in reply)
        return wire.delivery_id(stored.job.job_id, stored.delivery) in self._taken[queue]

    def has_lost(self, stored: StoredJob, *, is_long_ago: bool) -> bool:
        """Tell whether nobody will ever take the delivery; of one from long ago, look into the queue itself too."""
        wire = self._backend.wire
        if wire is None:
            return False
        delivery = wire.delivery_id(stored.job.job_id, stored.delivery)
        (state,) = self._backend.read(("HGET", wire.entry_key(delivery), "status"))
        if state not in ALIVE:
            return True
        if not is_long_ago or self._searches == 0:
            return False
        self._searches -= 1
        (place,) = self._backend.read(("LPOS", wire.queue_key(stored.job.queue), delivery))
        return place is None
