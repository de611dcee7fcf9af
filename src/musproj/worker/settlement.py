"""The end of a run in the records: released, failed or acknowledged, and repeated until the store has heard it."""

from collections import deque

import attrs

from musproj.domain.job import Job, JobStatus
from musproj.domain.ledger import Ended, Failure, ReleaseAnswer, Requeued, Stale
from musproj.errors import MusProjError, UnavailableError
from musproj.ports.jobs import JobStore
from musproj.ports.queue import JobQueue
from musproj.worker.events import Teller
from musproj.worker.outage import Outage


@attrs.frozen(kw_only=True)
class Settlement:
    """What is to be said of one run."""

    job: Job
    token: str
    failure: Failure | None = None
    """None where the job has ended already and only its delivery is to be acknowledged."""


@attrs.frozen(kw_only=True)
class Settler:
    """Says it; what a store could not hear is kept and said again."""

    jobs: JobStore
    queue: JobQueue
    outage: Outage
    tell: Teller
    _waiting: deque[Settlement] = attrs.field(factory=deque[Settlement], init=False)

    def __call__(self, settlement: Settlement) -> None:
        """Say it now, or keep it."""
        self._waiting.append(settlement)
        self.settle()

    @property
    def is_done(self) -> bool:
        """Whether everything was heard."""
        return not self._waiting

    def settle(self) -> None:
        """Say what is kept, in order, until a store does not answer."""
        with self.outage.tolerated():
            while self._waiting:
                settlement = self._waiting[0]
                try:
                    self._say(settlement)
                except UnavailableError:
                    raise
                except MusProjError as exc:
                    # An unreadable record, say: to repeat it would not help, and must not hold up the others.
                    self.tell(
                        "job_failed", f"Its end could not be recorded: {exc.message}", settlement.job, code=exc.code
                    )
                self._waiting.popleft()

    def _say(self, settlement: Settlement) -> None:
        job_id = settlement.job.job_id
        if settlement.failure is not None:
            answer = self.jobs.release(job_id, settlement.token, settlement.failure)
            self._report(settlement.job, settlement.failure, answer)
            if isinstance(answer, Stale):
                return  # the delivery belongs to whoever holds the job now
        self.queue.ack(job_id)

    def _report(self, job: Job, failure: Failure, answer: ReleaseAnswer) -> None:
        text = f"{failure.code}: {failure.message}"
        match answer:
            case Requeued(after):
                self.tell("job_released", text, after, code=failure.code)
            case Ended(after):
                is_cancelled = after.status is JobStatus.CANCELLED
                self.tell("job_cancelled" if is_cancelled else "job_failed", text, after, code=failure.code)
            case Stale():
                self.tell("job_fenced", f"Another run holds the job, or it has ended; {text}", job, code=failure.code)
