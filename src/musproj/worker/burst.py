"""When a worker that ends by itself may end: nothing waits, nothing comes due soon, nobody may have died."""

import time

import attrs

from musproj.domain.job import JobStatus
from musproj.ports.jobs import JobStore
from musproj.worker.outage import Outage

PATIENCE_S = 60.0
"""It waits for a job that comes due within this: the first retries of one that failed."""
INHERIT_LEASES = 1.5
"""It waits so many leases for jobs that run elsewhere: by then those of a dead worker wait again."""
INHERIT_LOOK_S = 1.0
"""Between two looks whether any job runs elsewhere."""


@attrs.define(kw_only=True, eq=False)
class Burst:
    """What a worker that found nothing more to do still waits for."""

    jobs: JobStore
    outage: Outage
    lease_s: float
    _others_run: bool = attrs.field(default=False, init=False)
    _others_due: float = attrs.field(default=0.0, init=False)

    def is_over(self, run_at: float | None, last_end_at: float) -> bool:
        """Tell whether it may end, given when the next job comes due and when the last one ended (monotonic)."""
        is_waiting = run_at is not None and run_at < time.monotonic() + PATIENCE_S
        return not self.outage.is_on and not is_waiting and not self._may_inherit(last_end_at)

    def _may_inherit(self, last_end_at: float) -> bool:
        """Tell whether jobs run elsewhere whose worker may be dead: then their lease has to end first."""
        now = time.monotonic()
        if now >= last_end_at + INHERIT_LEASES * self.lease_s:
            return False
        if now >= self._others_due:
            self._others_due = now + INHERIT_LOOK_S
            with self.outage.tolerated():
                self._others_run = self.jobs.counts().get(JobStatus.RUNNING, 0) > 0
        return self._others_run
