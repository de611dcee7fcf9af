"""A run's use of its account: the right to a call, a place among those that run, and money."""

import logging
from datetime import timedelta

import attrs

from musproj.application.remote_policy import RemotePolicy, bucket
from musproj.application.remote_record import OpRecord
from musproj.domain.remote import Cost, CostState, RemoteFault, RemotePhase
from musproj.errors import BudgetExceededError, RemoteAuthError, RemoteQuotaError
from musproj.ports.clock import Clock
from musproj.ports.remote import RemoteAccounts, RemoteService

SHORTEST_WAIT_S = 0.1
"""A job that waits for less would be back before others had a turn."""
_WHY = {RemoteAuthError.code: "its key is refused", RemoteQuotaError.code: "it has nothing left to pay with"}


_SILENT = "it does not answer"

log = logging.getLogger("musproj.services")


def paused(service: RemoteService, fault: RemoteFault) -> str:
    """Return the stage of a job whose account is stopped because of `fault`."""
    return f"paused: {service.name}: {_WHY.get(fault.code, _SILENT)}"


def stop_account(accounts: RemoteAccounts, service: RemoteService, fault: RemoteFault, life: timedelta) -> None:
    """Stop the account until somebody mended it, or for `life`, and say so."""
    accounts.pause(service.key, fault, life)
    facts = {"action": "account_paused", "account": service.key}
    log.error("%s is paused: %s", service.key, fault.message, extra=facts)


@attrs.frozen(kw_only=True)
class AccountUse:
    """What has to hold before a call; where it does not, the job waits without a worker."""

    service: RemoteService
    accounts: RemoteAccounts
    policy: RemotePolicy
    clock: Clock
    record: OpRecord

    def heed_pause(self) -> None:
        """Wait where the account is stopped; for want of money, only what would be bought waits.

        Raises:
            ParkedError: the job waits.
        """
        op = self.record.op
        pause = next((pause for pause in self.accounts.pauses() if pause.account == self.service.key), None)
        if pause is None or op.phase is RemotePhase.SUBMITTED or op.phase.is_ended:
            return
        if pause.fault.code == RemoteQuotaError.code and not op.phase.is_before_purchase:
            return
        # What it was stopped of may name another owner's work; the operator reads it in `musproj doctor`.
        why = _WHY.get(pause.fault.code, _SILENT)
        fault = RemoteFault(code=pause.fault.code, message=f"The account at {self.service.name} is paused: {why}.")
        self.record.park(op.evolve(error=fault), until=pause.until, stage=paused(self.service, fault))

    def take(self, *, is_poll: bool = False) -> None:
        """Go on only with the right to a call: another job shall have the worker meanwhile.

        Raises:
            ParkedError: the job waits.
        """
        caps = self.service.caps
        name, per_minute, burst = bucket(self.service.key, caps, is_poll=is_poll)
        wait = self.accounts.take(name, per_minute=per_minute, burst=burst)
        if wait > 0:
            until = self.clock.now() + timedelta(seconds=max(wait, SHORTEST_WAIT_S))
            stage = f"waiting for a call to {self.service.name}"
            self.record.park(self.record.op.evolve(), until=until, stage=stage)

    def wait_for_room(self) -> None:
        """Send and start nothing while as many operations run as the account allows, about.

        Raises:
            ParkedError: the job waits.
        """
        if self.accounts.running(self.service.name) >= self.service.caps.max_running:
            until = self.clock.now() + timedelta(seconds=self.policy.full_wait_s)
            stage = f"waiting for a place at {self.service.name}"
            self.record.park(self.record.op.evolve(), until=until, stage=stage)

    def refuse_dear(self, cost: Cost) -> None:
        """Refuse what costs more than one job may.

        Raises:
            BudgetExceededError: it does.
        """
        most = self.policy.per_job.get(self.service.name)
        if most is not None and cost.estimate > most:
            raise BudgetExceededError(
                f"It would cost about {cost.estimate:.4g} {cost.unit}; one job may cost {most:.4g}. Nothing was bought.",
                hint="MUSPROJ_BUDGET_PER_JOB allows more.",
            )

    def spend(self, cost: Cost, token: str) -> None:
        """Count it among what this day may cost, once.

        Raises:
            BudgetExceededError: there is not so much left of the day.
        """
        limit, day = self.policy.per_day.get(self.service.name), self._today
        spent = self.accounts.spend(self.service.key, day, token, cost.estimate, limit=limit)
        if spent is not None:
            raise BudgetExceededError(
                f"It would cost about {cost.estimate:.4g} {cost.unit}; not so much is left of the {limit:.4g} of {day}. "
                "Nothing was bought.",
                hint="MUSPROJ_BUDGET_PER_DAY allows more; `jobs retry` tries again.",
            )

    def give_back(self) -> None:
        """Take what was not bought off the day's account."""
        op = self.record.op
        if op.cost.state is CostState.NONE:
            self.accounts.spend(self.service.key, self._today, op.token, 0.0, limit=None)

    @property
    def _today(self) -> str:
        return self.clock.now().date().isoformat()
