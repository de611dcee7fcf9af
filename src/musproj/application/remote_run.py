"""A run whose work an outside service does: one effect at a time, each written down before and after.

The record is saved before every call that creates or buys something. A run that finds such an intent without its
outcome asks the service what became of it, and never simply calls again. While the service works, no run holds a
worker: the job is parked, and `remote_poll` wakes it.

    remote_execution   a job from its input to its product, of which this is the middle
    remote_run         one run: which step comes next
    remote_purchase    the call that costs money, and what became of one whose answer was lost
    remote_setbacks    what follows a call that failed: wait, stop the account, fail
    remote_account     the account's rate limit, places and budget
    remote_record      what is written down, and when it is another's
    remote_results     fetching what was made, and looking at it
    remote_hearing     what a service's word makes of an operation; without a call or a store
    remote_poll        the poller: all operations that are due, and what is to be deleted
    remote_policy      the numbers; remote_calls: calls that may raise anything; remote_hooks: our webhooks' addresses
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import attrs

from musproj.application.remote_account import AccountUse
from musproj.application.remote_calls import called, stop
from musproj.application.remote_hearing import Hearing
from musproj.application.remote_policy import MAX_RESTARTS, RemotePolicy, pause_fault
from musproj.application.remote_purchase import Purchase
from musproj.application.remote_record import OpRecord, ParkedError, RemoteLedger
from musproj.application.remote_results import ResultReader
from musproj.application.remote_setbacks import Setbacks
from musproj.domain.canonical import digest
from musproj.domain.ledger import ParkAnswer
from musproj.domain.remote import CREATE, SUBMIT, RemoteFault, RemoteOp, RemotePhase, operation_token
from musproj.errors import (
    LimitExceededError,
    MusProjError,
    RemoteError,
    RemoteRequestChangedError,
    RemoteResultExpiredError,
    RemoteResultInvalidError,
    RemoteUnavailableError,
)
from musproj.ports.clock import Clock
from musproj.ports.processor import Context, RemoteTask
from musproj.ports.remote import CallClass, CallError, RemoteInput, RemoteService

__all__ = ["Parked", "RemoteLedger", "RemoteRun"]

NEGLECTED = timedelta(minutes=2)
"""An operation that was due so long ago has no poller; the run asks for it."""
MAX_UPLOADS = 3
"""Of a production that is gone when its input comes."""


@attrs.frozen
class Parked:
    """The run has ended: the job waits, was ended, or is another's."""

    answer: ParkAnswer


@attrs.frozen(kw_only=True)
class RemoteRun:
    """One run of a job at a service."""

    task: RemoteTask
    service: RemoteService
    policy: RemotePolicy
    clock: Clock
    ctx: Context
    source: RemoteInput
    input_sha256: str
    reader: ResultReader
    record: OpRecord
    account: AccountUse
    setbacks: Setbacks
    purchase: Purchase

    def results(self) -> Mapping[str, Path] | Parked:
        """Return output port → file of what the service made, verified; or that the run has ended without.

        Raises:
            RemoteError: it cannot be had; what it cost is in the job's record.
            LimitExceededError: the input is larger than the service takes.
            BackendUnavailableError: our own records or objects are away.
            JobCancelledError: `ctx` said to stop.
        """
        try:
            self._begin()
            while self.record.op.phase is not RemotePhase.FINISHED:
                self.ctx.check()
                self._step()
            return self._fetch()
        except ParkedError as parked:
            return Parked(parked.answer)
        except MusProjError:
            if not self.record.is_new:
                self.account.give_back()
            raise

    # ── the beginning ──

    def _begin(self) -> None:
        asked = digest([self.task.service, self.task.request, self.input_sha256])
        if self.record.is_new:
            self._plan(asked)
        elif self.record.op.request_digest != asked and self.record.op.phase.is_before_purchase:
            # Later it is only brought home: a newer program may word the same request in another way.
            raise RemoteRequestChangedError(f"The operation at {self.service.name} was asked for something else.")
        self.account.heed_pause()

    def _plan(self, asked: str) -> None:
        most = self.service.caps.max_upload_bytes
        if most is not None and self.source.size > most:
            text = f"{self.service.name} takes at most {most} bytes; nothing was bought."
            raise LimitExceededError(text, limit="bytes", value=self.source.size, max=most)
        cost = self.service.estimate(self.task, self.source.duration)
        op = RemoteOp(
            service=self.service.name,
            account=self.service.account,
            token=operation_token(self.record.job.root_job_id),
            request_digest=asked,
            cost=cost,
        )
        self.account.refuse_dear(cost)
        self.account.spend(cost, op.token)
        self.record.note(op)

    # ── one step ──

    def _step(self) -> None:
        op, caps = self.record.op, self.service.caps
        match op.phase:
            case RemotePhase.PLANNED if op.intent == SUBMIT and op.upload_ref is None:
                self.purchase.reconcile()  # of a job that was cancelled there, and is retried
            case RemotePhase.PLANNED if caps.has_drafts:
                self._create()
            case RemotePhase.PLANNED if op.upload_ref is not None:
                self.record.note(op.evolve(phase=RemotePhase.STAGED))  # a cancelled job had sent it, and is retried
            case RemotePhase.PLANNED | RemotePhase.DRAFT:
                self._upload()
            case RemotePhase.STAGED:
                self.purchase.submit()
            case RemotePhase.SUBMITTED:
                self._wait()
            case _:
                self._end()

    def _create(self) -> None:
        """Adopt what an earlier run made, or what a record that was lost knew of; else make it."""
        self.account.take()
        call = self.setbacks.call
        found = call(lambda: self.service.find(self.record.op)) if self.service.caps.has_tags else None
        if found is not None:
            self.record.note(found)
            return
        url = self.source.url() if self.service.caps.takes_urls else None
        if not self.record.note(self.record.op.evolve(intent=CREATE, input_mode="url" if url else "upload")):
            return
        # A draft that nobody can find is free: what is unclear here is simply done again.
        hook = self.purchase.hook()
        self.record.note(call(lambda: self.service.create(self.record.op, self.task, self.source, hook)))

    def _upload(self) -> None:
        self.account.wait_for_room()
        self.account.take()
        self.ctx.progress(0.0, f"sending to {self.service.name}")
        op = self.setbacks.call(lambda: self.service.upload(self.record.op, self.task, self.source))
        if op.phase is RemotePhase.PLANNED:  # the draft is gone
            if op.returns >= MAX_UPLOADS:
                self.setbacks.reject(op, f"{self.service.name} does not keep what is made there.")
            op = attrs.evolve(op, returns=op.returns + 1)
        self.record.note(op)

    def _wait(self) -> None:
        op, now = self.record.op, self.clock.now()
        if op.next_poll is None:  # adopted as it runs: a record that was lost had bought it
            self.purchase.submitted(op)
        if now - op.next_poll > NEGLECTED:
            self._ask(op)
            return
        self.record.park(op.evolve(), until=now + self.policy.safety, stage=f"waiting for {self.service.name}")

    def _ask(self, op: RemoteOp) -> None:
        """Do the poller's work for this one operation: nobody seems to."""
        self.account.take(is_poll=True)
        hearing = Hearing(name=self.service.name, caps=self.service.caps, policy=self.policy, now=self.clock.now())
        try:
            heard = hearing.heard(op, called(lambda: self.service.poll([op])).get(op.token))
        except CallError as exc:
            if exc.kind is CallClass.REFUSED or pause_fault(exc) is not None:
                self.setbacks.failed(exc)
            # As the poller does: it is asked until its deadline, however often that fails.
            heard = hearing.put_off(op, RemoteFault(code=RemoteUnavailableError.code, message=exc.message))
        if heard.phase is RemotePhase.SUBMITTED and hearing.is_overdue(op):
            stop(self.service, op)
            heard = hearing.overdue(op)
        self.record.note(heard)

    def _end(self) -> None:
        """Begin again where that costs nothing; else fail as the service said."""
        op = self.record.op
        if op.phase is RemotePhase.FAILED and self.service.caps.has_free_restarts and op.restarts < MAX_RESTARTS:
            self.record.note(op.enter(RemotePhase.STAGED, restarts=op.restarts + 1))
            self.account.heed_pause()
            return
        self.setbacks.fail()

    # ── results ──

    def _fetch(self) -> Mapping[str, Path]:
        self.account.take(is_poll=True)
        self.ctx.progress(0.0, f"fetching from {self.service.name}")
        try:
            return called(lambda: self.reader.read(self.service, self.record.op, self.task))
        except CallError as exc:
            if exc.kind is CallClass.STALE:  # an address may be told before all of the service's hosts know it
                self._doubt(exc, RemoteResultExpiredError)
            if exc.kind in (CallClass.MISMATCH, CallClass.REJECTED, CallClass.FATAL):
                self._doubt(exc, RemoteResultInvalidError)
            self.setbacks.failed(exc)

    def _doubt(self, exc: CallError, ending: type[RemoteError]) -> NoReturn:
        """Fetch again later what is not there, not what it should be, or was refused; it is paid for, but not for ever.

        Raises:
            ParkedError: it is tried again.
            RemoteError: as `ending`, once it was tried often enough.
        """
        fault = RemoteFault(code=ending.code, message=exc.message)
        op = self.record.op.evolve(fetches=self.record.op.fetches + 1, error=fault)
        if op.fetches >= self.policy.fetches:
            self.record.note(op)
            raise ending(
                self.setbacks.with_cost(exc.message, "it is fetched again for nothing by a retry"),
                hint="`musproj jobs retry` fetches it again.",
            ) from exc
        self.setbacks.later(op, exc.message)
