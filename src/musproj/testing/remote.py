"""Drive jobs at outside services to their end in this process, and let them crash wherever they call or save.

A checkpoint lies before and after every call of a service and every save of a record or object. `Crash` is raised
at one of them, as SIGKILL would come there; what goes on after it is another worker and another poller, which know
only what is written down.

    with FakeServices(clock=clock_of(clock)) as fakes, open_with(fakes, clock, folder) as mp:
        harness = RemoteHarness(mp=mp, fakes=fakes, clock=clock, folder=folder)
        job = harness.drive(harness.submit("lalal"), crashes=[12])
        harness.check(job)
"""

import copy
import hashlib
import shutil
import sqlite3
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import attrs

from musproj.adapters.memory.state import MemoryState
from musproj.application.execution import Execution, Phase, Pulse, RunEnd, classify
from musproj.application.jobs import InputRef, JobSpec
from musproj.application.outside import Services
from musproj.application.remote_poll import Poller
from musproj.composition import MusProj
from musproj.domain.ids import DEFAULT_OWNER, AssetId, JobId
from musproj.domain.job import Job, JobStatus
from musproj.domain.ledger import Busy, Granted, NotDue, Rules, Worker
from musproj.domain.version import Version
from musproj.errors import JobCancelledError, VersionNotFoundError
from musproj.ports.processor import Processor
from musproj.ports.remote import RemoteService
from musproj.settings import Settings
from musproj.testing.clock import FakeClock
from musproj.testing.fakes import FakeServices, Tone, media_of
from musproj.testing.trouble import PROCESSORS, write_tone
from musproj.testing.workers import probing_here
from musproj.worker.launch import execution_of
from musproj.worker.poller import poller_of

CALLS = ("create", "upload", "submit", "find", "poll", "outputs", "fetch", "cancel", "cleanup")
"""Of a `RemoteService`, those that leave this process."""
SAVES = ("note", "park", "hear", "reserve", "commit", "release")
"""Of a `JobStore`."""
INPUT_S = 1.0
MOST_STEPS = 400
"""Of one job; an endless loop ends here."""
STEP_S = 1.0
"""How far the clock goes where nothing else tells."""
RULES = Rules(lease=timedelta(seconds=30), backoff_base=timedelta(milliseconds=10))


class Crash(BaseException):
    """The process dies here."""


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────


def _deque(plan: Iterable[int]) -> deque[int]:
    return deque(plan)


@attrs.define(eq=False)
class Checkpoints:
    """Counts them since the last crash, and crashes at the next of `plan`."""

    plan: deque[int] = attrs.field(factory=deque[int], converter=_deque)
    meanwhile: Mapping[int, Callable[[], object]] = attrs.field(factory=dict[int, Callable[[], object]])
    """What somebody else does while the process is at a checkpoint, by its number since the beginning."""
    names: list[str] = attrs.field(factory=list[str])
    """Of all that were reached."""
    crashed: list[str] = attrs.field(factory=list[str])
    """Of those where it crashed."""
    before_save: Callable[[], None] = lambda: None
    _count: int = 0

    def reach(self, name: str) -> None:
        """Go past a checkpoint, or raise `Crash`."""
        self.names.append(name)
        if len(self.names) in self.meanwhile:
            self.meanwhile[len(self.names)]()
        self._count += 1
        if self.plan and self._count == self.plan[0]:
            self.plan.popleft()
            self._count = 0
            self.crashed.append(name)
            raise Crash(name)


class Watched:
    """Stands before a port, with checkpoints around `methods`."""

    def __init__(self, port: object, name: str, methods: Iterable[str], points: Checkpoints) -> None:
        """Pass everything on to `port`."""
        self._port, self._name, self._methods, self._points = port, name, frozenset(methods), points

    def __getattr__(self, method: str) -> Any:
        """Return the method, with its checkpoints."""
        found = getattr(self._port, method)
        if method not in self._methods:
            return found
        label = f"{self._name}.{method}"

        def call(*args: Any, **options: Any) -> Any:
            self._points.reach(f"{label}:before")
            if self._name == "jobs":
                self._points.before_save()
            answer = found(*args, **options)
            if isinstance(answer, Iterator):  # a generator calls only when it is read
                answer = list(cast("Iterator[object]", answer))
            self._points.reach(f"{label}:after")
            return answer

        return call


@attrs.frozen
class WatchedServices(Services):
    """All services, watched."""

    services: Services
    points: Checkpoints

    def names(self) -> frozenset[str]:
        """Return the services that have a key."""
        return self.services.names()

    def open(self, name: str) -> RemoteService:
        """Return the service, watched."""
        return cast("RemoteService", Watched(self.services.open(name), name, CALLS, self.points))


@attrs.frozen
class _Pulse(Pulse):
    """Stops a run whose job is to be cancelled; each report is a checkpoint too, where asked."""

    is_cancelled: Callable[[], bool]
    points: Checkpoints | None

    def enter(self, phase: Phase) -> None:
        if self.points is not None:
            self.points.reach(f"run.{phase.name.lower()}")

    def report(self, percent: int, stage: str | None) -> None:
        if self.points is not None:
            self.points.reach(f"run.{stage or percent}")

    def check(self) -> None:
        if self.is_cancelled():
            raise JobCancelledError


# ── the harness ──────────────────────────────────────────────────────────────────────────────────


@attrs.define(kw_only=True, eq=False)
class RemoteHarness:
    """One installation, whose workers and poller live in this process, one at a time."""

    mp: MusProj
    fakes: FakeServices
    clock: FakeClock
    folder: Path
    """For work folders, and the input."""
    is_fine: bool = False
    """Whether what a local step reports is a checkpoint too."""
    is_one_poller: bool = False
    """Whether the poller keeps its name over crashes: Redis lets a leader's place expire by its own clock."""
    points: Checkpoints = attrs.field(factory=Checkpoints)
    _asset_id: AssetId | None = None
    _worker: Worker | None = None
    _lives: int = 0
    _snapshots: list[Callable[[], None]] = attrs.field(factory=list[Callable[[], None]])

    # ── jobs ──

    @property
    def asset_id(self) -> AssetId:
        """The input that all jobs share."""
        if self._asset_id is None:
            self._asset_id = self.mp.uploads.put_file(DEFAULT_OWNER, self.input).asset_id
        return self._asset_id

    @property
    def input(self) -> Path:
        """A short tone."""
        path = self.folder / "input.wav"
        return path if path.exists() else write_tone(path, seconds=INPUT_S)

    def submit(self, job_type: str, *, force: bool = True, **params: object) -> Job:
        """Submit a job of its own root, on version 1."""
        self.clock.advance(0.001)  # the ids of one millisecond have no order
        inputs = {"input": InputRef(asset_id=self.asset_id, version=1)}
        spec = JobSpec(type=job_type, inputs=inputs, params=params, force=force)
        return self.mp.jobs.submit(DEFAULT_OWNER, spec).job

    def now(self, job: Job) -> Job:
        """Return the job as it is now."""
        return self.mp.jobs.get(DEFAULT_OWNER, job.job_id)

    # ── driving ──

    def drive(
        self,
        job: Job,
        *,
        crashes: Sequence[int] = (),
        lose: int = 0,
        meanwhile: Mapping[int, Callable[[], object]] | None = None,
        until: Callable[[Job], object] | None = None,
    ) -> Job:
        """Work until the job has ended and nothing of it is left at the service, or until `until` holds.

        Args:
            job: The job.
            crashes: The checkpoint of each crash, counted from 1 since the one before.
            lose: How many of the last saves are lost with a crash, as by a failover of the store.
            meanwhile: What else happens at a checkpoint, by its number.
            until: Looked at between two steps.
        """
        self.points = points = Checkpoints(crashes, meanwhile or {})
        self._snapshots.clear()
        if lose:
            points.before_save = lambda: self._snapshots.append(self._snapshot())
        for _ in range(MOST_STEPS):
            now = self.now(job)
            if (until or is_over)(now):
                return now
            try:
                self.step(now)
            except Crash:
                self._lives += 1
                if lose and self._snapshots:
                    self._snapshots[max(0, len(self._snapshots) - lose)]()
                    self._snapshots.clear()
        raise AssertionError(f"it does not end: {self.now(job)!r}\n{self.points.names[-20:]}")

    def step(self, job: Job) -> None:
        """Do what comes next for the job: run it, or wait for what it waits for, and poll."""
        if job.is_terminal:
            self._poll_at(job.remote_due)
            return
        answer = self.mp.metadata.jobs.begin(job.job_id, self.worker, f"token-{self._lives}-{self.clock.now()}")
        match answer:
            case Granted(granted, token):
                self.run(granted, token)
            case Busy(until):
                self._wait_until(until)
            case NotDue(run_at):
                self._poll_at(min(run_at, job.remote_due or run_at))
            case _:
                pass

    def run(self, job: Job, token: str) -> RunEnd | None:
        """Do one run of a granted job, and settle its failure; None where it failed."""
        workdir = Path(tempfile.mkdtemp(dir=self.folder))
        jobs = self._jobs
        pulse = _Pulse(lambda: self.now(job).cancel_requested_at is not None, self.points if self.is_fine else None)
        try:
            return self.execution().run(job, token, workdir, pulse)
        except Exception as exc:  # noqa: BLE001 - whatever a run lets out
            jobs.release(job.job_id, token, classify(exc, job))
            return None
        finally:
            shutil.rmtree(workdir)

    def poll(self) -> int:
        """Do one round of this life's poller."""
        return self.poller("poller" if self.is_one_poller else f"poller-{self._lives}").round()

    def execution(self) -> Execution:
        """Return what runs a job, with its checkpoints."""
        execution = execution_of(self.mp)
        assert execution.outside is not None
        return attrs.evolve(
            execution,
            jobs=self._jobs,
            storage=Watched(execution.storage, "storage", ["put"], self.points),
            outside=attrs.evolve(execution.outside, services=self.services),
            sleep=self._sleep,
        )

    def poller(self, who: str) -> Poller:
        """Return a poller, with its checkpoints."""
        poller = poller_of(self.mp, who)
        assert poller is not None
        services = {name: self.services.open(name) for name in poller.services}
        return attrs.evolve(poller, jobs=self._jobs, services=services)

    @property
    def services(self) -> Services:
        """The services, with their checkpoints."""
        return WatchedServices(self.mp.services, self.points)

    @property
    def worker(self) -> Worker:
        """This life's worker."""
        if self._worker is None:  # what is installed is looked up once: it takes longer than a run
            catalog = self.mp.catalog
            self._worker = Worker(worker_id="", types=catalog.runnable(), abilities=catalog.abilities())
        return attrs.evolve(self._worker, worker_id=f"host:{self._lives}:boot")

    @property
    def _jobs(self) -> Any:
        return Watched(self.mp.metadata.jobs, "jobs", SAVES, self.points)

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def _poll_at(self, moment: datetime | None) -> None:
        self._wait_until(moment)
        if not self.poll():  # another poller's place is not free yet, or it may not call yet
            self.clock.advance(STEP_S)

    def _wait_until(self, moment: datetime | None) -> None:
        if moment is not None and moment > self.clock.now():
            self.clock.advance(moment - self.clock.now() + timedelta(milliseconds=1))

    # ── what there is in the end ──

    def bills(self) -> Mapping[str, int]:
        """Return tag → how often it was paid for."""
        return Counter(str(bill["tag"]) for bill in self.fakes.state()["bills"])

    def check(self, job: Job, *, bills: int = 1, strays: int = 0) -> None:
        """Check what must hold of the only job since the fakes' last reset.

        Args:
            job: As it is after `drive`.
            bills: How many payments there are; each operation pays once at most.
            strays: How many uploads may be left that nobody can know of (LALAL has no list), for 24 hours.
        """
        state = self.fakes.state()
        assert max(self.bills().values(), default=0) <= 1, f"paid twice: {state['bills']}"
        assert len(state["bills"]) == bills, state["bills"]
        assert state["leaks"] == []
        assert state["forbidden"] == []
        assert state["live"] <= strays, f"left at the service: {state['live']}"
        versions = [version for version in self.versions() if _made_by(version, job.job_id)]
        assert len(versions) == (job.status is JobStatus.SUCCEEDED), versions
        for version in versions:
            assert version.number == job.created_version

    def versions(self) -> Sequence[Version]:
        """Return all versions of the shared input."""
        asset = self.mp.assets.get(DEFAULT_OWNER, self.asset_id).asset
        found: list[Version] = []
        for number in range(1, (asset.latest_version or 0) + 1):
            try:
                found.append(self.mp.assets.version(DEFAULT_OWNER, self.asset_id, number))
            except VersionNotFoundError:  # a gap
                continue
        return found

    def result(self, job: Job) -> Mapping[str, str]:
        """Return file name → SHA-256 of the stored bytes of the job's version."""
        assert job.created_version is not None
        version = self.mp.assets.version(DEFAULT_OWNER, self.asset_id, job.created_version)
        storage = self.mp.opened_storage.storage
        return {file.name: _sha256(storage.read(file.object_key)) for file in version.files}

    def promised(self, job: Job) -> Mapping[str, str]:
        """Return the same of what the fakes send for the input, for a job that they do alone."""
        content = self.input.read_bytes()
        media = media_of(content[:4096], len(content), default_duration=0)
        assert job.remote is not None
        if job.remote.service == "auphonic":
            return {"enhanced": _sha256(Tone(media=media, label="auphonic", width=3).blocks())}
        labels = {"vocals": "vocals", "instrumental": "no_vocals"}
        return {name: _sha256(Tone(media=media, label=label).blocks()) for name, label in labels.items()}

    # ── records that are lost ──

    def _snapshot(self) -> Callable[[], None]:
        """Return what brings the records back to how they are now."""
        backend = self.mp.metadata.backend
        if isinstance(backend, MemoryState):
            return _memory_snapshot(backend)
        return _sqlite_snapshot(self.mp.settings.data / "musproj.db")


def is_over(job: Job) -> bool:
    """Tell whether the job has ended and nothing is to be deleted any more."""
    return job.is_terminal and job.remote_due is None


def clock_of(clock: FakeClock) -> Callable[[], float]:
    """Return the clock as the fakes take it."""
    return lambda: clock.now().timestamp()


@contextmanager
def open_with(
    fakes: FakeServices,
    clock: FakeClock,
    data: Path,
    *,
    processors: Sequence[Processor] = PROCESSORS,
    **settings: Any,
) -> Generator[MusProj]:
    """Open an installation that takes the fakes for the services; `settings` go before those that this implies."""
    port = fakes.url.rpartition(":")[2]
    given: dict[str, Any] = {
        "data": data,
        "auphonic_url": fakes.auphonic_url,
        "auphonic_key": "k",
        "lalal_url": fakes.lalal_url,
        "lalal_key": "k",
        "private_hosts": (f"127.0.0.1:{port}", f"localhost:{port}"),
        **settings,
    }
    with MusProj.open(Settings(**given), processors=processors, clock=clock, rules=RULES) as mp:
        yield probing_here(mp)


def _made_by(version: Version, job_id: JobId) -> bool:
    return version.provenance is not None and version.provenance.job_id == job_id


def _sha256(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _memory_snapshot(state: MemoryState) -> Callable[[], None]:
    def copied() -> dict[str, Any]:
        # Records are frozen: it is their containers that change.
        memo = {id(state.lock): state.lock}
        return {name: _containers(value) for name, value in vars(state).items() if id(value) not in memo}

    before = copied()

    def restore() -> None:
        with state.lock:
            for name, value in before.items():
                setattr(state, name, _containers(value))

    return restore


def _containers(value: Any) -> Any:
    items: Any = value
    if isinstance(value, dict):
        return {key: _containers(item) for key, item in items.items()}
    return copy.copy(items) if isinstance(value, list | set) else value


def _sqlite_snapshot(path: Path) -> Callable[[], None]:
    before = sqlite3.connect(":memory:")
    with closing(sqlite3.connect(path)) as database:
        database.backup(before)

    def restore() -> None:
        with closing(sqlite3.connect(path)) as database:
            before.backup(database)

    return restore
