"""The queue on RQ's keys: what waits there are ids of deliveries, nothing else of an entry is ever read."""

import logging
import math
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

from musproj.adapters.rq.feed import RqFeed
from musproj.adapters.rq.records import Backend, Command, Records
from musproj.adapters.rq.wire import RqWire
from musproj.domain.ids import JobId, is_id, new_token
from musproj.domain.ledger import Granted, Throttled, Unable, Worker
from musproj.errors import MusProjError, UnavailableError
from musproj.ports.changes import ChangeFeed
from musproj.ports.queue import JobQueue

log = logging.getLogger(__name__)

LOOK_S = 20.0
"""Between two looks of an idle worker at what waits apart from the queue."""
LOOKS_PER_SWEEP = 64
CLAIM_S = 0.5
"""How long one claim may go through deliveries that cannot begin."""


class RqQueue(JobQueue):
    """Takes deliveries from RQ's list and asks the records about each; acknowledging is part of every ending."""

    def __init__(
        self, backend: Backend, records: Records, name: str = "audio-jobs", wire: RqWire | None = None
    ) -> None:
        """Deliver the jobs of `backend` from now on; who opened it closes it."""
        self._backend = backend
        self._records = records
        self._name = name
        self._wire = backend.wire = wire or RqWire()
        self._source, self._taken = self._wire.queue_key(name), self._wire.taken_key(name)
        self._feeds: list[RqFeed] = []
        self._unbegun: deque[str] = deque()
        """Taken, but the records could not be asked."""
        self._looked_at = 0.0
        self._due_at = math.inf
        """Monotonic time at which the first of the delayed jobs comes due, as far as somebody has asked."""
        self._looks = 0

    def claim(self, worker: Worker) -> Granted | None:
        """Take deliveries until one begins; one that cannot is dropped, or waits where it is found again."""
        until = time.monotonic() + CLAIM_S
        while (delivery := self._next(worker)) is not None:
            granted = self._begin(delivery, worker)
            if granted is not None:
                return granted
            if time.monotonic() > until:  # who claims has beats to give meanwhile
                for feed in self._feeds:
                    feed.hurry()
                return None
        for feed in list(self._feeds):
            feed.arm()
        return None

    def ack(self, job_id: JobId) -> None:
        """Do nothing: the call that ended the job or handed it back has dropped its delivery."""

    def depth(self) -> int:
        """Count all waiting jobs of the installation, delayed ones too."""
        keys = self._backend.keys
        return sum(self._execute(("ZCARD", keys.delayed), ("ZCARD", keys.delivered)))

    def next_run_at(self) -> datetime | None:
        """Look at the delayed jobs, and deliver those whose time has come meanwhile."""
        if self._deliver_due():
            return datetime.now(UTC)
        run_at = self._records.next_run_at()
        self._due_at = math.inf
        if run_at is not None:
            self._due_at = time.monotonic() + max(0.0, run_at.timestamp() - time.time())
        return run_at

    def listen(self) -> ChangeFeed:
        """Wait for the next delivery; sweep away what workers that died have left behind."""
        self._execute(("SADD", self._wire.queues_key, self._source))
        self.sweep()
        line = self._records.open_line()
        feed = RqFeed(line, self._source, self._taken, self._give_back)
        self._feeds.append(feed)
        return feed

    def sweep(self) -> None:
        """Drop taken deliveries of jobs that have ended or were delivered anew."""
        (reply,) = self._execute(("LRANGE", self._taken, 0, -1))
        taken = [part.decode("utf-8", "replace") for part in reply]
        parsed = {delivery: found for delivery in taken if (found := _parsed(delivery)) is not None}
        stored = self._records.find_stored([job_id for job_id, _ in parsed.values()])
        for (delivery, (_, number)), last in zip(parsed.items(), stored, strict=True):
            if last is None or last[0].is_terminal or number < last[1]:
                self._drop(delivery)

    def close(self) -> None:
        """Hold nothing, free nothing."""

    # ── below the methods of the port ──

    def _next(self, worker: Worker) -> str | None:
        """Return a delivery that was taken."""
        if self._unbegun:
            return self._unbegun.popleft()
        if (delivery := self._heard()) is not None:
            return delivery
        is_waiting = any(feed.is_waiting for feed in self._feeds)
        if not is_waiting and (delivery := self._take()) is not None:
            return delivery
        if is_waiting and time.monotonic() < min(self._looked_at + LOOK_S, self._due_at):
            return None
        return self._look_apart(worker)

    def _take(self) -> str | None:
        (reply,) = self._execute(("LMOVE", self._source, self._taken, "LEFT", "RIGHT"))
        return None if reply is None else str(reply.decode("utf-8", "replace"))

    def _look_apart(self, worker: Worker) -> str | None:
        """Look at jobs whose time has come, and at those that other workers could not run."""
        self._looked_at, self._due_at = time.monotonic(), math.inf
        self._looks += 1
        if self._looks % LOOKS_PER_SWEEP == 0:
            self.sweep()
        keys = self._backend.keys
        if not self._execute(("EXISTS", keys.delayed, keys.parked(self._name)))[0]:
            return None
        parked = self._records.take_parked(self._name, worker)
        if parked is not None:
            return parked
        return self._heard() or self._take() if self._deliver_due() else None

    def _deliver_due(self) -> bool:
        """Deliver the jobs whose time has come; the first of them comes by a feed that waits, if there is one."""
        if not self._records.deliver_due():
            return False
        for feed in list(self._feeds):
            feed.expect()
        return True

    def _heard(self) -> str | None:
        """Return a delivery that a feed has taken."""
        for feed in list(self._feeds):
            if (delivery := feed.take()) is not None:
                return delivery
        return None

    def _begin(self, delivery: str, worker: Worker) -> Granted | None:
        parsed = _parsed(delivery)
        if parsed is None:
            log.warning("An entry of queue %s names no job.", self._name, extra={"action": "delivery_unreadable"})
            self._drop(delivery)
            return None
        try:
            answer = self._records.begin_delivery(*parsed, worker, new_token())
        except UnavailableError:
            self._unbegun.append(delivery)
            raise
        except MusProjError as exc:
            facts = {"action": "job_unreadable", "job": parsed[0]}
            log.error("A delivered job cannot be read: %s", exc, extra=facts)  # noqa: TRY400 - no bug
            self._drop(delivery)
            return None
        if not isinstance(answer, Granted | Throttled | Unable):
            self._drop(delivery)
        return answer if isinstance(answer, Granted) else None

    def _drop(self, delivery: str) -> None:
        commands: list[Command] = [("LREM", self._taken, 1, delivery), ("DEL", self._wire.entry_key(delivery))]
        self._backend.connection.execute(commands, atomic=True)

    def _give_back(self, feed: RqFeed) -> None:
        """End the feed's waiting; what it has taken goes back to the front of the queue."""
        self._feeds.remove(feed)
        try:
            if feed.is_waiting and feed.client_id is not None:
                self._execute(("CLIENT", "UNBLOCK", feed.client_id))
        except MusProjError:
            log.debug("The waiting could not be ended by a command.", exc_info=True)
        unbegun, self._unbegun = list(self._unbegun), deque()
        for delivery in reversed([*unbegun, *feed.rest()]):
            commands: list[Command] = [("LREM", self._taken, 1, delivery), ("LPUSH", self._source, delivery)]
            try:
                self._backend.connection.execute(commands, atomic=True)
            except MusProjError:  # a tick finds it among the taken ones and delivers the job anew
                log.debug("A delivery could not be given back.", exc_info=True)

    def _execute(self, *commands: Command) -> list[Any]:
        return self._backend.connection.execute(commands)


def _parsed(delivery: str) -> tuple[JobId, int] | None:
    """Return the job's id and the number of the delivery, None where it is none of ours."""
    job_id, _, number = delivery.rpartition("-")
    return (JobId(job_id), int(number)) if is_id(job_id) and number.isdecimal() and number.isascii() else None
