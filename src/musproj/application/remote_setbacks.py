"""What follows where a call to a service fails, or its work ends badly: wait, stop the account, or fail."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NoReturn, TypeVar

import attrs

from musproj.application.remote_account import AccountUse, paused, stop_account
from musproj.application.remote_calls import called
from musproj.application.remote_policy import MAX_RESTARTS, RemotePolicy, hold_off, pause_fault
from musproj.application.remote_record import OpRecord
from musproj.domain.remote import CostState, RemoteFault, RemoteOp, RemotePhase
from musproj.errors import (
    RemoteCancelledError,
    RemoteDeadlineError,
    RemoteError,
    RemoteHostRefusedError,
    RemoteLostError,
    RemoteRejectedError,
    RemoteResultExpiredError,
    RemoteResultInvalidError,
    RemoteUnavailableError,
)
from musproj.ports.remote import CallClass, CallError, RemoteService

T = TypeVar("T")

_ERRORS: Mapping[str, type[RemoteError]] = {
    cls.code: cls
    for cls in (
        RemoteRejectedError, RemoteCancelledError, RemoteDeadlineError, RemoteHostRefusedError, RemoteLostError,
        RemoteResultExpiredError, RemoteResultInvalidError, RemoteUnavailableError,
    )
}  # fmt: skip
_ENDS: Mapping[RemotePhase, str] = {
    RemotePhase.CANCELLED: RemoteCancelledError.code,
    RemotePhase.LOST: RemoteLostError.code,
}


@attrs.frozen(kw_only=True)
class Setbacks:
    """Ends a run that cannot go on."""

    service: RemoteService
    record: OpRecord
    account: AccountUse
    policy: RemotePolicy

    def call(self, call: Callable[[], T]) -> T:
        """Return what a call without an effect returns; where it fails, the run has ended."""
        try:
            return called(call)
        except CallError as exc:
            self.failed(exc)

    def failed(self, exc: CallError, op: RemoteOp | None = None) -> NoReturn:
        """End the run, with `op` as its operation, as the failure asks.

        Raises:
            ParkedError: the job waits.
            RemoteError: it has failed.
        """
        op = (self.record.op if op is None else op).heard_of(exc.request_id)
        match exc.kind:
            case CallClass.REFUSED:
                self.later(op.evolve(), exc.message, hold_off(self.account.accounts, self.service, exc))
            case _ if (fault := pause_fault(exc)) is not None:
                stop_account(self.account.accounts, self.service, fault, self.policy.pause)
                until = self._now() + self.policy.pause
                self.record.park(op.evolve(error=fault), until=until, stage=paused(self.service, fault))
            case CallClass.REJECTED | CallClass.STALE | CallClass.FATAL | CallClass.MISMATCH:
                self.reject(op, exc.message)
            case _:
                self.try_later(exc, op)

    def reject(self, op: RemoteOp, why: str) -> NoReturn:
        """Note that it has failed for good, and fail.

        Raises:
            RemoteRejectedError: always.
        """
        fault = RemoteFault(code=RemoteRejectedError.code, message=why)
        self.record.note(op.enter(RemotePhase.FAILED, error=fault, restarts=MAX_RESTARTS))
        self.fail()

    def lose(self, why: str) -> NoReturn:
        """Note that nobody can find it, and fail.

        Raises:
            RemoteLostError: always.
        """
        fault = RemoteFault(code=RemoteLostError.code, message=f"The work at {self.service.name} is lost: {why}")
        self.record.note(self.record.op.enter(RemotePhase.LOST, error=fault))
        self.fail()

    def try_later(self, exc: CallError, op: RemoteOp, *, least: timedelta = timedelta(0)) -> NoReturn:
        """Let the job wait after a call that came to nothing, for `least` at least; not for ever.

        Raises:
            ParkedError: the job waits.
            RemoteUnavailableError: it has waited often enough.
        """
        fault = RemoteFault(code=RemoteUnavailableError.code, message=exc.message)
        op = op.evolve(tries=op.tries + 1, error=fault)
        if op.tries >= self.policy.tries:
            self.record.note(attrs.evolve(op, tries=0))
            raise RemoteUnavailableError(
                f"{self.service.name} could not be reached {op.tries} times: {exc.message}",
                hint="`jobs retry` goes on where it was.",
            )
        if op.tries % self.policy.break_after == 0:
            self.account.accounts.pause(self.service.key, fault, self.policy.break_for)
        self.later(op, exc.message, max(self.policy.backoff(op.tries), least).total_seconds())

    def later(self, op: RemoteOp, why: str, seconds: float | None = None) -> NoReturn:
        """Let the job wait.

        Raises:
            ParkedError: always.
        """
        pause = self.policy.backoff(op.tries + op.fetches) if seconds is None else timedelta(seconds=seconds)
        self.record.park(op, until=self._now() + pause, stage=f"retrying at {self.service.name}: {why}")

    def fail(self) -> NoReturn:
        """Fail as the operation has ended, and say what it cost.

        Raises:
            RemoteError: always.
        """
        op = self.record.op
        code = _ENDS.get(op.phase, RemoteRejectedError.code)
        fault = op.error or RemoteFault(code=code, message=f"It ended at {op.service}.")
        raise _ERRORS.get(fault.code, RemoteRejectedError)(
            self.with_cost(fault.message), hint="A forced job pays again." if self._spent() else None
        )

    def with_cost(self, message: str, then: str = "`force` would pay again") -> str:
        """Return a text with what was spent, and what to do then."""
        spent = self._spent()
        return f"{message.rstrip('. ')}. {spent}; {then}." if spent else message

    def _spent(self) -> str:
        cost = self.record.op.cost
        if cost.state is CostState.NONE:
            return ""
        certain = "It cost" if cost.state is CostState.BILLED else "It may have cost"
        return f"{certain} {cost.known:.4g} {cost.unit}"

    def _now(self) -> datetime:
        return self.account.clock.now()
