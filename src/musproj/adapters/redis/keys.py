"""The names of all keys: the seed's, exactly, and what stands beside them."""

import attrs

from musproj.domain.ids import AssetId, JobId, Owner


@attrs.frozen
class Keys:
    """Every key begins with `prefix`, which is empty unless set."""

    prefix: str = ""

    # ── the seed ──

    def asset(self, asset_id: AssetId) -> str:
        """Hash: the record."""
        return f"{self.prefix}asset:{asset_id}"

    def latest_version(self, asset_id: AssetId) -> str:
        """String: the highest published number."""
        return f"{self.prefix}asset:{asset_id}:latestVersion"

    def versions(self, asset_id: AssetId) -> str:
        """List: published numbers, in order of publication."""
        return f"{self.prefix}asset:{asset_id}:versions"

    def version(self, asset_id: AssetId, number: int) -> str:
        """Hash: one version."""
        return f"{self.prefix}asset:{asset_id}:v:{number}"

    def job(self, job_id: JobId) -> str:
        """Hash: the record."""
        return f"{self.prefix}job:{job_id}"

    # ── beside an asset or a job ──

    def upload(self, asset_id: AssetId) -> str:
        """String, JSON: what was declared about the source file, and the jobs to submit at the confirm."""
        return f"{self.prefix}asset:{asset_id}:upload"

    def provenance(self, asset_id: AssetId) -> str:
        """Hash: version number → JSON."""
        return f"{self.prefix}asset:{asset_id}:provenance"

    def attachments(self, asset_id: AssetId) -> str:
        """Hash: `<n>:<name>` → JSON."""
        return f"{self.prefix}asset:{asset_id}:attachments"

    def movers(self, asset_id: AssetId) -> str:
        """Sorted set: versions that move the head, by number."""
        return f"{self.prefix}asset:{asset_id}:movers"

    def asset_jobs(self, asset_id: AssetId) -> str:
        """Sorted set, all scores 0: the asset's jobs."""
        return f"{self.prefix}asset:{asset_id}:jobs"

    def attempts(self, job_id: JobId) -> str:
        """List, JSON: the last ended attempts, oldest first."""
        return f"{self.prefix}job:{job_id}:attempts"

    # ── lists ──

    def owner_assets(self, owner: Owner, *, deleted: bool = False) -> str:
        """Sorted set, all scores 0: an owner's assets, the tombstones apart."""
        return f"{self.prefix}idx:assets:{owner}" + (":deleted" if deleted else "")

    def owner_jobs(self, owner: Owner, status: str | None = None) -> str:
        """Sorted set, all scores 0: an owner's jobs, or those of one status."""
        return f"{self.prefix}idx:jobs:{owner}" + (f":{status}" if status else "")

    @property
    def job_counts(self) -> str:
        """Hash: status → number of jobs."""
        return f"{self.prefix}idx:jobs"

    # ── things that become due ──

    @property
    def pending_uploads(self) -> str:
        """Sorted set: pending assets by their next look, ms."""
        return f"{self.prefix}uploads:pending"

    @property
    def deleted_assets(self) -> str:
        """Sorted set: tombstones by the time of their purge, ms."""
        return f"{self.prefix}assets:deleted"

    @property
    def gc_due(self) -> str:
        """Sorted set: `<assetId>/v<n>` by when gc may look there, ms."""
        return f"{self.prefix}gc:due"

    @property
    def timers(self) -> str:
        """Sorted set: running jobs by the end of their lease, ms."""
        return f"{self.prefix}jobs:timers"

    @property
    def delayed(self) -> str:
        """Sorted set: waiting jobs whose time has not come, by that time, ms."""
        return f"{self.prefix}jobs:delayed"

    @property
    def delivered(self) -> str:
        """Sorted set: waiting jobs whose time has come, by when their delivery is to be looked after, ms."""
        return f"{self.prefix}jobs:delivered"

    @property
    def expiring(self) -> str:
        """Sorted set: delayed jobs that expire before their time comes, by the expiry, ms."""
        return f"{self.prefix}jobs:expiring"

    @property
    def tick(self) -> str:
        """String: somebody has ticked a moment ago."""
        return f"{self.prefix}jobs:tick"

    @property
    def last_tick(self) -> str:
        """String: when leases were last looked at, ms."""
        return f"{self.prefix}jobs:lastTick"

    @property
    def ready(self) -> str:
        """String: written to see whether writes are taken."""
        return f"{self.prefix}ready"

    @property
    def workers(self) -> str:
        """Hash: worker → JSON of what it last said of itself."""
        return f"{self.prefix}workers"

    # ── outside services ──

    @property
    def services(self) -> str:
        """Set: every service that has worked for a job."""
        return f"{self.prefix}remote:services"

    def remotes(self, service: str) -> str:
        """Sorted set: jobs whose service is to be looked at, by when, ms."""
        return f"{self.prefix}remote:{service}:due"

    def leader(self, account: str) -> str:
        """String: who polls the account."""
        return f"{self.prefix}remote:{account}:leader"

    def call_budget(self, account: str) -> str:
        """String: the theoretical arrival time of the next call, microseconds."""
        return f"{self.prefix}remote:{account}:budget"

    def call_hold(self, account: str) -> str:
        """String: until when nobody calls, microseconds."""
        return f"{self.prefix}remote:{account}:held"

    @property
    def pauses(self) -> str:
        """Hash: account → JSON of why nobody calls it."""
        return f"{self.prefix}remote:pauses"

    def spent(self, account: str, day: str) -> str:
        """Hash: operation token → what it costs."""
        return f"{self.prefix}remote:{account}:spent:{day}"

    # ── slots ──

    def type_slots(self, job_type: str) -> str:
        """Sorted set: running jobs of a type by the end of their lease, ms."""
        return f"{self.prefix}sem:p:{job_type}"

    def owner_slots(self, owner: Owner) -> str:
        """Sorted set: running jobs of an owner by the end of their lease, ms."""
        return f"{self.prefix}sem:o:{owner}"

    def waiting_for_type(self, queue: str, job_type: str) -> str:
        """Sorted set: deliveries that wait for a slot of their type, in their order."""
        return f"{self.prefix}wait:{queue}:p:{job_type}"

    def waiting_for_owner(self, queue: str, owner: Owner) -> str:
        """Sorted set: deliveries that wait for a slot of their owner, in their order."""
        return f"{self.prefix}wait:{queue}:o:{owner}"

    def parked(self, queue: str) -> str:
        """Sorted set: `<type>|<needs>|<delivery>` of jobs that the worker that took them cannot run, in their order."""
        return f"{self.prefix}wait:{queue}:able"

    def urgent(self, queue: str) -> str:
        """String: the last delivery that went before those of no priority."""
        return f"{self.prefix}urgent:{queue}"

    # ── what was there before ──

    def twin(self, owner: Owner, dedupe: str) -> str:
        """String: the live job of these inputs, type and params."""
        return f"{self.prefix}dedupe:{owner}:{dedupe}"

    def finished_twin(self, owner: Owner, dedupe: str) -> str:
        """String: the newest succeeded job of these inputs, type and params."""
        return f"{self.prefix}dedupe:{owner}:{dedupe}:done"

    def reuse(self, owner: Owner, reuse_key: str) -> str:
        """List: `<assetId>:<n>` of versions that are equal, the last published one last."""
        return f"{self.prefix}reuse:{owner}:{reuse_key}"

    def idempotency(self, owner: Owner, kind: str, digest: str) -> str:
        """String: `<id> <body hash>` of what a client's key made; `kind` is `asset` or `job`."""
        return f"{self.prefix}idem:{owner}:{kind}:{digest}"

    # ── channels ──

    @property
    def changes(self) -> str:
        """Channel: the id of an asset or a job that changed."""
        return f"{self.prefix}changed"

    @property
    def stops(self) -> str:
        """Channel: the id of a running job that is to stop."""
        return f"{self.prefix}jobs:stop"
