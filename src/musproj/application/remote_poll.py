"""One look at all operations that are due: how far they are, and what is to be deleted.

One poller per account asks for as many operations at once as the service allows, within its rate. It holds no job:
what it writes is refused where somebody else was faster, and a job whose service is done is due at once.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

import attrs

from musproj.application.remote_calls import called
from musproj.application.remote_policy import HELD_WITHOUT_WORD_S, RemotePolicy
from musproj.domain.job import Job
from musproj.domain.remote import CostState, RemoteFault, RemoteOp, RemotePhase
from musproj.errors import (
    RemoteAuthError,
    RemoteCancelledError,
    RemoteDeadlineError,
    RemoteError,
    RemoteLostError,
    RemoteQuotaError,
    RemoteRejectedError,
    RemoteUnavailableError,
)
from musproj.ports.clock import Clock
from musproj.ports.jobs import JobStore
from musproj.ports.remote import CallClass, CallError, RemoteAccounts, RemoteService, RemoteState, Update

log = logging.getLogger("musproj.services")

T = TypeVar("T")

LEADER_LIFE = timedelta(seconds=15)
PAGE = 1_000
MAX_MISSES = 3
MISS_WAIT = timedelta(seconds=30)
"""Between two questions for an operation that the service did not know."""
MAX_RETURNS = 3
"""How often an operation may fall back to a phase before it was bought."""
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
        by_service: dict[str, list[Job]] = {}
        for job in self.jobs.remotes(limit=PAGE):
            assert job.remote is not None
            by_service.setdefault(job.remote.service, []).append(job)
        paused = {pause.account for pause in self.accounts.pauses()}
        done = 0
        for name, jobs in by_service.items():
            service = self.services.get(name)
            account = f"{name}:{service.account}" if service else ""
            if service is None or account in paused or not self.accounts.lead(account, self.who, LEADER_LIFE):
                continue
            done += self._look_after(service, account, jobs)
        return done

    def _look_after(self, service: RemoteService, account: str, jobs: Sequence[Job]) -> int:
        waiting = [job for job in jobs if not job.is_terminal]
        ended = [job for job in jobs if job.is_terminal]
        done = 0
        for batch in _batches(waiting, service.caps.poll_batch):
            if not self._may_call(service, account, is_poll=True):
                return done
            if not self._poll(service, account, batch):
                return done
            done += len(batch)
        for job in ended:
            if not self._may_call(service, account, is_poll=False) or not self._clean(service, account, job):
                return done
            done += 1
        return done

    def _may_call(self, service: RemoteService, account: str, *, is_poll: bool) -> bool:
        self.accounts.lead(account, self.who, LEADER_LIFE)
        if service.caps.limits_polls_alone and not is_poll:
            return True
        return self.accounts.take(account, per_minute=service.caps.calls_per_minute, burst=service.caps.burst) == 0

    # ── how far they are ──

    def _poll(self, service: RemoteService, account: str, jobs: Sequence[Job]) -> bool:
        """Ask for some; return whether the account may be asked on."""
        ops = [job.remote for job in jobs if job.remote is not None]
        try:
            updates = _asked(lambda: service.poll(ops))
        except CallError as exc:
            return self._failed(service, account, jobs, exc)
        now = self.clock.now()
        for job, op in zip(jobs, ops, strict=True):
            update = updates.get(op.token)
            after = self._asked(service, op, now) if update is None else self._heard(service, op, update, now)
            fraction = update.fraction if update else None
            percent = None if fraction is None else round(UNPUBLISHED_PERCENT * min(max(fraction, 0.0), 1.0))
            self.jobs.hear(job.job_id, after, percent=percent)
        return True

    def _asked(self, service: RemoteService, op: RemoteOp, now: datetime, **changes: object) -> RemoteOp:
        if op.deadline is not None and now >= op.deadline:
            return self._overdue(service, op)
        due = self.policy.next_poll(op, now, service.caps)
        return op.evolve(**{"next_poll": due, "polls": op.polls + 1, "tries": 0, **changes})

    def _heard(self, service: RemoteService, op: RemoteOp, update: Update, now: datetime) -> RemoteOp:
        op = op.heard_of(update.request_id)
        cost = op.cost if update.actual is None else attrs.evolve(op.cost, actual=update.actual)
        billed = attrs.evolve(cost, state=CostState.BILLED)
        match update.state:
            case RemoteState.QUEUED | RemoteState.RUNNING:
                return self._asked(service, op, now, misses=0)
            case RemoteState.FINISHED:
                return op.enter(RemotePhase.FINISHED, cost=billed, next_poll=None)
            case RemoteState.FAILED:
                fault = update.fault or RemoteFault(code=RemoteRejectedError.code, message="It failed.")
                return op.enter(RemotePhase.FAILED, error=fault, cost=cost, next_poll=None)
            case RemoteState.CANCELLED:
                fault = RemoteFault(code=RemoteCancelledError.code, message=f"{service.name} stopped the work.")
                return op.enter(RemotePhase.CANCELLED, error=fault, cost=cost, next_poll=None)
            case RemoteState.GONE:
                return self._missed(service, op, now)
            case RemoteState.NOT_STARTED | RemoteState.OUTDATED:
                return self._returned(op, RemotePhase.STAGED)
            case RemoteState.NEEDS_INPUT:
                return self._returned(op, RemotePhase.DRAFT)

    def _missed(self, service: RemoteService, op: RemoteOp, now: datetime) -> RemoteOp:
        misses = op.misses + 1
        if misses < MAX_MISSES:
            return op.evolve(misses=misses, next_poll=now + MISS_WAIT)
        fault = RemoteFault(code=RemoteLostError.code, message=f"{service.name} knows nothing of it any more.")
        return op.enter(RemotePhase.LOST, error=fault, next_poll=None)

    def _returned(self, op: RemoteOp, phase: RemotePhase) -> RemoteOp:
        """Start it again on the same object; not for ever."""
        if op.restarts >= MAX_RETURNS:
            fault = RemoteFault(code=RemoteRejectedError.code, message=f"{op.service} does not keep it started.")
            return op.enter(RemotePhase.FAILED, error=fault, next_poll=None)
        return op.enter(phase, restarts=op.restarts + 1, next_poll=None)

    def _overdue(self, service: RemoteService, op: RemoteOp) -> RemoteOp:
        try:
            _asked(lambda: service.cancel(op))
        except CallError as exc:
            log.info("An overdue operation could not be stopped: %s", exc.message)
        fault = RemoteFault(code=RemoteDeadlineError.code, message=f"{service.name} did not finish in time.")
        return op.enter(RemotePhase.FAILED, error=fault, next_poll=None, restarts=MAX_RETURNS)

    # ── what is to be deleted ──

    def _clean(self, service: RemoteService, account: str, job: Job) -> bool:
        op = job.remote
        assert op is not None
        heir = self.jobs.find(op.heir) if op.heir is not None else None
        if heir is not None and heir.remote is not None and _same_objects(heir.remote, op):
            self.jobs.hear(job.job_id, op.evolve(cleanup_due=None))  # another job's now
            return True
        try:
            _asked(lambda: service.cleanup(op))
        except CallError as exc:
            return self._failed(service, account, [job], exc)
        self.jobs.hear(job.job_id, op.cleaned())
        return True

    # ── calls that fail ──

    def _failed(self, service: RemoteService, account: str, jobs: Sequence[Job], exc: CallError) -> bool:
        """Put them off; return whether others of the account may be asked for."""
        log.info("%s could not be asked: %s", service.name, exc.message, extra={"action": "service_failed"})
        now = self.clock.now()
        fault = RemoteFault(code=_CODES.get(exc.kind, RemoteUnavailableError.code), message=exc.message)
        if exc.kind is CallClass.REFUSED:
            self.accounts.hold(account, exc.retry_after if exc.retry_after is not None else HELD_WITHOUT_WORD_S)
            return False
        if exc.kind in _CODES:
            self.accounts.pause(account, fault, self.policy.pause)
            log.error("%s is paused: %s", account, exc.message, extra={"action": "account_paused", "account": account})
        for job in jobs:
            op = job.remote
            assert op is not None
            after = op.not_cleaned(fault, now) if job.is_terminal else self._put_off(service, op, fault, now)
            self.jobs.hear(job.job_id, after)
        return exc.kind not in _CODES

    def _put_off(self, service: RemoteService, op: RemoteOp, fault: RemoteFault, now: datetime) -> RemoteOp:
        if op.deadline is not None and now >= op.deadline:
            return self._overdue(service, op)
        pause = self.policy.backoff(op.tries + 1)
        return op.evolve(next_poll=now + pause, tries=op.tries + 1, error=fault)


_CODES = {CallClass.AUTH: RemoteAuthError.code, CallClass.QUOTA: RemoteQuotaError.code}


def _asked(call: Callable[[], T]) -> T:
    """Return what `call` returns; whatever else it raises is a failed call: the others are still to be asked for."""
    try:
        return called(call)
    except (RemoteError, OSError) as exc:
        raise CallError(CallClass.TRANSIENT, str(exc)) from exc


def _same_objects(one: RemoteOp, other: RemoteOp) -> bool:
    return (one.remote_id, one.upload_ref) == (other.remote_id, other.upload_ref)


def _batches(jobs: Iterable[Job], size: int) -> Iterable[list[Job]]:
    rest = iter(jobs)
    while batch := list(islice(rest, size)):
        yield batch
