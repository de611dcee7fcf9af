"""The one call that costs money: written down before, and found out about where its answer is lost."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn

import attrs

from musproj.application.remote_account import AccountUse
from musproj.application.remote_calls import called
from musproj.application.remote_hooks import hook_url
from musproj.application.remote_policy import MAX_RESTARTS, RemotePolicy
from musproj.application.remote_record import OpRecord
from musproj.application.remote_setbacks import Setbacks
from musproj.domain.remote import SUBMIT, Cost, CostState, RemoteOp, RemotePhase
from musproj.errors import MusProjError
from musproj.ports.clock import Clock
from musproj.ports.processor import RemoteTask
from musproj.ports.remote import KEY_USED, CallClass, CallError, RemoteInput, RemoteService

SAME_KEY_TRIES = 3
SAME_KEY_PAUSE_S = 0.25
"""Within a second: the key is good until the task starts."""
FRESH_FOR = timedelta(hours=2)
"""An input that expires sooner is brought anew before anything is bought for it."""

_CONFLICT = 409
"""To a key whose first request is not answered yet (draft-ietf-httpapi-idempotency-key-header-07, 2.7)."""
LOOK_AGAIN = timedelta(seconds=5)
"""After which a list that does not have ours is read once more: what was just made may come into it late."""
MAX_ANEW = 2
"""How often that is done: a service whose inputs never live long gets them as they are."""


@attrs.frozen(kw_only=True)
class Purchase:
    """Buys the work of one operation."""

    service: RemoteService
    task: RemoteTask
    source: RemoteInput
    record: OpRecord
    account: AccountUse
    setbacks: Setbacks
    policy: RemotePolicy
    clock: Clock
    sleep: Callable[[float], None] = time.sleep

    def submit(self) -> None:
        """Buy it, unless an earlier run did; then the job waits. Returns where something is to be done before.

        Raises:
            ParkedError: the job waits, as it mostly does.
            RemoteError: it has failed.
            MusProjError: nothing was sent.
        """
        op, caps = self.record.op, self.service.caps
        if op.intent == SUBMIT:
            self.reconcile()
            return
        if self._is_stale(op) and op.returns < MAX_ANEW:
            self._bring_anew(op)
            return
        self.account.wait_for_room()
        self.account.take()
        if caps.has_tags and not caps.has_drafts and caps.idempotency == "none":
            found = self.setbacks.call(lambda: self.service.find(op))
            if found is not None:  # bought by a record that was lost, as where an older copy of it was put back
                self.submitted(found)
        self.account.refuse_dear(op.cost)
        self.account.spend(op.cost, op.token)
        if not self.record.note(op.evolve(intent=SUBMIT, cost=_in_state(op.cost, CostState.MAYBE))):
            return
        try:
            self.submitted(self._buy())
        except CallError as exc:
            self._refused(exc, before=op.cost)
        except MusProjError:  # its address may not be called, or our store gives none of the input: nothing was sent
            self.record.note(self.record.op.evolve(intent=None, cost=op.cost))
            raise

    def reconcile(self, exc: CallError | None = None) -> None:
        """Find out what became of a call that was paid for, or not; `exc` is how it just failed.

        Raises:
            ParkedError: the job waits.
            RemoteError: it has failed.
        """
        caps = self.service.caps
        if caps.has_drafts or caps.has_tags:
            self._look(exc)
        elif caps.idempotency == "none":
            self.setbacks.lose("its answer was lost, and the service cannot be asked")
        else:
            self._repeat_key()

    def submitted(self, op: RemoteOp) -> NoReturn:
        """Write down that it was bought and let the job wait, in one step.

        Raises:
            ParkedError: always.
        """
        now, caps = self.clock.now(), self.service.caps
        op = op.enter(
            RemotePhase.SUBMITTED,
            submitted_at=now,
            deadline=self.policy.deadline(now, self.source.duration, caps),
            next_poll=self.policy.first_poll(now, self.source.duration, caps),
            polls=0,
            misses=0,
        )
        self.record.park(op, until=now + self.policy.safety, stage=f"waiting for {self.service.name}")

    def hook(self) -> str | None:
        """Return where the service shall call us."""
        if not self.policy.has_hook(self.service.caps):
            return None
        job_id = self.record.job.job_id
        return hook_url(self.policy.hook_base or "", self.policy.hook_secret, job_id, self.record.op)

    def _buy(self) -> RemoteOp:
        return called(lambda: self.service.submit(self.record.op, self.task, self.source, self.hook()), is_effect=True)

    def _is_stale(self, op: RemoteOp) -> bool:
        life = self.service.caps.upload_life
        margin = FRESH_FOR if life is None else min(FRESH_FOR, life / 2)
        return op.upload_expires is not None and op.upload_expires - self.clock.now() < margin

    def _bring_anew(self, op: RemoteOp) -> None:
        """Bring an input that would expire while it waits; what is there of the old one goes first."""
        self.account.take()
        self.setbacks.call(lambda: self.service.cleanup(op))
        planned = op.enter(RemotePhase.PLANNED, upload_ref=None, upload_expires=None, remote_id=None)
        self.record.note(attrs.evolve(planned, returns=op.returns + 1))

    def _refused(self, exc: CallError, *, before: Cost) -> None:
        op = self.record.op
        if exc.kind is CallClass.AMBIGUOUS:
            self.reconcile(exc)
            return
        if self.service.caps.has_drafts and exc.kind is CallClass.REJECTED:
            self._look_after_refusal()
        if exc.kind is CallClass.STALE and op.restarts < MAX_RESTARTS:  # the input is lost, and nothing was bought
            planned = op.enter(RemotePhase.PLANNED, upload_ref=None, upload_expires=None, cost=before)
            self.record.note(attrs.evolve(planned, restarts=op.restarts + 1))
            return
        self.setbacks.failed(exc, attrs.evolve(op, intent=None, cost=before))

    def _look_after_refusal(self) -> None:
        """A start that is refused because it was started is no refusal."""
        found = self.setbacks.call(lambda: self.service.find(self.record.op))
        if found is not None and not found.phase.is_before_purchase:
            self.submitted(found)

    def _look(self, exc: CallError | None) -> None:
        self.account.take()
        op = self.record.op
        found = self.setbacks.call(lambda: self.service.find(op))
        if found is None and self.service.caps.has_drafts:
            self.setbacks.lose("it is gone from the service")
        if found is not None and not found.phase.is_before_purchase:
            self.submitted(found)
        if found is None and exc is not None:  # what was just made may come late: looked for once more, after a pause
            self.setbacks.try_later(exc, op, least=LOOK_AGAIN)
        phase = op.phase if found is None else found.phase
        cost = _in_state(op.cost, CostState.NONE)
        if exc is not None:  # the service is in trouble: not at once again
            self.setbacks.try_later(exc, attrs.evolve(op, phase=phase, intent=None, cost=cost))
        self.record.note(op.enter(phase, cost=cost))

    def _repeat_key(self) -> NoReturn:
        """Send the same key again, at once: it leads to the same task, or is refused because there is one."""
        last: CallError | None = None
        for _ in range(SAME_KEY_TRIES):
            try:
                self.submitted(self._buy())
            except CallError as exc:
                last = exc
                if exc.kind not in (CallClass.AMBIGUOUS, CallClass.NOT_SENT) or exc.code == KEY_USED:
                    break
                self.sleep(SAME_KEY_PAUSE_S)
        assert last is not None
        if self.service.caps.idempotency == "full" and last.status == _CONFLICT:  # the first one is still under way
            self.setbacks.try_later(last, self.record.op)
        if last.code == KEY_USED or last.kind in (CallClass.REJECTED, CallClass.STALE, CallClass.FATAL):
            self.setbacks.lose(last.message)
        self.setbacks.failed(last)  # nothing new is known; the intent stays, and so does the key


def _in_state(cost: Cost, state: CostState) -> Cost:
    """Return the cost in `state`; what was billed is not unsaid by another start, and what is free is never bought."""
    is_settled = cost.state is CostState.BILLED or cost.is_free
    return cost if is_settled else attrs.evolve(cost, state=state)
