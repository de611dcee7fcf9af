"""A new job: what must hold for it, its record, the lists that show it, and its first delivery."""

from collections.abc import Callable
from functools import partial

import attrs

from musproj.adapters.redis.backend import RedisBackend, Step
from musproj.adapters.redis.client_keys import ClientKey
from musproj.adapters.redis.deliveries import add_delay, add_delivery
from musproj.adapters.redis.job_changes import add_remote_due
from musproj.adapters.redis.job_reads import find_jobs
from musproj.adapters.redis.job_records import to_fields
from musproj.adapters.redis.plan import Plan, Refused
from musproj.domain.asset import AssetStatus
from musproj.domain.ids import JobId
from musproj.domain.job import Job, JobInput
from musproj.domain.times import from_millis
from musproj.errors import AssetNotFoundError, AssetNotReadyError, VersionNotFoundError
from musproj.ports.assets import Idempotency
from musproj.ports.jobs import Created, Existing, SubmitAnswer

Refusals = dict[object, Callable[[Refused], SubmitAnswer]]
"""What to answer, by the check that failed."""


def add_submission(plan: Plan, backend: RedisBackend, job: Job) -> None:
    """Record the job and deliver it, now or when its time comes; that it is new was checked before."""
    keys = backend.keys
    # Both times are of whoever submits: the server's clock has no say in whether the job was meant to wait.
    is_due = job.run_at <= job.updated_at
    own = {"rev": "1", "delivery": "1"} if is_due else {"rev": "1", "delayed": "1"}
    fields = {**to_fields(job), **own}
    plan.write("HSET", keys.job(job.job_id), *(part for field in fields.items() for part in field))
    for index in (keys.owner_jobs(job.owner), keys.owner_jobs(job.owner, job.status), keys.asset_jobs(job.asset_id)):
        plan.write("ZADD", index, 0, job.job_id)
    dedupe = job.dedupe_key
    if dedupe is not None:
        plan.write("SET", keys.twin(job.owner, dedupe), job.job_id)
    if is_due:
        add_delivery(plan, backend, job, 1)
    else:
        add_delay(plan, backend, job)
    if job.remote_due is not None:
        add_remote_due(plan, backend, job)
    plan.write("PUBLISH", keys.changes, job.job_id)


@attrs.define(kw_only=True, eq=False)
class Submission:
    """One request to submit a job: a single call, unless something is in its way."""

    backend: RedisBackend
    job: Job
    idempotency: Idempotency | None = None
    paid: bool = False
    _dead: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    """String keys that name a job that is gone, and what they hold: they are in nobody's way."""

    def submit(self) -> SubmitAnswer:
        """Check and write; look closer where a check fails."""
        return self.backend.change(self._decide, is_acknowledged=True)

    def _decide(self) -> Step[SubmitAnswer]:
        """Look for the key, then at the inputs, then for a twin."""
        plan, job, keys = Plan(), self.job, self.backend.keys
        refused: Refusals = {}
        if self._client_key is not None:
            self._require_free(plan, refused, self._client_key.key, self._replay)
            self._client_key.remember(plan, job.job_id)
        for number, taken in enumerate(job.inputs):
            self._require_input(plan, refused, number, taken)
        plan.require_presence(keys.job(job.job_id), present=False, name="same")
        refused["same"] = lambda _: self._there(job.job_id) or self._again("", "")
        if job.dedupe_key is not None:
            self._require_free(plan, refused, keys.twin(job.owner, job.dedupe_key), self._twin)
            if self.paid:
                self._require_free(plan, refused, keys.finished_twin(job.owner, job.dedupe_key), self._finished)
        add_submission(plan, self.backend, job)
        return Step(plan=plan, answer=lambda _: Created(job), refused=refused)

    # ── checks ──

    def _require_free(
        self,
        plan: Plan,
        refused: Refusals,
        key: str,
        taken: Callable[[str, Refused], SubmitAnswer],
    ) -> None:
        plan.require(key, "", self._dead.get(key), name=key)
        refused[key] = partial(taken, key)

    def _require_input(self, plan: Plan, refused: Refusals, number: int, taken: JobInput) -> None:
        key = self.backend.keys.asset(taken.asset_id)
        plan.require(key, "owner", self.job.owner, name=("owner", number))
        plan.require(key, "status", AssetStatus.READY, name=("status", number))
        version = self.backend.keys.version(taken.asset_id, taken.version)
        plan.require_presence(version, present=True, name=("version", number))
        refused["owner", number] = partial(_refuse_unknown, taken)
        refused["status", number] = partial(_refuse_unready, taken)
        refused["version", number] = partial(_refuse_unpublished, taken)

    # ── what was found instead ──

    def _replay(self, key: str, refused: Refused) -> SubmitAnswer:
        assert self._client_key is not None
        made = self._client_key.made_by(refused.found, from_millis(refused.now))
        (stored,) = find_jobs(self.backend, [JobId(made)]) if made else [None]
        if stored is None:
            return self._again(key, refused.found.decode())
        # Under our own id it is the effect of a call whose reply was lost.
        return Existing(stored.job, replayed=stored.job.job_id != self.job.job_id)

    def _twin(self, key: str, refused: Refused) -> SubmitAnswer:
        found = refused.found.decode()
        return self._there(JobId(found), is_alive=True) or self._again(key, found)

    def _finished(self, key: str, refused: Refused) -> SubmitAnswer:
        found = refused.found.decode()
        return self._there(JobId(found)) or self._again(key, found)

    def _there(self, job_id: JobId, *, is_alive: bool = False) -> SubmitAnswer | None:
        """Answer with the job that is there, and let the client's key remember it; None where it is gone."""
        (stored,) = find_jobs(self.backend, [job_id])
        if stored is None or (is_alive and stored.job.is_terminal):
            return None
        answer = Existing(stored.job, replayed=False)
        if self._client_key is None:
            return answer
        plan = Plan()
        refused: Refusals = {}
        self._require_free(plan, refused, self._client_key.key, self._replay)
        self._client_key.remember(plan, job_id)
        return self.backend.change(lambda: Step(plan=plan, answer=lambda _: answer, refused=refused))

    def _again(self, key: str, found: str) -> SubmitAnswer:
        """Submit once more, whether what was in the way is dead or gone meanwhile."""
        if found:
            self._dead[key] = found
        else:
            self._dead.pop(key, None)
        return self.submit()

    @property
    def _client_key(self) -> ClientKey | None:
        if self.idempotency is None:
            return None
        return ClientKey(self.backend, self.job.owner, "job", self.idempotency)


def _refuse_unknown(taken: JobInput, _: Refused) -> SubmitAnswer:
    raise AssetNotFoundError(f"There is no asset {taken.asset_id}.", asset_id=taken.asset_id)


def _refuse_unready(taken: JobInput, refused: Refused) -> SubmitAnswer:
    status = refused.found.decode("utf-8", "replace")
    hint = "Confirm the upload first." if status == AssetStatus.PENDING else None
    raise AssetNotReadyError(f"Asset {taken.asset_id} is {status}.", hint=hint, asset_id=taken.asset_id)


def _refuse_unpublished(taken: JobInput, _: Refused) -> SubmitAnswer:
    raise VersionNotFoundError(
        f"Asset {taken.asset_id} has no version {taken.version}.", asset_id=taken.asset_id, version=taken.version
    )
