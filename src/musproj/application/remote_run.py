"""A run whose work an outside service does: one effect at a time, each written down before and after.

The record is saved before every call that creates or buys something. A run that finds such an intent without its
outcome asks the service what became of it, and never simply calls again. While the service works, no run holds a
worker: the job is parked, and `remote_poll` wakes it.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import attrs

from musproj.application.execution_context import Pulse
from musproj.application.remote_calls import called
from musproj.application.remote_hooks import hook_url
from musproj.application.remote_policy import HELD_WITHOUT_WORD_S, RemotePolicy
from musproj.application.remote_results import ResultReader
from musproj.domain.canonical import digest
from musproj.domain.ids import JobId
from musproj.domain.job import Job
from musproj.domain.ledger import Moved, NoteAnswer, Noted, ParkAnswer, Stale
from musproj.domain.remote import Cost, CostState, RemoteFault, RemoteOp, RemotePhase, operation_token
from musproj.errors import (
    BudgetExceededError,
    LimitExceededError,
    RemoteAuthError,
    RemoteCancelledError,
    RemoteDeadlineError,
    RemoteError,
    RemoteHostRefusedError,
    RemoteLostError,
    RemoteQuotaError,
    RemoteRejectedError,
    RemoteRequestChangedError,
    RemoteResultExpiredError,
    RemoteResultInvalidError,
    RemoteUnavailableError,
)
from musproj.ports.clock import Clock
from musproj.ports.processor import RemoteTask
from musproj.ports.remote import CallClass, CallError, RemoteAccounts, RemoteInput, RemoteService

T = TypeVar("T")

SAME_KEY_TRIES = 3
SAME_KEY_PAUSE_S = 0.25
"""Within a second: the key is good until the task starts."""
FRESH_FOR = timedelta(hours=2)
"""An upload that expires sooner is made anew before anything is bought for it."""
MAX_RESTARTS = 1

_CODES: Mapping[str, type[RemoteError]] = {
    cls.code: cls
    for cls in (
        RemoteRejectedError, RemoteCancelledError, RemoteDeadlineError, RemoteHostRefusedError, RemoteLostError,
        RemoteResultExpiredError, RemoteResultInvalidError, RemoteUnavailableError,
    )
}  # fmt: skip


class RemoteLedger(Protocol):
    """What a run writes of its operation; every `JobStore` takes it."""

    @abstractmethod
    def note(self, job_id: JobId, token: str, op: RemoteOp) -> NoteAnswer:
        """Record the next state."""

    @abstractmethod
    def park(self, job_id: JobId, token: str, op: RemoteOp, *, until: datetime, stage: str) -> ParkAnswer:
        """Record it and let the job wait."""


@attrs.frozen
class Parked:
    """The run has ended: the job waits, was ended, or is another's."""

    answer: ParkAnswer


class _ParkedError(Exception):
    def __init__(self, answer: ParkAnswer) -> None:
        super().__init__()
        self.answer = answer


@attrs.define(kw_only=True, eq=False)
class RemoteRun:
    """One run of a job at a service."""

    job: Job
    token: str
    task: RemoteTask
    service: RemoteService
    ledger: RemoteLedger
    accounts: RemoteAccounts
    policy: RemotePolicy
    clock: Clock
    pulse: Pulse
    source: RemoteInput
    input_sha256: str
    reader: ResultReader
    sleep: Callable[[float], None] = time.sleep
    _op: RemoteOp = attrs.field(init=False)

    def results(self) -> Mapping[str, Path] | Parked:
        """Return output port → file of what the service made, verified; or that the run has ended without.

        Raises:
            RemoteError: it cannot be had; what it cost is in the job's record.
            JobCancelledError: `pulse` said to stop.
        """
        try:
            self._begin()
            while self._op.phase is not RemotePhase.FINISHED:
                self.pulse.check()
                self._step()
            return self._fetch()
        except _ParkedError as parked:
            return Parked(parked.answer)

    @property
    def account(self) -> str:
        """The account as all workers know it."""
        return f"{self.service.name}:{self.service.account}"

    # ── the beginning ──

    def _begin(self) -> None:
        asked = digest([self.task.service, self.task.request, self.input_sha256])
        known = self.job.remote
        if known is None:
            self._plan(asked)
        elif known.request_digest != asked:
            raise RemoteRequestChangedError(f"The operation at {known.service} was asked for something else.")
        else:
            self._op = known
        pause = next((pause for pause in self.accounts.pauses() if pause.account == self.account), None)
        if pause is not None and self._op.phase is not RemotePhase.SUBMITTED:
            self._park(self._op.evolve(error=pause.fault), pause.until, f"paused: {pause.fault.message}")

    def _plan(self, asked: str) -> None:
        cost = self.service.estimate(self.task, self.source.duration)
        token = operation_token(self.job.root_job_id)
        self._refuse_too_large()
        self._allow(cost, token)
        op = RemoteOp(
            service=self.service.name, account=self.service.account, token=token, request_digest=asked, cost=cost
        )
        self._note(op)

    def _refuse_too_large(self) -> None:
        most = self.service.caps.max_upload_bytes
        if most is not None and self.source.size > most:
            raise LimitExceededError(
                f"{self.service.name} takes at most {most} bytes; nothing was bought.",
                limit="bytes", value=self.source.size, max=most,
            )  # fmt: skip

    def _allow(self, cost: Cost, token: str) -> None:
        """Refuse what costs more than was allowed, before anything is bought."""
        name, day = self.service.name, self.job.created_at.date().isoformat()
        most = self.policy.per_job.get(name)
        if most is not None and cost.estimate > most:
            raise BudgetExceededError(
                f"It would cost about {cost.estimate:.4g} {cost.unit}; one job may cost {most:.4g}. Nothing was bought.",
                hint="MUSPROJ_BUDGET_PER_JOB allows more.",
            )
        limit = self.policy.per_day.get(name)
        spent = self.accounts.spend(self.account, day, token, cost.estimate, limit=limit)
        if spent is not None:
            raise BudgetExceededError(
                f"It would cost about {cost.estimate:.4g} {cost.unit}; of the {limit:.4g} of {day}, {spent:.4g} are "
                "spent. Nothing was bought.",
                hint="MUSPROJ_BUDGET_PER_DAY allows more; `jobs retry` tries again.",
            )

    # ── one step ──

    def _step(self) -> None:
        match self._op.phase:
            case RemotePhase.PLANNED if self._op.intent == "submit" and self.service.caps.idempotency == "none":
                self._reconcile()  # of a job that was cancelled there, and is retried
            case RemotePhase.PLANNED if self.service.caps.has_drafts:
                self._create()
            case RemotePhase.PLANNED | RemotePhase.DRAFT:
                self._upload()
            case RemotePhase.STAGED:
                self._submit()
            case RemotePhase.SUBMITTED:
                self._wait()
            case _:
                self._end()

    def _create(self) -> None:
        """Adopt what an earlier run made, or what a record that was lost knew of; else make it."""
        self._take()
        found = self._call(lambda: self.service.find(self._op)) if self.service.caps.has_tags else None
        if found is not None:
            self._note(found)
            return
        self._note(self._op.evolve(intent="create", input_mode="url" if self._url() else "upload"))
        # A draft that nobody can find is free, and swept: what is unclear here is simply done again.
        self._note(self._call(lambda: self.service.create(self._op, self.task, self.source, self._hook())))

    def _hook(self) -> str | None:
        if not self.policy.has_hook(self.service.caps):
            return None
        return hook_url(self.policy.hook_base or "", self.policy.hook_secret, self.job.job_id, self._op)

    def _url(self) -> str | None:
        return self.source.url() if self.service.caps.takes_urls else None

    def _upload(self) -> None:
        if self._op.phase is RemotePhase.PLANNED and self._op.upload_ref is not None:
            self._note(self._op.enter(RemotePhase.STAGED))  # a cancelled job had sent it, and is retried
            return
        self._wait_for_room()
        self._take()
        self.pulse.report(0, f"sending to {self.service.name}")
        self._note(self._call(lambda: self.service.upload(self._op, self.task, self.source)))

    def _submit(self) -> None:
        if self._op.intent == "submit":
            self._reconcile()
            return
        expires = self._op.upload_expires
        if expires is not None and expires - self.clock.now() < FRESH_FOR:
            self._note(self._op.enter(RemotePhase.PLANNED, upload_ref=None, upload_expires=None))
            return
        self._take()
        self._note(self._op.evolve(intent="submit", cost=self._cost(CostState.MAYBE)))
        try:
            self._submitted(self._bought())
        except CallError as exc:
            if exc.kind is CallClass.AMBIGUOUS:
                self._reconcile(exc)
            elif self.service.caps.has_drafts and exc.kind is CallClass.REJECTED:
                self._look_after_refusal(exc)
            elif exc.kind is CallClass.STALE and self._op.restarts < MAX_RESTARTS:
                self._upload_again()
            else:
                self._op = attrs.evolve(self._op, intent=None, cost=self._cost(CostState.NONE))  # `_failed` saves it
                self._failed(exc)

    def _bought(self) -> RemoteOp:
        return called(lambda: self.service.submit(self._op, self.task, self.source, self._hook()), is_effect=True)

    def _upload_again(self) -> None:
        """The service has lost the input, and nothing was bought for it."""
        cost, restarts = self._cost(CostState.NONE), self._op.restarts + 1
        self._note(
            self._op.enter(RemotePhase.PLANNED, upload_ref=None, upload_expires=None, cost=cost, restarts=restarts)
        )

    def _look_after_refusal(self, exc: CallError) -> None:
        """A start that is refused because it was started is no refusal."""
        found = self._call(lambda: self.service.find(self._op))
        if found is not None and found.phase not in (RemotePhase.STAGED, RemotePhase.DRAFT):
            self._submitted(found)
        self._op = attrs.evolve(self._op, intent=None, cost=self._cost(CostState.NONE))  # `_failed` saves it
        self._failed(exc)

    def _reconcile(self, exc: CallError | None = None) -> None:
        """Find out what became of a call that was paid for, or not; `exc` is how it just failed."""
        caps = self.service.caps
        if caps.has_drafts or caps.has_tags:
            self._take()
            found = self._call(lambda: self.service.find(self._op))
            if found is None and caps.has_drafts:
                self._lose("it is gone from the service")
            if found is None or found.phase in (RemotePhase.STAGED, RemotePhase.DRAFT):
                phase = self._op.phase if found is None else found.phase
                if exc is not None:  # the service is in trouble: not at once again
                    self._op = attrs.evolve(self._op, phase=phase, intent=None, cost=self._cost(CostState.NONE))
                    self._try_later(exc)
                self._note(self._op.enter(phase, cost=self._cost(CostState.NONE)))
            else:
                self._submitted(found)
        elif caps.idempotency == "none":
            self._lose("its answer was lost, and the service cannot be asked")
        else:
            self._repeat_key()

    def _repeat_key(self) -> None:
        last: CallError | None = None
        for _ in range(SAME_KEY_TRIES):
            try:
                self._submitted(self._bought())
            except CallError as exc:
                last = exc
                if exc.kind not in (CallClass.AMBIGUOUS, CallClass.NOT_SENT):
                    break
                self.sleep(SAME_KEY_PAUSE_S)
        assert last is not None
        if last.kind in (CallClass.NOT_SENT, CallClass.REFUSED, CallClass.AUTH, CallClass.QUOTA):
            self._failed(last)  # nothing new is known; the intent stays
        if last.kind is CallClass.AMBIGUOUS and self.service.caps.idempotency == "full":
            self._failed(last)
        self._lose(last.message)

    def _submitted(self, op: RemoteOp) -> NoReturn:
        """Write down that it was bought and let the job wait, in one step."""
        now, caps = self.clock.now(), self.service.caps
        op = op.enter(
            RemotePhase.SUBMITTED,
            rev=self._op.rev + 1,
            submitted_at=now,
            deadline=self.policy.deadline(now, self.source.duration, caps),
            next_poll=self.policy.first_poll(now, self.source.duration, caps),
            polls=0,
            misses=0,
        )
        self._park(op, now + self.policy.safety, f"waiting for {self.service.name}")

    def _wait(self) -> NoReturn:
        if self._op.next_poll is None:  # adopted as it runs: a record that was lost had bought it
            self._submitted(self._op)
        now = self.clock.now()
        self._park(self._op.evolve(), now + self.policy.safety, f"waiting for {self.service.name}")

    def _end(self) -> None:
        """Begin again where that costs nothing; else fail as the service said."""
        op = self._op
        if op.phase is RemotePhase.FAILED and self.service.caps.has_free_restarts and op.restarts < MAX_RESTARTS:
            self._note(op.enter(RemotePhase.STAGED, restarts=op.restarts + 1))
            return
        fault = op.error or RemoteFault(code=_code_of(op.phase), message=f"It ended at {op.service}.")
        raise _CODES.get(fault.code, RemoteRejectedError)(
            f"{fault.message} {self._spent()}".strip(), hint="A forced job pays again." if self._spent() else None
        )

    def _spent(self) -> str:
        cost = self._op.cost
        if cost.state is CostState.NONE:
            return ""
        certain = "It cost" if cost.state is CostState.BILLED else "It may have cost"
        return f"{certain} {cost.known:.4g} {cost.unit}; `force` would pay again."

    def _lose(self, why: str) -> NoReturn:
        fault = RemoteFault(code=RemoteLostError.code, message=f"The work at {self.service.name} is lost: {why}")
        self._note(self._op.enter(RemotePhase.LOST, error=fault))
        self._end()
        raise AssertionError  # pragma: no cover - a lost operation ends

    # ── results ──

    def _fetch(self) -> Mapping[str, Path]:
        self._take(is_poll=True)
        self.pulse.report(0, f"fetching from {self.service.name}")
        try:
            return called(lambda: self.reader.read(self.service, self._op, self.task))
        except CallError as exc:
            if exc.kind is CallClass.MISMATCH:
                self._doubt(exc)
            if exc.kind is CallClass.STALE:
                raise RemoteResultExpiredError(f"{exc.message} {self._spent()}".strip()) from exc
            self._failed(exc)

    def _doubt(self, exc: CallError) -> NoReturn:
        """Fetch again later what is not what it should be; not for ever."""
        fault = RemoteFault(code=RemoteResultInvalidError.code, message=exc.message)
        op = self._op.evolve(fetches=self._op.fetches + 1, error=fault)
        if op.fetches >= self.policy.fetches:
            self._note(op)
            raise RemoteResultInvalidError(f"{exc.message} {self._spent()}".strip()) from exc
        self._later(op, exc.message)

    # ── calls that fail ──

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return called(call)
        except CallError as exc:
            self._failed(exc)

    def _failed(self, exc: CallError) -> NoReturn:
        """Wait, stop the account, or fail, as the failure asks."""
        self._op = self._op.heard_of(exc.request_id)
        match exc.kind:
            case CallClass.REFUSED:
                seconds = exc.retry_after if exc.retry_after is not None else HELD_WITHOUT_WORD_S
                self.accounts.hold(self.account, seconds)
                self._later(self._op.evolve(), exc.message, seconds)
            case CallClass.AUTH | CallClass.QUOTA:
                code = RemoteAuthError.code if exc.kind is CallClass.AUTH else RemoteQuotaError.code
                fault = RemoteFault(code=code, message=exc.message)
                self.accounts.pause(self.account, fault, self.policy.pause)
                until = self.clock.now() + self.policy.pause
                self._park(self._op.evolve(error=fault), until, f"paused: {exc.message}")
            case CallClass.REJECTED | CallClass.STALE | CallClass.FATAL | CallClass.MISMATCH:
                fault = RemoteFault(code=RemoteRejectedError.code, message=exc.message)
                self._note(self._op.enter(RemotePhase.FAILED, error=fault, restarts=MAX_RESTARTS))
                self._end()
                raise AssertionError  # pragma: no cover - it has no restart left
            case _:
                self._try_later(exc)

    def _try_later(self, exc: CallError) -> NoReturn:
        fault = RemoteFault(code=RemoteUnavailableError.code, message=exc.message)
        op = self._op.evolve(tries=self._op.tries + 1, error=fault)
        if op.tries >= self.policy.tries:
            self._note(op)
            raise RemoteUnavailableError(f"{self.service.name} could not be reached {op.tries} times: {exc.message}")
        if op.tries % self.policy.break_after == 0:
            self.accounts.pause(self.account, fault, self.policy.break_for)
        self._later(op, exc.message)

    def _later(self, op: RemoteOp, why: str, seconds: float | None = None) -> NoReturn:
        pause = self.policy.backoff(op.tries + op.fetches) if seconds is None else timedelta(seconds=seconds)
        self._park(op, self.clock.now() + pause, f"retrying at {self.service.name}: {why}")

    def _take(self, *, is_poll: bool = False) -> None:
        """Go on only with the right to a call: another job shall have the worker meanwhile."""
        caps = self.service.caps
        if caps.limits_polls_alone and not is_poll:
            return
        wait = self.accounts.take(self.account, per_minute=caps.calls_per_minute, burst=caps.burst)
        if wait > 0:
            until = self.clock.now() + timedelta(seconds=wait)
            self._park(self._op.evolve(), until, f"waiting for a call to {self.service.name}")

    def _wait_for_room(self) -> None:
        """Send no input while as many operations run as the account allows."""
        running = self.accounts.running(self.service.name)
        if running >= self.service.caps.max_running:
            until = self.clock.now() + timedelta(seconds=self.policy.full_wait_s)
            self._park(self._op.evolve(), until, f"waiting for a place at {self.service.name}")

    # ── the record ──

    def _cost(self, state: CostState) -> Cost:
        """Return the cost in `state`; what was billed is not unsaid by another start of the same object."""
        cost = self._op.cost
        return cost if cost.state is CostState.BILLED else attrs.evolve(cost, state=state)

    def _note(self, op: RemoteOp) -> None:
        if hasattr(self, "_op") and op.rev != self._op.rev + 1:
            op = attrs.evolve(op, rev=self._op.rev + 1)
        self._took(self.ledger.note(self.job.job_id, self.token, op), op)

    def _park(self, op: RemoteOp, until: datetime, stage: str) -> NoReturn:
        answer = self.ledger.park(self.job.job_id, self.token, op, until=until, stage=stage)
        if isinstance(answer, Moved):  # the poller was faster; the next run goes on from there
            op = answer.op.evolve()
            answer = self.ledger.park(self.job.job_id, self.token, op, until=self.clock.now(), stage=stage)
        raise _ParkedError(answer)

    def _took(self, answer: NoteAnswer, op: RemoteOp) -> None:
        match answer:
            case Noted():
                self._op = op
            case Moved(found):
                self._op = found
            case Stale():
                raise _ParkedError(answer)


def _code_of(phase: RemotePhase) -> str:
    return {
        RemotePhase.CANCELLED: RemoteCancelledError.code,
        RemotePhase.LOST: RemoteLostError.code,
    }.get(phase, RemoteRejectedError.code)
