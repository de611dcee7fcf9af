"""One look at all operations that are due: how far they are, and what is to be deleted.

One poller per account asks for as many operations at once as the service allows, within its rate. It holds no job:
what it writes is refused where somebody else was faster, and a job whose service is done is due at once.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import TypeVar

import attrs

from musproj.application.remote_account import stop_account
from musproj.application.remote_calls import answered, stop
from musproj.application.remote_hearing import Hearing
from musproj.application.remote_policy import RemotePolicy, bucket, hold_off, pause_fault
from musproj.domain.ids import JobId
from musproj.domain.job import Job
from musproj.domain.remote import RemoteFault, RemoteOp, RemotePhase
from musproj.errors import RemoteQuotaError, RemoteUnavailableError, UnavailableError
from musproj.ports.clock import Clock
from musproj.ports.jobs import JobStore
from musproj.ports.remote import CallClass, CallError, Pause, RemoteAccounts, RemoteService, Update

log = logging.getLogger("musproj.services")

T = TypeVar("T")

LEADER_LIFE = timedelta(seconds=15)
LONGEST_TURN = LEADER_LIFE
"""After which no call to a service begins while others wait for theirs: each may hang for a minute."""
PAGE = 1_000
CLEANED_FIRST = 5
"""Deletions that a round begins with: many that are asked for must not keep all of them waiting."""
UNPUBLISHED_PERCENT = 95


@attrs.frozen(kw_only=True)
class Poller:
    """Asks the services, as `who`."""

    jobs: JobStore
    accounts: RemoteAccounts
    services: Mapping[str, RemoteService]
    policy: RemotePolicy
    clock: Clock
    who: str

    def round(self) -> int:
        """Do what is due; return how many operations were looked after.

        Raises:
            BackendUnavailableError: the records are away.
        """
        paused = {pause.account: pause for pause in self.accounts.pauses()}
        looks = (partial(self._look_after, service, paused.get(service.key)) for service in self.services.values())
        return sum(_guarded(look, "A service could not be looked after.") or 0 for look in looks)

    def _look_after(self, service: RemoteService, pause: Pause | None) -> int:
        """Ask for the operations of one service, and delete what it need not keep, in turns.

        For want of money nothing is bought, but what was bought is still brought home.
        """
        if not self.accounts.lead(service.key, self.who, LEADER_LIFE):
            return 0
        turn = self.clock.now() + LONGEST_TURN
        jobs = self.jobs.remotes(limit=PAGE, service=service.name, only_due=True)
        is_stopped = pause is not None and pause.fault.code != RemoteQuotaError.code
        waiting = self._without_overdue(service, [job for job in jobs if not job.is_terminal], is_stopped=is_stopped)
        if is_stopped:
            return 0
        ended = [job for job in jobs if job.is_terminal]
        first, rest = ended[:CLEANED_FIRST], ended[CLEANED_FIRST:]
        done = self._clean_all(service, first, turn)
        crowd = self.accounts.running(service.name)
        for batch in _batches(waiting, service.caps.poll_batch):
            if not self._may_call(service, turn, is_poll=True) or not self._poll(service, batch, crowd):
                return done
            done += len(batch)
        return done + self._clean_all(service, rest, turn)

    def _without_overdue(self, service: RemoteService, jobs: Sequence[Job], *, is_stopped: bool) -> list[Job]:
        """End what should have been done long ago, whether or not the service may be asked now."""
        hearing = self._hearing(service)
        late: set[JobId] = set()
        for job in jobs:
            op = job.remote
            if op is not None and hearing.is_overdue_for_long(op, is_stopped=is_stopped):
                late.add(job.job_id)
                self._guarded(job.job_id, partial(self.jobs.hear, job.job_id, hearing.overdue(op)))
        return [job for job in jobs if job.job_id not in late]

    def _may_call(self, service: RemoteService, turn: datetime, *, is_poll: bool) -> bool:
        """Tell whether it may be called now; `turn` is when others have theirs, though this one has not answered."""
        if self.clock.now() >= turn or not self.accounts.lead(service.key, self.who, LEADER_LIFE):
            return False
        name, per_minute, burst = bucket(service.key, service.caps, is_poll=is_poll)
        return self.accounts.take(name, per_minute=per_minute, burst=burst) == 0

    # ── how far they are ──

    def _poll(self, service: RemoteService, jobs: Sequence[Job], crowd: int) -> bool:
        """Ask for some; return whether the account may be asked on."""
        ops = {job.job_id: job.remote for job in jobs if job.remote is not None}
        try:
            updates = answered(lambda: service.poll(list(ops.values())))
        except CallError as exc:
            return self._failed(service, jobs, exc)
        hearing = self._hearing(service, crowd)
        for job_id, op in ops.items():
            self._guarded(job_id, partial(self._hear, service, hearing, job_id, op, updates.get(op.token)))
        return True

    def _hear(
        self, service: RemoteService, hearing: Hearing, job_id: JobId, op: RemoteOp, update: Update | None
    ) -> None:
        after = hearing.heard(op, update)
        if after.phase is RemotePhase.SUBMITTED and hearing.is_overdue(op):
            after = self._overdue(service, hearing, op)
        fraction = update.fraction if update else None
        percent = None if fraction is None else round(UNPUBLISHED_PERCENT * min(fraction, 1.0))
        self.jobs.hear(job_id, after, percent=percent)

    def _overdue(self, service: RemoteService, hearing: Hearing, op: RemoteOp) -> RemoteOp:
        stop(service, op)
        return hearing.overdue(op)

    def _hearing(self, service: RemoteService, crowd: int = 1) -> Hearing:
        return Hearing(
            name=service.name, caps=service.caps, policy=self.policy, now=self.clock.now(), crowd=max(1, crowd)
        )

    def _guarded(self, job_id: JobId, step: Callable[[], T]) -> T | None:
        return _guarded(step, f"Job {job_id} could not be looked after.", job=job_id)

    # ── what is to be deleted ──

    def _clean_all(self, service: RemoteService, jobs: Sequence[Job], turn: datetime) -> int:
        for done, job in enumerate(jobs):
            clean = partial(self._clean, service, job.job_id)
            if not self._may_call(service, turn, is_poll=False) or self._guarded(job.job_id, clean) is False:
                return done
        return len(jobs)

    def _clean(self, service: RemoteService, job_id: JobId) -> bool:
        """Delete what is at the service, unless it is another job's by now; return whether it may be asked on."""
        job = self.jobs.find(job_id)  # anew: calls before this one took their time, and it may have been retried
        op = None if job is None else job.remote
        if job is None or op is None or op.cleanup_due is None:
            return True
        heir = self.jobs.find(op.heir) if op.heir is not None else None
        if heir is not None and heir.remote is not None and _is_shared(service, op, heir.remote):
            self.jobs.hear(job_id, op.evolve(cleanup_due=None))
            return True
        try:
            if op.remote_id is not None and op.phase in _MAY_RUN:
                answered(lambda: service.cancel(op))
            answered(lambda: service.cleanup(op))
        except CallError as exc:
            return self._failed(service, [job], exc)
        self.jobs.hear(job_id, op.cleaned())
        return True

    # ── calls that fail ──

    def _failed(self, service: RemoteService, jobs: Sequence[Job], exc: CallError) -> bool:
        """Put them off; return whether others of the account may be asked for."""
        log.info("%s could not be asked: %s", service.name, exc.message, extra={"action": "service_failed"})
        if exc.kind is CallClass.REFUSED:
            hold_off(self.accounts, service, exc)
        stopping = pause_fault(exc)
        fault = stopping or RemoteFault(code=RemoteUnavailableError.code, message=exc.message)
        if stopping is not None:
            stop_account(self.accounts, service, stopping, self.policy.pause)
        hearing = self._hearing(service)
        for job in jobs:
            self._guarded(job.job_id, partial(self._put_off, service, hearing, job, fault))
        return stopping is None and exc.kind is not CallClass.REFUSED

    def _put_off(self, service: RemoteService, hearing: Hearing, job: Job, fault: RemoteFault) -> None:
        op = job.remote
        assert op is not None
        if job.is_terminal:
            after = op.not_cleaned(fault, hearing.now)
        elif hearing.is_overdue(op):
            after = self._overdue(service, hearing, op)
        else:
            after = hearing.put_off(op, fault)
        self.jobs.hear(job.job_id, after)


_MAY_RUN = (RemotePhase.CANCELLED, RemotePhase.LOST, RemotePhase.SUBMITTED, RemotePhase.FAILED)


def _is_shared(service: RemoteService, op: RemoteOp, heir: RemoteOp) -> bool:
    """Tell whether what `op` has at the service is its heir's too, which deletes it at its own end.

    Drafts have the operation's name: an heir without an id may find this one, and a deletion without an id would find
    the heir's.
    """
    if (op.remote_id, op.upload_ref) == (heir.remote_id, heir.upload_ref):
        return True
    return service.caps.has_drafts and (op.remote_id is None or heir.remote_id is None)


def _guarded(step: Callable[[], T], message: str, **facts: object) -> T | None:
    """Return what `step` does; whatever goes wrong, but records that are away, keeps no other from its turn."""
    try:
        return step()
    except UnavailableError:
        raise
    except Exception:
        log.exception(message, extra={"action": "remote_failed", **facts})
        return None


def _batches(jobs: Iterable[Job], size: int) -> Iterable[list[Job]]:
    rest = iter(jobs)
    while batch := list(islice(rest, size)):
        yield batch
