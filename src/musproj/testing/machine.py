"""Random histories of one installation, replayed on the memory adapter and on the one under test.

The memory adapter is the model: after each step both must show the same jobs, assets and garbage, and the laws
must hold. A failing history is printed by Hypothesis as the shortest program that repeats it.
"""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple, rule

from musproj.adapters.memory import MemoryAssetStore, MemoryJobQueue, MemoryJobStore, MemoryState
from musproj.adapters.memory.accounts import MemoryAccounts
from musproj.domain.asset import Asset
from musproj.domain.ids import DEFAULT_OWNER, AssetId, JobId, new_token
from musproj.domain.job import FailureKind, Job, JobStatus
from musproj.domain.ledger import (
    AssetDeleted,
    Committed,
    Failure,
    Granted,
    Moved,
    Noted,
    Reserved,
    Rules,
    Stale,
    Worker,
)
from musproj.domain.remote import RemoteFault, RemoteOp, RemotePhase
from musproj.errors import MusProjError
from musproj.ports.assets import GcEntry, Idempotency
from musproj.ports.jobs import Beat, Created, Existing, JobFilter, Publication
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger
from musproj.testing.records import (
    SOMEBODY_ELSE,
    live_worker,
    made_attachment,
    made_version,
    new_asset,
    new_job,
    new_op,
    new_worker,
    source_version,
)

T = TypeVar("T")

SERVICES = ("auphonic", "lalal")
PHASES = (
    RemotePhase.DRAFT, RemotePhase.STAGED, RemotePhase.SUBMITTED, RemotePhase.SUBMITTED, RemotePhase.FINISHED,
    RemotePhase.FAILED, RemotePhase.LOST,
)  # fmt: skip
TYPES = ("enhance", "separate", "analyze")
ABLE = new_worker("host:1:able", TYPES, abilities=["codecs"])
WORKERS = (ABLE, ABLE, new_worker("host:2:plain", TYPES), new_worker("host:3:single", ["separate"]))
STEPS = (0.001, 1.0, 5.0, 10.0, 20.0, 30.0, 31.0, 61.0, 900.0, 3600.0)
"""Seconds: within a lease, at its end, beyond it, beyond each backoff."""
WORK_OFF_ROUNDS = 12
_ALL = JobFilter()
_NOTHING: MultipleResults[Any] = multiple()
"""What a rule adds to its bundle that came to nothing."""

_SHOWN = (
    "job_id", "type", "owner", "inputs", "params", "status", "progress", "stage", "attempts", "failures", "crashes",
    "lost", "interrupts", "timeouts", "run_at", "expires_at", "reserved_version", "created_version", "result",
    "error", "created_at", "started_at", "finished_at", "cancel_requested_at", "history",
    "remote", "remote_due",
)  # fmt: skip
"""What both must show of a job. Tokens of a claim are random, and `no_processor` may be noted at different times."""


def open_model(clock: FakeClock, rules: Rules) -> Ledger:
    """Open the model."""
    state = MemoryState()
    return Ledger(
        clock=clock,
        rules=rules,
        assets=MemoryAssetStore(state, clock),
        jobs=MemoryJobStore(state, clock, rules),
        queue=MemoryJobQueue(state, clock, rules),
        accounts=MemoryAccounts(state, clock),
    )


@attrs.frozen
class Run:
    """A run that was granted once, live or not: its token on either side."""

    job_id: JobId
    tokens: tuple[str, str]


class LedgerMachine(RuleBasedStateMachine):
    """Override `open_subject`; then `TestIt = ItsMachine.TestCase` is the test."""

    assets: Bundle[Asset] = Bundle("assets")
    jobs: Bundle[JobId] = Bundle("jobs")
    runs: Bundle[Run] = Bundle("runs")

    def open_subject(self, clock: FakeClock, rules: Rules) -> Ledger:
        """Open the installation under test, new and empty."""
        raise NotImplementedError("override open_subject(clock, rules) -> Ledger")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        rules = Rules()
        self.sides = (open_model(self.clock, rules), self.open_subject(self.clock, rules))
        self.calls = 0
        self.holders: dict[tuple[AssetId, int], JobId] = {}
        """Each number ever reserved, and its one job."""
        self.tokens: dict[JobId, tuple[str, str]] = {}
        """The last token granted, on either side."""
        self.ended: dict[JobId, dict[str, object]] = {}
        self.attempts: dict[JobId, int] = {}
        self.latest: dict[AssetId, int] = {}

    # ── the same on both sides ──

    def both(self, call: Callable[[Ledger, int], T]) -> T | type[MusProjError]:
        """Call on both sides with the same jitter; both must answer the same; return the subject's answer."""
        self.calls += 1
        answers: list[T | type[MusProjError]] = []
        for number, side in enumerate(self.sides):
            random.seed(self.calls)
            answers.append(_outcome(call, side, number))
        assert shown(answers[0]) == shown(answers[1])
        return answers[1]

    def of_run(self, run: Run, call: Callable[[Ledger, str], T]) -> T | type[MusProjError]:
        """Call for a run; what is stale must change nothing."""
        before = self.picture()
        answer = self.both(lambda side, number: call(side, run.tokens[number]))
        if isinstance(answer, Stale | AssetDeleted | Moved):
            assert self.picture() == before
        return answer

    def picture(self) -> list[object]:
        """Return everything that the subject shows."""
        subject = self.sides[1]
        return [
            [shown(job) for job in self.known_jobs()],
            [shown(asset) for asset in subject.all_assets()],
        ]

    def known_jobs(self, side: int = 1) -> Sequence[Job]:
        """Return all jobs of one side, newest first."""
        ledger = self.sides[side]
        pages = [ledger.jobs.list(owner, _ALL, limit=1000) for owner in (DEFAULT_OWNER, SOMEBODY_ELSE)]
        return [job for page in pages for job in page.items]

    # ── assets ──

    @initialize(target=assets)
    def start_with_two_assets(self) -> Any:
        """Nothing can be submitted without one."""
        self.both(lambda side, _: side.jobs.announce(live_worker(ABLE, side.now)))
        return multiple(*(self.upload(DEFAULT_OWNER, is_confirmed=True) for _ in range(2)))

    @rule(target=assets, owner=st.sampled_from([DEFAULT_OWNER, SOMEBODY_ELSE]), is_confirmed=st.booleans())
    def upload(self, owner: Any, *, is_confirmed: bool) -> Asset:
        """Request an upload, and perhaps confirm it."""
        asset = new_asset(self.clock.advance(0.001), owner=owner)
        self.both(lambda side, _: side.assets.create(asset))
        if is_confirmed:
            version = source_version(asset, self.clock.now())
            self.both(lambda side, _: side.assets.confirm(owner, asset.asset_id, version, []))
        return asset

    @rule(target=jobs, asset=assets, job_type=st.sampled_from(TYPES))
    def confirm(self, asset: Asset, job_type: str) -> Any:
        """Confirm an upload, for the first time or again, with a job to follow."""
        job = new_job(asset, self.clock.advance(0.001), job_type)
        version = source_version(asset, self.clock.now())
        answer = self.both(lambda side, _: side.assets.confirm(asset.owner, asset.asset_id, version, [job]))
        return job.job_id if isinstance(answer, tuple) and answer[1] else _NOTHING

    @rule(asset=assets, how=st.sampled_from(["promote", "unpin", "rename", "delete", "undelete", "purge"]))
    def change_asset(self, asset: Asset, how: str) -> None:
        """Head, name, tombstone."""
        owner, asset_id, now = asset.owner, asset.asset_id, self.clock.advance(0.001)
        changes: dict[str, Callable[[Ledger, int], object]] = {
            "promote": lambda side, _: side.assets.set_head(owner, asset_id, 2),
            "unpin": lambda side, _: side.assets.set_head(owner, asset_id, None),
            "rename": lambda side, _: side.assets.rename(owner, asset_id, "renamed"),
            "delete": lambda side, _: side.assets.delete(owner, asset_id, now=now),
            "undelete": lambda side, _: side.assets.undelete(owner, asset_id),
            "purge": lambda side, _: side.assets.purge(asset_id),
        }
        self.both(changes[how])

    @rule(limit=st.integers(1, 3))
    def collect(self, limit: int) -> None:
        """Work some of the garbage off."""
        now = self.clock.now() + timedelta(days=1)
        for entry in self.sides[0].assets.gc_due(now, limit=limit):
            self.both(partial(_done_with, entry))

    # ── submit, begin, claim ──

    @rule(
        target=jobs,
        asset=assets,
        other=st.none() | st.none() | assets,
        job_type=st.sampled_from(TYPES),
        changes=st.fixed_dictionaries(
            {},
            optional={
                "force": st.just(True),  # noqa: FBT003 - a keyword of the job
                "delay": st.sampled_from([timedelta(seconds=20), timedelta(hours=1)]),
                "priority": st.integers(-1, 1),
                "needs": st.just(("codecs",)),
                "max_attempts": st.integers(1, 2),
                "params": st.just({"strength": 1}),
            },
        ),
        life=st.sampled_from([timedelta(days=7), timedelta(days=7), timedelta(minutes=1)]),
        key=st.none() | st.none() | st.builds(Idempotency, key=st.sampled_from("ab"), body_hash=st.sampled_from("xy")),
        paid=st.booleans(),
    )
    def submit(
        self,
        asset: Asset,
        other: Asset | None,
        job_type: str,
        changes: dict[str, Any],
        life: timedelta,
        key: Idempotency | None,
        *,
        paid: bool,
    ) -> Any:
        """Submit a job on one or two inputs."""
        now = self.clock.advance(0.001)
        job = new_job(asset, now, job_type, expires_at=now + life, **changes)
        if other is not None:
            second = attrs.evolve(job.inputs[0], port="second", asset_id=other.asset_id)
            job = attrs.evolve(job, inputs=(*job.inputs, second))
        answer = self.both(lambda side, _: side.jobs.submit(job, key, paid=paid))
        return answer.job.job_id if isinstance(answer, Created | Existing) else _NOTHING

    @rule(target=runs, asset=assets, job_type=st.sampled_from(TYPES))
    def start(self, asset: Asset, job_type: str) -> Any:
        """Submit a job and begin it."""
        job = new_job(asset, self.clock.advance(0.001), job_type, force=True)
        answer = self.both(lambda side, _: side.jobs.submit(job))
        return self.begin(job.job_id, ABLE) if isinstance(answer, Created) else _NOTHING

    @rule(target=runs, job_id=jobs, worker=st.sampled_from(WORKERS))
    def begin(self, job_id: JobId, worker: Worker) -> Any:
        """Deliver a job: for the first time, again, late."""
        token = new_token()
        answer = self.both(lambda side, _: side.jobs.begin(job_id, worker, token))
        return self.started(job_id, (token, token)) if isinstance(answer, Granted) else _NOTHING

    @rule(target=runs, worker=st.sampled_from(WORKERS))
    def claim(self, worker: Worker) -> Any:
        """Ask for the next job, after a look at the timers."""
        self.tick()
        return self.claimed(worker) or _NOTHING

    def claimed(self, worker: Worker) -> Run | None:
        """Claim on both sides."""
        tokens = ["", ""]

        def call(side: Ledger, number: int) -> Granted | None:
            granted = side.queue.claim(worker)
            tokens[number] = granted.token if granted else ""
            return granted

        answer = self.both(call)
        return self.started(answer.job.job_id, (tokens[0], tokens[1])) if isinstance(answer, Granted) else None

    def started(self, job_id: JobId, tokens: tuple[str, str]) -> Run:
        """Remember a run."""
        self.tokens[job_id] = tokens
        return Run(job_id, tokens)

    # ── a run ──

    @rule(run=runs, progress=st.none() | st.integers(0, 100), stage=st.none() | st.sampled_from(["decode", "encode"]))
    def beat(self, run: Run, progress: int | None, stage: str | None) -> None:
        """Give a sign of life, of a live run or a dead one."""

        def call(side: Ledger, token: str) -> object:
            return side.jobs.beat([Beat(job_id=run.job_id, token=token, progress=progress, stage=stage)])[0]

        self.of_run(run, call)

    @rule(run=runs, above=st.sampled_from([0, 0, 0, 2, 3, 5]))
    def reserve(self, run: Run, above: int) -> None:
        """Ask for the number; nobody else may ever have had it."""
        answer = self.of_run(run, lambda side, token: side.jobs.reserve(run.job_id, token, above=above))
        if isinstance(answer, Reserved):
            place = (self.subject_job(run.job_id).asset_id, answer.number)
            assert self.holders.setdefault(place, run.job_id) == run.job_id
            assert answer.number > max(above, 1)

    @rule(run=runs, moves_head=st.booleans())
    def finish(self, run: Run, *, moves_head: bool) -> None:
        """Reserve and publish."""
        self.reserve(run, 0)
        self.commit(run, moves_head=moves_head, files=1)

    @rule(run=runs, moves_head=st.booleans(), files=st.integers(1, 2))
    def commit(self, run: Run, *, moves_head: bool, files: int) -> None:
        """Publish a version under the reserved number, once or again."""
        job = self.subject_job(run.job_id)
        number = job.reserved_version or 2
        version = made_version(_asset_of(job), job, number, self.clock.now(), names=("a", "b")[:files])
        self.committed(run, Publication(version=version, moves_head=moves_head, result={"n": number}))

    @rule(run=runs, name=st.sampled_from(["peaks", "cover"]))
    def commit_attachment(self, run: Run, name: str) -> None:
        """Publish an attachment."""
        job = self.subject_job(run.job_id)
        self.committed(run, Publication(attachments=(made_attachment(_asset_of(job), job, self.clock.now(), name),)))

    @rule(
        run=runs,
        kind=st.sampled_from([kind for kind in FailureKind if kind is not FailureKind.LOST]),
        retry_after=st.none() | st.sampled_from([timedelta(seconds=1), timedelta(hours=5)]),
    )
    def release(self, run: Run, kind: FailureKind, retry_after: timedelta | None) -> None:
        """Fail, crash, drain, wait."""
        failure = Failure(kind=kind, code="code", message="Text.", retry_after=retry_after)
        self.of_run(run, lambda side, token: side.jobs.release(run.job_id, token, failure))

    # ── at a service ──

    @rule(run=runs, phase=st.sampled_from(PHASES), skips=st.sampled_from([0, 0, 0, 1]))
    def note(self, run: Run, phase: RemotePhase, skips: int) -> None:
        """Record what a service is asked for, on top of the last state or of another."""
        op = self.next_op(self.subject_job(run.job_id), phase, skips)
        self.of_run(run, lambda side, token: side.jobs.note(run.job_id, token, op))

    @rule(
        run=runs,
        phase=st.sampled_from(PHASES),
        skips=st.sampled_from([0, 0, 0, 1]),
        seconds=st.sampled_from([0, 60, 3600]),
    )
    def park(self, run: Run, phase: RemotePhase, skips: int, seconds: int) -> None:
        """Let a job wait for its service."""
        op, until = self.next_op(self.subject_job(run.job_id), phase, skips), self.clock.now()
        until += timedelta(seconds=seconds)
        self.of_run(run, lambda side, token: side.jobs.park(run.job_id, token, op, until=until, stage="at a service"))

    @rule(
        which=st.integers(0, 9),
        phase=st.sampled_from(PHASES),
        skips=st.sampled_from([0, 0, 0, 1]),
        percent=st.none() | st.integers(0, 100),
    )
    def hear(self, which: int, phase: RemotePhase, skips: int, percent: int | None) -> None:
        """Hear of a job that is at a service; of one that has ended, whether it was cleaned up there."""
        known = [job for job in self.known_jobs() if job.remote is not None]
        if not known:
            return
        job = known[which % len(known)]
        op = self.next_op(job, phase, skips)
        before = self.picture()
        answer = self.both(lambda side, _: side.jobs.hear(job.job_id, op, percent=percent))
        assert isinstance(answer, Noted | Stale)
        assert isinstance(answer, Noted) or self.picture() == before

    def next_op(self, job: Job, phase: RemotePhase, skips: int) -> RemoteOp:
        """Return a state that may follow the recorded one, or, where it `skips`, that another followed."""
        now = self.clock.now()
        if job.remote is None:
            op = new_op(job, service=SERVICES[job.type == "separate"], phase=phase, next_poll=now)
        elif not job.is_terminal:
            op = job.remote.enter(phase, remote_id="r1", next_poll=now + timedelta(seconds=30))
        elif phase is RemotePhase.FAILED:
            op = job.remote.not_cleaned(RemoteFault(code="remote_unavailable", message="Text."), now)
        else:
            op = job.remote.cleaned()
        return attrs.evolve(op, rev=op.rev + skips)

    # ── stop, go on ──

    @rule(job_id=jobs, owner=st.sampled_from([DEFAULT_OWNER, DEFAULT_OWNER, SOMEBODY_ELSE]))
    def cancel(self, job_id: JobId, owner: Any) -> None:
        """Ask a job to stop, one's own or another's."""
        self.both(lambda side, _: side.jobs.cancel(owner, job_id))

    @rule(
        which=st.integers(0, 9),
        step=st.sampled_from(
            ["beat", "reserve", "finish", "head", "crash", "drain", "fail", "note", "buy", "park", "cancel"]
        ),
    )
    def carry_on(self, which: int, step: str) -> None:
        """Go on with a run that is alive: one that is drawn from all seldom is."""
        running = [job for job in self.known_jobs() if job.status is JobStatus.RUNNING]
        if not running:
            return
        job = running[which % len(running)]
        run = Run(job.job_id, self.tokens[job.job_id])
        steps: dict[str, Callable[[], None]] = {
            "beat": lambda: self.beat(run, 10 * which, None),
            "reserve": lambda: self.reserve(run, 0),
            "finish": lambda: self.finish(run, moves_head=False),
            "head": lambda: self.finish(run, moves_head=True),
            "crash": lambda: self.release(run, FailureKind.CRASH, None),
            "drain": lambda: self.release(run, FailureKind.INTERRUPTED, None),
            "fail": lambda: self.release(run, FailureKind.PERMANENT, None),
            "note": lambda: self.note(run, PHASES[which % len(PHASES)], 0),
            "buy": lambda: self.note(run, RemotePhase.SUBMITTED, 0),
            "park": lambda: self.park(run, RemotePhase.SUBMITTED, 0, 3600),
            "cancel": lambda: self.cancel(run.job_id, job.owner),
        }
        steps[step]()

    def committed(self, run: Run, publication: Publication) -> None:
        """Commit on both sides."""
        answer = self.of_run(run, lambda side, token: side.jobs.commit(run.job_id, token, publication))
        if isinstance(answer, Committed) and not answer.again and publication.version is not None:
            assert self.holders[answer.job.asset_id, publication.version.number] == run.job_id

    # ── time ──

    @rule(seconds=st.sampled_from(STEPS), ticks=st.booleans())
    def let_time_pass(self, seconds: float, *, ticks: bool) -> None:
        """With nobody there, or with a tick at its end."""
        self.clock.advance(seconds)
        if ticks:
            self.tick()

    @rule()
    def lose_the_workers(self) -> None:
        """Let the leases end while the installation ticks."""
        for _ in range(4):
            self.tick()
            self.clock.advance(10)
        self.tick()

    @rule(seconds=st.sampled_from([20, 3600]))
    def clock_jumps_back(self, seconds: int) -> None:
        """As another host's clock may."""
        self.clock.set(self.clock.now() - timedelta(seconds=seconds))

    def tick(self) -> None:
        """Look at the timers; a millisecond later nothing of it is at the same moment as what follows."""
        self.both(lambda side, _: side.jobs.tick())
        self.clock.advance(0.001)

    @rule(worker=st.sampled_from(WORKERS), lives=st.booleans())
    def worker_comes_or_goes(self, worker: Worker, *, lives: bool) -> None:
        """Announce or withdraw."""
        seen = live_worker(worker, self.clock.now())
        self.both(lambda side, _: side.jobs.announce(seen) if lives else side.jobs.withdraw(worker.worker_id))

    @rule()
    def work_everything_off(self) -> None:
        """A worker that is able to run everything brings every job to its end: none was lost."""
        for _ in range(WORK_OFF_ROUNDS):
            self.lose_the_workers()
            while run := self.claimed(ABLE):
                self.committed(run, Publication(result={"done": True}))
            if all(job.is_terminal for job in self.known_jobs()):
                return
            self.clock.advance(3600)
            self.tick()
        raise AssertionError([job for job in self.known_jobs() if not job.is_terminal])

    # ── laws ──

    @invariant()
    def both_show_the_same(self) -> None:
        """Jobs, assets, versions, garbage, counts, and what is due at services."""
        model, subject = self.sides
        assert [shown(job) for job in self.known_jobs(0)] == [shown(job) for job in self.known_jobs(1)]
        assets = [[shown(asset) for asset in side.all_assets()] for side in self.sides]
        assert assets[0] == assets[1]
        assert model.garbage() == subject.garbage()
        assert dict(model.jobs.counts()) == dict(subject.jobs.counts())
        for service in (None, *SERVICES):
            due = [[job.job_id for job in side.jobs.remotes(limit=3, service=service)] for side in self.sides]
            assert due[0] == due[1]

    @invariant()
    def a_job_ends_once(self) -> None:
        """L1: what has ended is never changed, but for its cleaning up; attempts never fall; only the last token lives."""
        for job in self.known_jobs():
            assert job.attempts >= self.attempts.get(job.job_id, 0)
            self.attempts[job.job_id] = job.attempts
            if job.is_terminal:
                end = {name: value for name, value in shown(job).items() if not name.startswith("remote")}
                assert self.ended.setdefault(job.job_id, end) == end
            if job.lease_until is not None:
                assert job.token == self.tokens[job.job_id][1]

    @invariant()
    def a_version_has_one_job(self) -> None:
        """L2 and L5: one version per job under its own number; latest never falls; the head is published."""
        subject = self.sides[1]
        makers = {(job.asset_id, job.created_version): job for job in self.known_jobs() if job.created_version}
        for asset in subject.all_assets():
            numbers = subject.numbers(asset)
            made = [number for number in numbers if number > 1]
            assert all(self.holders[asset.asset_id, number] == self.maker(asset, number) for number in made)
            assert all((asset.asset_id, number) in makers for number in made)
            assert asset.latest_version == max(numbers, default=None)
            assert asset.version_count == len(numbers)
            assert asset.head is None or asset.head in numbers
            latest = asset.latest_version or 0
            assert latest >= self.latest.get(asset.asset_id, 0)
            self.latest[asset.asset_id] = latest

    def maker(self, asset: Asset, number: int) -> JobId | None:
        """Return the job that the version's provenance names."""
        provenance = self.sides[1].assets.version(asset.owner, asset.asset_id, number).provenance
        return provenance.job_id if provenance else None

    def subject_job(self, job_id: JobId) -> Job:
        """Read a job of the subject."""
        return self.sides[1].job(job_id)


def shown(value: Any) -> Any:
    """Return what of a record or an answer both sides must show alike."""
    if isinstance(value, Job):
        return {name: getattr(value, name) for name in _SHOWN}
    if isinstance(value, Asset):
        return attrs.evolve(value, revision=0)
    if isinstance(value, tuple):
        parts: tuple[Any, ...] = value  # pyright: ignore[reportUnknownVariableType] -- of anything
        return [shown(part) for part in parts]
    if isinstance(value, type):
        return value
    if hasattr(value, "job"):
        facts = {name: getattr(value, name) for name in ("again", "replayed") if hasattr(value, name)}
        return (type(value), shown(value.job), facts)
    return value


def _outcome(call: Callable[[Ledger, int], T], side: Ledger, number: int) -> T | type[MusProjError]:
    """Return the answer, or the type of our error: the text may differ."""
    try:
        return call(side, number)
    except MusProjError as exc:
        return type(exc)


def _done_with(entry: GcEntry, side: Ledger, _: int) -> None:
    side.assets.gc_done(entry)


def _asset_of(job: Job) -> Asset:
    """Return an asset with the job's asset id: enough to make a publication of."""
    return new_asset(job.created_at, owner=job.owner, asset_id=job.asset_id)
