"""What a service says of an operation, and what the operation is then: decided alone, without a call or a store."""

from datetime import datetime, timedelta

import attrs

from musproj.application.remote_policy import MAX_RESTARTS, RemotePolicy
from musproj.domain.remote import CostState, RemoteFault, RemoteOp, RemotePhase
from musproj.errors import RemoteCancelledError, RemoteDeadlineError, RemoteLostError, RemoteRejectedError
from musproj.ports.remote import Caps, RemoteState, Update

MAX_MISSES = 3
MISS_WAIT = timedelta(seconds=30)
"""Between two questions for an operation that the service did not know."""
LAST_WORD = timedelta(minutes=30)
"""After its deadline an operation is still asked for so long, where the service cannot be asked."""
MAX_RETURNS = 3
"""How often an operation may fall back to a phase before it was bought."""


@attrs.frozen(kw_only=True)
class Hearing:
    """Hears for one service, at one time."""

    name: str
    caps: Caps
    policy: RemotePolicy
    now: datetime
    crowd: int = 1
    """Operations that are asked for one by one, and share the rate."""

    def heard(self, op: RemoteOp, update: Update | None) -> RemoteOp:
        """Return the operation as the service knows it; without an `update`, it was not asked for."""
        if update is None:
            return self.later(op)
        op = op.heard_of(update.request_id)
        cost = op.cost if update.actual is None else attrs.evolve(op.cost, actual=update.actual)
        match update.state:
            case RemoteState.QUEUED | RemoteState.RUNNING:
                return self.later(op, misses=0)
            case RemoteState.FINISHED:
                billed = cost if cost.is_free else attrs.evolve(cost, state=CostState.BILLED)
                return op.enter(RemotePhase.FINISHED, cost=billed, next_poll=None)
            case RemoteState.FAILED:
                fault = update.fault or RemoteFault(code=RemoteRejectedError.code, message="It failed.")
                return op.enter(RemotePhase.FAILED, error=fault, cost=cost, next_poll=None)
            case RemoteState.CANCELLED:
                fault = RemoteFault(code=RemoteCancelledError.code, message=f"{self.name} stopped the work.")
                return op.enter(RemotePhase.CANCELLED, error=fault, cost=cost, next_poll=None)
            case RemoteState.GONE:
                return self._missed(op)
            case RemoteState.NOT_STARTED | RemoteState.OUTDATED:
                return self._returned(op, RemotePhase.STAGED)
            case RemoteState.NEEDS_INPUT:
                return self._returned(op, RemotePhase.DRAFT)

    def later(self, op: RemoteOp, **changes: object) -> RemoteOp:
        """Return it to be asked for again."""
        due = self.policy.next_poll(op, self.now, self.caps, crowd=self.crowd)
        return op.evolve(**{"next_poll": due, "polls": op.polls + 1, "tries": 0, **changes})

    def put_off(self, op: RemoteOp, fault: RemoteFault) -> RemoteOp:
        """Return it after a question that failed."""
        due = self.now + self.policy.backoff(op.tries + 1)
        return op.evolve(next_poll=due, tries=op.tries + 1, error=fault)

    def is_overdue(self, op: RemoteOp) -> bool:
        """Tell whether the service should have finished."""
        return op.deadline is not None and self.now >= op.deadline

    def is_overdue_for_long(self, op: RemoteOp, *, is_stopped: bool) -> bool:
        """Tell whether it is so late, and could not or may not be asked for, that nobody tries once more."""
        is_silent = is_stopped or op.tries > 0
        return op.deadline is not None and is_silent and self.now >= op.deadline + LAST_WORD

    def overdue(self, op: RemoteOp) -> RemoteOp:
        """Return it as failed by its deadline."""
        fault = RemoteFault(code=RemoteDeadlineError.code, message=f"{self.name} did not finish in time.")
        return op.enter(RemotePhase.FAILED, error=fault, next_poll=None, restarts=MAX_RESTARTS)

    def _missed(self, op: RemoteOp) -> RemoteOp:
        misses = op.misses + 1
        if misses < MAX_MISSES:
            return op.evolve(misses=misses, next_poll=self.now + MISS_WAIT)
        fault = RemoteFault(code=RemoteLostError.code, message=f"{self.name} knows nothing of it any more.")
        return op.enter(RemotePhase.LOST, error=fault, next_poll=None)

    def _returned(self, op: RemoteOp, phase: RemotePhase) -> RemoteOp:
        """Start it again on the same object; not for ever."""
        if op.returns >= MAX_RETURNS:
            fault = RemoteFault(code=RemoteRejectedError.code, message=f"{self.name} does not keep it started.")
            return op.enter(RemotePhase.FAILED, error=fault, next_poll=None)
        return op.enter(phase, returns=op.returns + 1, next_poll=None)
