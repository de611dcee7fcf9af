"""How jobs reach workers."""

from abc import abstractmethod
from datetime import datetime
from typing import Protocol

from musproj.domain.ids import JobId
from musproj.domain.ledger import Granted, Worker
from musproj.ports.changes import ChangeFeed


class JobQueue(Protocol):
    """Delivers jobs to workers, at least once; it holds no truth."""

    __slots__ = ()

    @abstractmethod
    def claim(self, worker: Worker) -> Granted | None:
        """Return `Granted` for the next job that `worker` can run, or None where there is none; never blocks.

        Order: priority, then `run_at`, then id. Types and owners without a free slot are left out.
        """

    @abstractmethod
    def ack(self, job_id: JobId) -> None:
        """Drop the delivery of a job that ended or was handed back; repeatable."""

    @abstractmethod
    def depth(self) -> int:
        """Return how many jobs wait."""

    @abstractmethod
    def next_run_at(self) -> datetime | None:
        """Return when the earliest job that only waits for its time comes due, or None."""

    @abstractmethod
    def listen(self) -> ChangeFeed:
        """Open a feed that tells when there may be work; the caller closes it."""

    @abstractmethod
    def close(self) -> None:
        """Free what the queue holds; a second call does nothing."""
