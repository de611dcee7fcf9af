"""The queue of a `MemoryState`: the records themselves."""

from datetime import datetime

from musproj.adapters.memory.feed import MemoryFeed
from musproj.adapters.memory.jobs import begin, has_slot
from musproj.adapters.memory.state import MemoryState
from musproj.adapters.memory.timers import next_run_at
from musproj.domain.ids import JobId, new_token
from musproj.domain.job import Job, JobStatus
from musproj.domain.ledger import Granted, Rules, Worker
from musproj.ports.changes import ChangeFeed
from musproj.ports.clock import Clock
from musproj.ports.queue import JobQueue


class MemoryJobQueue(JobQueue):
    """Claims by looking at the records; there is no delivery that could be lost."""

    def __init__(self, state: MemoryState, clock: Clock, rules: Rules, queue_name: str = "audio-jobs") -> None:
        self._state = state
        self._clock = clock
        self._rules = rules
        self._name = queue_name

    def claim(self, worker: Worker) -> Granted | None:
        """Begin the first waiting job that this worker can run; one that must end instead ends on the way."""
        with self._state.lock:
            now = self._clock.now()
            for job in sorted(self._waiting(), key=lambda job: (-job.priority, job.run_at, job.job_id)):
                if job.run_at <= now and worker.can_run(job) and has_slot(self._state, self._rules, job, worker, now):
                    answer = begin(self._state, self._rules, job.job_id, worker, new_token(), now)
                    if isinstance(answer, Granted):
                        return answer
            return None

    def ack(self, job_id: JobId) -> None:
        """Do nothing: the record is the delivery."""

    def depth(self) -> int:
        """Count the waiting records."""
        with self._state.lock:
            return len(self._waiting())

    def next_run_at(self) -> datetime | None:
        """Look at the waiting records."""
        with self._state.lock:
            return next_run_at(self._state, now=self._clock.now(), queue=self._name)

    def listen(self) -> ChangeFeed:
        """Compare the counter of chances."""
        return MemoryFeed(lambda: self._state.chances)

    def close(self) -> None:
        """Hold nothing, free nothing."""

    def _waiting(self) -> list[Job]:
        return [job for job in self._state.jobs.values() if job.status is JobStatus.QUEUED and job.queue == self._name]
