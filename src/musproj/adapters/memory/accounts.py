"""Accounts at outside services, in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from musproj.adapters.memory.state import MemoryState
from musproj.domain.remote import RemoteFault
from musproj.ports.clock import Clock
from musproj.ports.remote import LOOKED_AFTER, Pause, RemoteAccounts, next_call


class MemoryAccounts(RemoteAccounts):
    """What the threads of one process know of the accounts."""

    def __init__(self, state: MemoryState, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._leaders: dict[str, tuple[str, datetime]] = {}
        self._arrivals: dict[str, float] = {}
        self._held: dict[str, float] = {}
        self._pauses: dict[str, Pause] = {}
        self._spent: dict[tuple[str, str], dict[str, float]] = {}

    def lead(self, account: str, who: str, life: timedelta) -> bool:
        """Take the place that is free, or one's own."""
        with self._state.lock:
            now = self._clock.now()
            leader, until = self._leaders.get(account, (who, now))
            if leader != who and until > now:
                return False
            self._leaders[account] = (who, now + life)
            return True

    def take(self, account: str, *, per_minute: float, burst: int) -> float:
        """Compare with when the next call would arrive."""
        with self._state.lock:
            now = self._clock.now().timestamp()
            held = self._held.get(account, 0.0) - now
            wait, arrival = next_call(now, self._arrivals.get(account, 0.0), per_minute=per_minute, burst=burst)
            if held <= 0:
                self._arrivals[account] = arrival
            return max(wait, held, 0.0)

    def hold(self, account: str, seconds: float) -> None:
        """Note until when; whatever is left of a burst."""
        with self._state.lock:
            until = self._clock.now().timestamp() + seconds
            self._held[account] = max(until, self._held.get(account, 0.0))

    def pause(self, account: str, fault: RemoteFault, life: timedelta) -> None:
        """Keep the reason."""
        with self._state.lock:
            self._pauses[account] = Pause(account=account, until=self._clock.now() + life, fault=fault)

    def pauses(self) -> Sequence[Pause]:
        """Leave out those that are over."""
        with self._state.lock:
            now = self._clock.now()
            return [pause for _, pause in sorted(self._pauses.items()) if pause.until > now]

    def resume(self, account: str) -> None:
        """Drop the reason."""
        with self._state.lock:
            self._pauses.pop(account, None)

    def running(self, service: str) -> int:
        """Count the jobs that are soon to be looked after."""
        with self._state.lock:
            until = self._clock.now() + LOOKED_AFTER
            return sum(
                job.remote is not None and job.remote.service == service and job.remote_due is not None
                and job.remote_due <= until
                for job in self._state.jobs.values()
            )  # fmt: skip

    def spend(self, account: str, day: str, token: str, amount: float, *, limit: float | None) -> float | None:
        """Add up what the day's others cost."""
        with self._state.lock:
            costs = self._spent.setdefault((account, day), {})
            before = sum(cost for other, cost in costs.items() if other != token)
            is_more = token not in costs or amount > costs[token]
            if limit is not None and is_more and before + amount > limit:
                return before
            costs[token] = amount
            return None
