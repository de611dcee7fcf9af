"""What the stores of one Redis installation share, and how each of them changes a record."""

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import attrs

from musproj.adapters.redis.connection import Command, RedisConnection
from musproj.adapters.redis.keys import Keys
from musproj.adapters.redis.plan import Applied, Plan, Refused
from musproj.domain.job import Job
from musproj.domain.ledger import Rules
from musproj.domain.times import from_millis, to_millis
from musproj.errors import BackendUnavailableError
from musproj.ports.clock import Clock

T = TypeVar("T")

CHANGED = "changed"
"""Name of the check that the record is still the one that was read: the change is decided anew."""
PATIENCE_S = 5.0
"""How long a change is decided anew because others were faster."""
_PAUSE_S = (0.0005, 0.004)


class Wire(Protocol):
    """How a queue delivers a job: what its carrier keeps under which keys."""

    def entry(self, job: Job, delivery: int) -> tuple[str, Mapping[str, str | bytes]]:
        """Return the key and the fields of the hash that describes one delivery."""
        ...

    def delivery_id(self, job_id: str, delivery: int) -> str:
        """Return `<jobId>-<delivery>`: what lies in the queue's list."""
        ...

    def entry_key(self, delivery_id: str) -> str:
        """Return the key of the hash that describes a delivery."""
        ...

    def queue_key(self, queue: str) -> str:
        """Return the list of deliveries that wait."""
        ...

    def taken_key(self, queue: str) -> str:
        """Return the list of deliveries that a worker has taken and not acknowledged."""
        ...

    @property
    def queues_key(self) -> str:
        """Return the set of all `queue_key`s."""
        ...


@attrs.frozen(kw_only=True)
class Step(Generic[T]):
    """A decided change: the plan, and what to answer."""

    plan: Plan
    answer: Callable[[Applied], T]
    refused: Mapping[object, Callable[[Refused], T]] = attrs.field(factory=dict[object, Callable[[Refused], Any]])
    """By the name of the check; it returns the answer or raises."""


@attrs.frozen
class Settled(Generic[T]):
    """Nothing is to be changed: the answer is known."""

    answer: T


@attrs.define(kw_only=True, eq=False)
class RedisBackend:
    """One installation's connection, names and clock."""

    connection: RedisConnection
    keys: Keys
    rules: Rules
    clock: Clock | None = None
    """None: the server's own time counts."""
    wait_ms: int = 0
    wire: Wire | None = None
    """Set by the queue that shares this Redis; without one, jobs are recorded and nobody is told."""

    def read(self, *commands: Command) -> list[Any]:
        """Return the replies of commands that change nothing; asked once more where the connection broke.

        Raises:
            BackendUnavailableError: no answer.
        """
        try:
            return self.connection.execute(commands)
        except BackendUnavailableError as exc:
            if not exc.facts.get("ambiguous"):
                raise
        return self.connection.execute(commands)

    def read_at(self, *commands: Command) -> tuple[datetime, list[Any]]:
        """Return the time and the replies, all of one round trip.

        Raises:
            BackendUnavailableError: no answer.
        """
        if self.clock is not None:
            return self.clock.now(), self.read(*commands)
        *replies, (seconds, micros) = self.read(*commands, ("TIME",))
        return from_millis(int(seconds) * 1000 + int(micros) // 1000), replies

    def change(self, decide: Callable[[], Step[T] | Settled[T]], *, is_acknowledged: bool = False) -> T:
        """Decide and apply, anew while others are faster; a lost reply is cleared up by deciding once more.

        `decide` reads the record and must find its own earlier effect by itself. Where the change `is_acknowledged`
        to a client, a replica gets `wait_ms` to have it too.

        Raises:
            BackendUnavailableError: no answer, or the record changed all the time.
        """
        deadline = time.monotonic() + PATIENCE_S
        broken = 0
        while True:
            try:
                step = decide()
                if isinstance(step, Settled):
                    return step.answer
                outcome = self._apply(step.plan, self.wait_ms if is_acknowledged else 0)
            except BackendUnavailableError as exc:
                broken += 1
                if not exc.facts.get("ambiguous") or broken > 1:
                    raise
                continue
            if isinstance(outcome, Applied):
                return step.answer(outcome)
            if outcome.check in step.refused:
                return step.refused[outcome.check](outcome)
            if time.monotonic() > deadline:
                raise BackendUnavailableError("Others changed the record all the time.", hint="Try again.")
            time.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 - jitter, no secret

    def _apply(self, plan: Plan, wait_ms: int) -> Applied | Refused:
        now = None if self.clock is None else to_millis(self.clock.now())
        return plan.apply(self.connection, now=now, wait_ms=wait_ms)
