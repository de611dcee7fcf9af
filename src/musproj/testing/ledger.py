"""The stores of one installation, and short cuts through the life of an asset and a job."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from musproj.domain.asset import Asset, AssetStatus
from musproj.domain.ids import DEFAULT_OWNER, AssetId, JobId, Owner, new_token
from musproj.domain.job import FailureKind, Job, JobInput
from musproj.domain.ledger import Committed, Failure, Granted, ReleaseAnswer, Reserved, Rules, Worker
from musproj.domain.version import Version
from musproj.ports.assets import AssetFilter, AssetStore, GcEntry
from musproj.ports.jobs import Beat, Created, JobStore, Publication
from musproj.ports.queue import JobQueue
from musproj.ports.remote import RemoteAccounts
from musproj.testing.clock import FakeClock
from musproj.testing.records import SOMEBODY_ELSE, made_version, new_asset, new_job, new_worker, source_version

TICK_SECONDS = 10.0
"""Less than a lease, as the ticks of a live installation."""


@attrs.frozen(kw_only=True)
class Ledger:
    """One empty installation under test; all its stores go by `clock` and `rules`."""

    clock: FakeClock
    rules: Rules
    assets: AssetStore
    jobs: JobStore
    queue: JobQueue
    accounts: RemoteAccounts | None = None
    """What is known of accounts at outside services, of an adapter that knows anything of them."""
    again: "Callable[[], Ledger] | None" = None
    """Opens the same installation through other handles, as another process would."""
    cut_off: Callable[[], None] | None = None
    """Makes the backend unreachable from now on."""
    plant_version: Callable[[Asset, Version], None] | None = None
    """Writes a version record behind the stores' back, as a failover leaves one that lost the counter."""

    @property
    def now(self) -> datetime:
        """The time of the fake clock."""
        return self.clock.now()

    # ── assets ──

    def pending(self, owner: Owner = DEFAULT_OWNER, **changes: Any) -> Asset:
        """Create a pending asset, a millisecond after everything before."""
        asset, _ = self.assets.create(new_asset(self.clock.advance(0.001), owner=owner, **changes))
        return asset

    def ready(self, owner: Owner = DEFAULT_OWNER, **changes: Any) -> Asset:
        """Create and confirm an asset."""
        asset = self.pending(owner, **changes)
        return self.assets.confirm(owner, asset.asset_id, source_version(asset, self.now), [])[0]

    def asset(self, asset: Asset) -> Asset:
        """Read the present record."""
        return self.assets.get(asset.owner, asset.asset_id)

    def all_assets(self) -> list[Asset]:
        """Return the assets of both owners, newest first, tombstones last."""
        return [
            asset
            for owner in (DEFAULT_OWNER, SOMEBODY_ELSE)
            for filters in (AssetFilter(), AssetFilter(status=AssetStatus.DELETED))
            for asset in self.assets.list(owner, filters, limit=1000).items
        ]

    def numbers(self, asset: Asset) -> list[int]:
        """Return the published numbers, oldest first."""
        page = self.assets.versions(asset.owner, asset.asset_id, limit=1000, oldest_first=True)
        return [version.number for version in page.items]

    def garbage(self, after: timedelta = timedelta(days=2)) -> set[tuple[AssetId, int]]:
        """Return the prefixes that gc will look at within `after`."""
        return {(entry.asset_id, entry.version) for entry in self.gc_entries(after)}

    def gc_entries(self, after: timedelta = timedelta(days=2)) -> Sequence[GcEntry]:
        """Return what gc will look at within `after`."""
        return self.assets.gc_due(self.now + after, limit=1000)

    # ── jobs ──

    def submit(self, asset: Asset, job_type: str = "enhance", **changes: Any) -> Job:
        """Submit a job with a twin nowhere (`force`, unless told otherwise), a millisecond after everything before."""
        job = new_job(asset, self.clock.advance(0.001), job_type, **{"force": True, **changes})
        answer = self.jobs.submit(job)
        assert isinstance(answer, Created), answer
        return answer.job

    def job(self, job: Job | JobId) -> Job:
        """Read the present record."""
        found = self.jobs.find(job.job_id if isinstance(job, Job) else job)
        assert found is not None
        return found

    def begin(self, job: Job, worker: Worker | None = None) -> Granted:
        """Begin the job; it must be granted."""
        answer = self.jobs.begin(job.job_id, worker or new_worker(), new_token())
        assert isinstance(answer, Granted), answer
        return answer

    def running(self, asset: Asset, job_type: str = "enhance", **changes: Any) -> Granted:
        """Submit and begin a job."""
        return self.begin(self.submit(asset, job_type, **changes))

    def reserve(self, run: Granted, above: int = 0) -> int:
        """Reserve the run's number."""
        answer = self.jobs.reserve(run.job.job_id, run.token, above=above)
        assert isinstance(answer, Reserved), answer
        return answer.number

    def publication(
        self, run: Granted, number: int, *, names: Sequence[str] = ("enhanced",), moves_head: bool = False
    ) -> Publication:
        """Return what the run commits as version `number`."""
        asset = self.assets.get(run.job.owner, run.job.asset_id)
        return Publication(version=made_version(asset, run.job, number, self.now, names=names), moves_head=moves_head)

    def finish(self, run: Granted, *, names: Sequence[str] = ("enhanced",), moves_head: bool = False) -> Job:
        """Reserve and commit a version; it must succeed."""
        publication = self.publication(run, self.reserve(run), names=names, moves_head=moves_head)
        answer = self.jobs.commit(run.job.job_id, run.token, publication)
        assert isinstance(answer, Committed), answer
        return answer.job

    def publish(self, asset: Asset, job_type: str = "enhance", *, moves_head: bool = False) -> Job:
        """Run a job from submit to commit."""
        return self.finish(self.running(asset, job_type), moves_head=moves_head)

    def release(
        self, run: Granted, kind: FailureKind, code: str = "internal", retry_after: timedelta | None = None
    ) -> ReleaseAnswer:
        """Take the run off its worker."""
        failure = Failure(kind=kind, code=code, message=f"It ended as {kind}.", retry_after=retry_after)
        return self.jobs.release(run.job.job_id, run.token, failure)

    def beat(self, run: Granted) -> None:
        """Give a sign of life."""
        self.jobs.beat([Beat(job_id=run.job.job_id, token=run.token)])

    # ── time ──

    def live_through(self, seconds: float, *beating: Granted) -> None:
        """Let time pass in an installation that ticks; the runs in `beating` give their signs of life."""
        while seconds > 0:
            step = min(TICK_SECONDS, seconds)
            seconds -= step
            self.clock.advance(step)
            for run in beating:
                self.beat(run)
            self.jobs.tick()

    def lose_worker(self) -> None:
        """Let the leases of all runs end while the installation ticks."""
        self.jobs.tick()
        self.live_through(self.rules.lease.total_seconds())


OpenLedger = Callable[[FakeClock, Rules], Ledger]
"""Opens a new, empty installation that goes by this clock and these rules."""


def inputs_of(*assets: Asset, **by_port: Asset) -> tuple[JobInput, ...]:
    """Return version 1 of each asset as inputs: by port name, else `input`."""
    plain = tuple(JobInput(asset_id=asset.asset_id, version=1) for asset in assets)
    return plain + tuple(JobInput(port=port, asset_id=asset.asset_id, version=1) for port, asset in by_port.items())
