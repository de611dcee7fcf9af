"""What the queue needs of the records that it shares a Redis with; adapters do not import each other."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from musproj.domain.ids import JobId
from musproj.domain.job import Job
from musproj.domain.ledger import BeginAnswer, Worker

Command = tuple[str | bytes | int | float, ...]


class Connection(Protocol):
    """Commands in, replies out."""

    @property
    def where(self) -> str:
        """`host:port` of the server."""
        ...

    @property
    def database(self) -> int:
        """Number of the database there."""
        ...

    def execute(self, commands: Sequence[Command], *, atomic: bool = False) -> list[Any]:
        """Send commands in one go and return their replies."""
        ...


class Keys(Protocol):
    """Names of the keys that both sides touch."""

    @property
    def delayed(self) -> str:
        """Sorted set: waiting jobs whose time has not come."""
        ...

    @property
    def delivered(self) -> str:
        """Sorted set: waiting jobs whose time has come."""
        ...

    def parked(self, queue: str) -> str:
        """Sorted set: `<type>|<needs>|<delivery>` of jobs that wait for an able worker."""
        ...


@runtime_checkable
class Backend(Protocol):
    """The installation's Redis; a queue on it tells it how jobs are delivered."""

    wire: Any

    @property
    def connection(self) -> Connection:
        """The seam to the server."""
        ...

    @property
    def keys(self) -> Keys:
        """The names of the keys."""
        ...


class Line(Protocol):
    """A connection that waits for what the server says."""

    @property
    def is_open(self) -> bool:
        """Whether the server can be heard."""
        ...

    @property
    def greeted(self) -> Sequence[Any]:
        """The reply to CLIENT ID, as of the last time that it was opened."""
        ...

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when there is something to hear."""
        ...

    def say(self, *command: str | bytes | float) -> bool:
        """Send a command, whose reply will be heard; tell whether it could be sent."""
        ...

    def hear(self) -> list[Any]:
        """Return what was said and not heard yet, without waiting."""
        ...

    def await_reply(self, seconds: float) -> list[Any]:
        """Return what is said next, waiting so long for it."""
        ...

    def reopen(self) -> bool:
        """Connect anew where the connection broke; tell whether it did so."""
        ...

    def hang_up(self) -> None:
        """Give up a connection that broke."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...


@runtime_checkable
class Records(Protocol):
    """The job store on the same Redis, and what it does for the queue alone."""

    def begin_delivery(self, job_id: JobId, delivery: int, worker: Worker, token: str) -> BeginAnswer | None:
        """Begin the job that came by this delivery; None where a newer one replaced it.

        One that cannot begin now is put where it waits: for its time, a slot or an able worker.
        """
        ...

    def take_parked(self, queue: str, worker: Worker) -> str | None:
        """Take the first delivery that `worker` can run of those that the worker that had it could not."""
        ...

    def deliver_due(self) -> bool:
        """Deliver the jobs whose time has come; tell whether there were any."""
        ...

    def next_run_at(self) -> datetime | None:
        """Return when the first of the delayed jobs comes due."""
        ...

    def find_stored(self, job_ids: Sequence[JobId]) -> Sequence[tuple[Job, int] | None]:
        """Return each job with the number of its last delivery."""
        ...

    def open_line(self) -> Line:
        """Open a connection for one that waits."""
        ...
