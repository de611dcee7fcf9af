"""The numbers that work at outside services goes by, and the one place where waiting times are reckoned."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from musproj.domain.remote import RemoteFault, RemoteOp
from musproj.errors import RemoteAuthError, RemoteQuotaError
from musproj.ports.remote import ASSUMED_S, CallClass, CallError, Caps, RemoteAccounts, RemoteService

OTHER_CALLS_PER_MINUTE, OTHER_BURST = 300.0, 100
"""Of calls that a service has no rate for; a courtesy."""
MAX_RESTARTS = 1
"""How often an operation is begun again after it has failed, where that is free, or its input was lost."""
HELD_WITHOUT_WORD_S = 60.0
"""A service that refuses without saying for how long is left alone for a whole window."""


@attrs.frozen(kw_only=True)
class RemotePolicy:
    """Patience, deadlines and money."""

    first_poll_s: float = 3.0
    longest_poll_s: float = 30.0
    hinted_poll_s: float = 120.0
    """Where the service calls us, this often as a safety net."""
    backoff_s: float = 1.0
    longest_backoff_s: float = 60.0
    tries: int = 20
    """Failed calls in one phase."""
    fetches: int = 3
    """Of a result that is not what it should be."""
    pause: timedelta = timedelta(minutes=5)
    """How long an account stays stopped before somebody looks whether it was mended."""
    break_after: int = 5
    """Failed calls of one operation after which its account is left alone for `break_for`."""
    break_for: timedelta = timedelta(minutes=1)
    safety: timedelta = timedelta(minutes=10)
    """A parked job looks by itself after so long, should nobody poll."""
    queue_deadline: timedelta = timedelta(hours=2)
    full_wait_s: float = 10.0
    """Where as many operations run as the account allows."""
    per_job: Mapping[str, float] = attrs.field(factory=dict[str, float])
    """Service → what one job may cost, in its unit."""
    per_day: Mapping[str, float] = attrs.field(factory=dict[str, float])
    """Service → what all jobs of a day (UTC) may cost."""
    hook_base: str | None = None
    """Where services reach our webhooks; None: they cannot."""
    hook_secret: str = attrs.field(default="", repr=False)

    def has_hook(self, caps: Caps) -> bool:
        """Tell whether the service is asked to call us."""
        return caps.sends_hints and bool(self.hook_base and self.hook_secret)

    def first_poll(self, now: datetime, duration: float | None, caps: Caps) -> datetime:
        """Return when to ask for the first time."""
        seconds = max(self.first_poll_s, min(15.0, 0.1 * (duration or 0.0)))
        return now + _about(self.hinted_poll_s if self.has_hook(caps) else seconds)

    def next_poll(self, op: RemoteOp, now: datetime, caps: Caps, *, crowd: int = 1) -> datetime:
        """Return when to ask again: each interval is half as long again as the one before, up to a limit.

        Where a `crowd` of operations is asked for, their questions together take half of the calls at most: the
        other half is for those that send, fetch and delete.
        """
        waited = (now - op.submitted_at).total_seconds() if op.submitted_at else 0.0
        seconds = min(self.longest_poll_s, max(self.first_poll_s, 0.5 * waited))
        questions = -(-crowd // caps.poll_batch)
        seconds = max(seconds, 2 * 60.0 * (questions - 1) / caps.calls_per_minute)
        return now + _about(max(seconds, self.hinted_poll_s) if self.has_hook(caps) else seconds)

    def deadline(self, now: datetime, duration: float | None, caps: Caps) -> datetime:
        """Return when a service that works since now should have finished."""
        work = timedelta(minutes=10, seconds=3 * (ASSUMED_S if duration is None else duration))
        whole = self.queue_deadline + work
        return now + (whole if caps.task_life is None else min(whole, caps.task_life))

    def backoff(self, tries: int) -> timedelta:
        """Return how long to wait after so many failed calls: exponential, with full jitter above a floor."""
        full = min(self.longest_backoff_s, self.backoff_s * 2 ** min(tries, 16))
        return timedelta(seconds=random.uniform(0.2, 1.0) * full)  # noqa: S311 - jitter, no secret


def bucket(account: str, caps: Caps, *, is_poll: bool) -> tuple[str, float, int]:
    """Return the name, rate and burst of the budget that a call is taken from."""
    if caps.limits_polls_alone and not is_poll:
        return f"{account}:other", OTHER_CALLS_PER_MINUTE, OTHER_BURST
    return account, caps.calls_per_minute, caps.burst


def pause_fault(exc: CallError) -> RemoteFault | None:
    """Return why a failed call stops its account, until somebody mends it; None where it does not."""
    code = _STOPPING.get(exc.kind)
    return None if code is None else RemoteFault(code=code, message=exc.message)


def hold_off(accounts: RemoteAccounts, service: RemoteService, exc: CallError) -> float:
    """Let nobody call a service that asked for patience, and return for how many seconds."""
    seconds = HELD_WITHOUT_WORD_S if exc.retry_after is None else exc.retry_after
    for name in dict.fromkeys(bucket(service.key, service.caps, is_poll=is_poll)[0] for is_poll in (True, False)):
        accounts.hold(name, seconds)
    return seconds


_STOPPING = {CallClass.AUTH: RemoteAuthError.code, CallClass.QUOTA: RemoteQuotaError.code}


def _about(seconds: float) -> timedelta:
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
