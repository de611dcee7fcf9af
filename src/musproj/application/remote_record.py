"""The record of the operation that a run works on: each state is written down before the next call."""

from abc import abstractmethod
from datetime import datetime
from typing import NoReturn, Protocol

import attrs

from musproj.domain.ids import JobId
from musproj.domain.job import Job
from musproj.domain.ledger import Moved, NoteAnswer, Noted, ParkAnswer, Stale
from musproj.domain.remote import RemoteOp
from musproj.ports.clock import Clock


class RemoteLedger(Protocol):
    """What a run writes of its operation; every `JobStore` takes it.

    Both raise `BackendUnavailableError` where the records are away.
    """

    @abstractmethod
    def note(self, job_id: JobId, token: str, op: RemoteOp) -> NoteAnswer:
        """Record the next state."""

    @abstractmethod
    def park(self, job_id: JobId, token: str, op: RemoteOp, *, until: datetime, stage: str) -> ParkAnswer:
        """Record it and let the job wait."""


class ParkedError(Exception):
    """The run has ended: the job waits, was ended, or is another's."""

    def __init__(self, answer: ParkAnswer) -> None:
        """Keep what the records said."""
        super().__init__()
        self.answer = answer


@attrs.define(kw_only=True, eq=False)
class OpRecord:
    """One run's hold of its job's operation."""

    job: Job
    token: str
    ledger: RemoteLedger
    clock: Clock
    _op: RemoteOp | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with what the job's record says."""
        self._op = self.job.remote

    @property
    def op(self) -> RemoteOp:
        """The operation as it is recorded; there is one once the first was noted."""
        assert self._op is not None
        return self._op

    @property
    def is_new(self) -> bool:
        """Whether nothing was recorded yet."""
        return self._op is None

    def note(self, op: RemoteOp) -> bool:
        """Record the next state; return False where another was recorded meanwhile, from which to go on.

        Raises:
            ParkedError: another run holds the job.
            BackendUnavailableError: the records are away.
        """
        op = self._next(op)
        answer = self.ledger.note(self.job.job_id, self.token, op)
        match answer:
            case Noted():
                self._op = op
                return True
            case Moved(found):
                self._op = found
                return False
            case Stale():
                raise ParkedError(answer)

    def park(self, op: RemoteOp, *, until: datetime, stage: str) -> NoReturn:
        """Record it and end the run; where another state was recorded meanwhile, the next run goes on from that.

        Raises:
            ParkedError: always.
            BackendUnavailableError: the records are away.
        """
        answer = self.ledger.park(self.job.job_id, self.token, self._next(op), until=until, stage=stage)
        while isinstance(answer, Moved):
            op, now = answer.op.evolve(), self.clock.now()
            answer = self.ledger.park(self.job.job_id, self.token, op, until=now, stage=stage)
        raise ParkedError(answer)

    def _next(self, op: RemoteOp) -> RemoteOp:
        return op if self._op is None else attrs.evolve(op, rev=self._op.rev + 1)
