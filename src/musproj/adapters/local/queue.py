"""The queue of a `LocalDatabase`: the job records themselves."""

import sqlite3
from datetime import datetime
from functools import partial

from musproj.adapters.local import runs, selection
from musproj.adapters.local.changes import LocalFeed
from musproj.adapters.local.database import LocalDatabase
from musproj.domain.ids import JobId, new_token
from musproj.domain.ledger import Granted, Rules, Worker
from musproj.ports.changes import ChangeFeed
from musproj.ports.clock import Clock
from musproj.ports.queue import JobQueue


class LocalJobQueue(JobQueue):
    """Claims by looking at the records; there is no delivery that could be lost."""

    def __init__(self, database: LocalDatabase, clock: Clock, rules: Rules, queue_name: str = "audio-jobs") -> None:
        """Use `database`, which the caller opened and closes."""
        self._database = database
        self._clock = clock
        self._rules = rules
        self._name = queue_name

    def claim(self, worker: Worker) -> Granted | None:
        """Look with a read, and open a transaction only where there is something; a job that must end ends there."""
        found = self._database.read(partial(self._next, worker=worker, now=self._clock.now()))
        if found is None:
            return None
        return self._database.write(partial(self._grant, job_id=found, worker=worker), wakes=False)

    def ack(self, job_id: JobId) -> None:
        """Do nothing: the record is the delivery."""

    def depth(self) -> int:
        """Count the waiting records."""

        def count(connection: sqlite3.Connection) -> int:
            sql = "SELECT count(*) FROM job WHERE status = 'queued' AND queue = ?"
            return int(connection.execute(sql, (self._name,)).fetchone()[0])

        return self._database.read(count)

    def next_run_at(self) -> datetime | None:
        """Look at the waiting records."""
        return self._database.read(lambda connection: selection.next_run_at(connection, self._clock.now(), self._name))

    def listen(self) -> ChangeFeed:
        """Hear of every change by another process, and of those in this one that may give work."""
        return LocalFeed(self._database, lambda: self._database.chances)

    def close(self) -> None:
        """Hold nothing, free nothing."""

    def _next(self, connection: sqlite3.Connection, worker: Worker, now: datetime) -> JobId | None:
        return selection.next_job(connection, self._name, worker, now, self._rules)

    def _grant(self, connection: sqlite3.Connection, job_id: JobId, worker: Worker) -> Granted | None:
        now = self._clock.now()
        candidate: JobId | None = job_id
        while candidate is not None:
            answer = runs.begin(connection, candidate, worker, new_token(), now=now, rules=self._rules)
            if isinstance(answer, Granted):
                return answer
            # Another worker was faster, or the job has ended; inside the transaction the next look is final.
            refused, candidate = candidate, self._next(connection, worker, now)
            if candidate == refused:
                return None
        return None
