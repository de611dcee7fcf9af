"""Real workers in real processes over one installation: to start, kill, stop, and account for.

python -m musproj.testing.workers '<json>'      is such a worker
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import attrs

from musproj.adapters.system import SystemClock
from musproj.application.jobs import InputRef, JobSpec
from musproj.composition import MusProj
from musproj.domain.ids import DEFAULT_OWNER, AssetId
from musproj.domain.job import Job, JobStatus
from musproj.domain.ledger import MAX_CRASHES, Rules
from musproj.domain.version import Version
from musproj.ports.clock import Clock
from musproj.processors.limits import Limits
from musproj.settings import Settings
from musproj.testing.crash import AWAY, CrashPoint, armed
from musproj.testing.trouble import PROCESSORS, write_tone
from musproj.worker import WorkerEvent, WorkerOptions, work
from musproj.worker.child import InProcessProbe

PATIENCE_S = 30.0
"""How long a test waits for what should come soon."""
POLL_S = 0.01
AFTER_GRACE = timedelta(days=2)
"""When gc is asked what it would remove."""

MARK = "TROUBLE_MARK"
"""An environment variable by which every process of an installation, programs of jobs too, can be found."""


@attrs.frozen(kw_only=True)
class Installation:
    """An installation whose leases and backoffs are short: embedded in a folder, unless `stores` names others."""

    folder: Path = attrs.field(converter=Path)
    """Also where logs and journals go."""
    stores: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Settings that say where the records, the queue and the objects are."""
    lease_s: float = 1.0
    backoff_s: float = 0.1
    crash_limit: int = MAX_CRASHES
    mark: str = attrs.field(factory=lambda: uuid4().hex)

    @contextmanager
    def opened(self, clock: Clock | None = None) -> Generator[MusProj]:
        """Open it in this process, with the troublesome processors."""
        rules = Rules(
            lease=timedelta(seconds=self.lease_s),
            backoff_base=timedelta(seconds=self.backoff_s),
            crash_limit=self.crash_limit,
        )
        stores: dict[str, Any] = dict(self.stores)
        settings = Settings(data=self.folder, lease_s=self.lease_s, **stores)
        with MusProj.open(settings, processors=PROCESSORS, rules=rules, clock=clock) as mp:
            yield probing_here(mp)

    def worker(self, **options: Any) -> "WorkerProcess":
        """Start a worker; `options` are those of `WorkerOptions` and `crash`, a `CrashPoint`."""
        return WorkerProcess.start(self, options)

    @contextmanager
    def away(self) -> Generator[None]:
        """Let its workers, not this process, reach none of its stores."""
        sign = self.folder / AWAY
        sign.touch()
        try:
            yield
        finally:
            sign.unlink()

    def processes(self) -> list[int]:
        """Return every living process that began under this installation's mark."""
        return [pid for pid in _all_pids() if _is_marked(pid, f"{MARK}={self.mark}") and _is_alive(pid)]

    def leftovers(self, within: float = 5.0) -> list[int]:
        """Return which processes are still there after `within` seconds; none, if all go well."""
        wait_until(lambda: not self.processes(), within, must=False)
        return self.processes()


class WorkerProcess:
    """One supervisor in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Hold the process; its events are lines of `log`."""
        self.process = process
        self.pid = process.pid
        self._log = log

    @classmethod
    def start(cls, installation: Installation, options: Mapping[str, Any]) -> Self:
        """Start a worker that is asked by JSON."""
        log = installation.folder / f"worker-{uuid4().hex[:8]}.log"
        point = options.get("crash", CrashPoint())
        given = {name: value for name, value in options.items() if name != "crash"}
        asked = {
            "installation": attrs.asdict(installation),
            "options": given,
            "crash": attrs.asdict(point),
        }
        (installation.folder / "tmp").mkdir(exist_ok=True)
        marked = ["env", f"{MARK}={installation.mark}", f"TMPDIR={installation.folder / 'tmp'}"]
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*marked, sys.executable, "-m", __name__, json.dumps(asked, default=str)], stdout=out, stderr=err
            )
        return cls(process, log)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Make sure that it has ended."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor alone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the supervisor by SIGKILL and reap it."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, within: float = PATIENCE_S) -> None:
        """Let it drain, and check that it ends well."""
        self.wait_for("worker_started")  # before that, SIGTERM is the end of any program
        self.signal(signal.SIGTERM)
        code = self.wait(within)
        assert code == 0, f"exit code {code}:\n{self.report()}"

    def wait(self, within: float = PATIENCE_S) -> int:
        """Return the exit code, as soon as there is one."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker still runs; it said:\n{self.report()}") from None

    def children(self) -> list[int]:
        """Return the processes of its jobs."""
        found: list[int] = []
        for pid in _all_pids():
            with suppress(OSError, IndexError):
                parent = int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])
                if parent == self.pid and os.getpgid(pid) == pid and os.getsid(pid) != pid and _is_alive(pid):
                    found.append(pid)
        return found

    def events(self, action: str | None = None) -> list[dict[str, Any]]:
        """Return what it told so far, or only the events of one action."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in events if action in (None, event["action"])]

    def wait_for(self, action: str, count: int = 1, within: float = PATIENCE_S) -> dict[str, Any]:
        """Return the `count`-th event of an action, as soon as it is told."""
        wait_until(lambda: len(self.events(action)) >= count, within, why=self.report)
        return self.events(action)[count - 1]

    def report(self) -> str:
        """Return all that it printed."""
        return self._log.read_text(encoding="utf-8") + self._log.with_suffix(".err").read_text(encoding="utf-8")


# ── what a test does with an installation ────────────────────────────────────────────────────────


def probing_here(mp: MusProj) -> MusProj:
    """Return `mp` probing uploads in this process: a helper costs more time than all else of a short test."""
    probe = InProcessProbe(Limits(max_duration_seconds=mp.settings.max_duration_s))
    verifier = attrs.evolve(mp.uploads.verifier, probe=probe)
    return attrs.evolve(mp, uploads=attrs.evolve(mp.uploads, verifier=verifier))


def add_asset(mp: MusProj, *, seed: int = 0) -> AssetId:
    """Upload a short tone and return its asset."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_tone(Path(folder) / "tone.wav", seed=seed)
        return mp.uploads.put_file(DEFAULT_OWNER, path).asset_id


def submit(mp: MusProj, asset_id: AssetId, job_type: str = "copy", **params: object) -> Job:
    """Submit a job on version 1; jobs are taken in the order of their submits."""
    time.sleep(0.001)  # the ids of one millisecond have no order
    spec = JobSpec(type=job_type, inputs={"input": InputRef(asset_id=asset_id, version=1)}, params=params, force=True)
    return mp.jobs.submit(DEFAULT_OWNER, spec).job


def job_now(mp: MusProj, job: Job) -> Job:
    """Return the job as it is now."""
    return mp.jobs.get(DEFAULT_OWNER, job.job_id)


def wait_until(
    condition: Callable[[], object],
    within: float = PATIENCE_S,
    *,
    must: bool = True,
    why: Callable[[], str] = lambda: "it never came true",
) -> None:
    """Poll `condition` until it holds; fail after `within` seconds if it `must`."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            if must:
                raise AssertionError(f"after {within} s: {why()}")
            return
        time.sleep(POLL_S)


def wait_for_status(mp: MusProj, job: Job, *wanted: JobStatus, within: float = PATIENCE_S) -> Job:
    """Return the job once it has one of the statuses."""
    wait_until(lambda: job_now(mp, job).status in wanted, within, why=lambda: repr(job_now(mp, job)))
    return job_now(mp, job)


def wait_for_end(mp: MusProj, *jobs: Job, within: float = PATIENCE_S) -> list[Job]:
    """Return the jobs once all have ended."""
    for job in jobs:
        wait_until(lambda job=job: job_now(mp, job).is_terminal, within, why=lambda job=job: repr(job_now(mp, job)))  # type: ignore[misc]  # mypy infers no lambda with a default
    return [job_now(mp, job) for job in jobs]


# ── the laws ─────────────────────────────────────────────────────────────────────────────────────


@attrs.frozen(kw_only=True)
class Account:
    """What is there after a test: nothing of it may be unexplained."""

    jobs: Sequence[Job]
    versions: Sequence[Version]
    """Made by jobs."""
    garbage: Sequence[str]
    """Keys that gc removed once their grace was over."""


def account_for(installation: Installation, jobs: Sequence[Job]) -> Account:
    """Check the laws over `jobs`, all of them meant to have ended, and return what there is.

    Each job has ended (L1) with at most one version, exactly one where it succeeded and makes one (L2); each
    version's objects are there, byte for byte (L3); numbers are distinct and the highest is the latest (L5); what
    nobody lists, gc finds and removes (L6).
    """
    with installation.opened(_Later()) as mp:
        ended = [job_now(mp, job) for job in jobs]
        assert all(job.is_terminal for job in ended), [f"{job.job_id} {job.status}" for job in ended]
        made: list[Version] = []
        for asset_id in {job.asset_id for job in ended}:
            versions = _versions(mp, asset_id)
            _check_numbers(mp, asset_id, versions)
            made += [version for version in versions if version.provenance is not None]
            for version in versions:
                _check_objects(mp, version)
        for job in ended:
            _check_effect(job, [v for v in made if v.provenance and v.provenance.job_id == job.job_id], mp)
        garbage = [removal.key for removal in mp.collector.collect().removals if removal.removed]
        _check_nothing_else(mp, {job.asset_id for job in ended})
    return Account(jobs=ended, versions=made, garbage=garbage)


class _Later(SystemClock):
    """The host's clock, two days on."""

    def now(self) -> datetime:
        """Return the time at which every grace is over."""
        return super().now() + AFTER_GRACE


def _versions(mp: MusProj, asset_id: AssetId) -> list[Version]:
    numbers: list[int] = []
    cursor: str | None = None
    while True:
        page = mp.assets.versions(DEFAULT_OWNER, asset_id, limit=100, cursor=cursor)
        numbers += [version.number for version in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return [mp.assets.version(DEFAULT_OWNER, asset_id, number) for number in sorted(numbers)]


def _check_numbers(mp: MusProj, asset_id: AssetId, versions: Sequence[Version]) -> None:
    numbers = [version.number for version in versions]
    assert len(numbers) == len(set(numbers)), numbers
    assert mp.assets.get(DEFAULT_OWNER, asset_id).asset.latest_version == max(numbers)


def _check_objects(mp: MusProj, version: Version) -> None:
    storage = mp.opened_storage.storage
    for file in version.files:
        stored = storage.stat(file.object_key)
        assert (stored.size_bytes, stored.etag) == (file.size_bytes, file.etag)
        # By the bytes, not by what the store remembers of them.
        assert _sha256(storage.read(file.object_key)) == file.sha256


def _check_effect(job: Job, versions: Sequence[Version], mp: MusProj) -> None:
    makes_one = mp.catalog.get(job.type).spec.publishes == "version"
    expected = 1 if makes_one and job.status is JobStatus.SUCCEEDED else 0
    assert len(versions) == expected, f"{job.job_id} {job.status}: {[v.number for v in versions]}"
    assert [version.number for version in versions] == ([job.created_version] if expected else [])


def _check_nothing_else(mp: MusProj, asset_ids: set[AssetId]) -> None:
    for asset_id in asset_ids:
        for stored in mp.opened_storage.storage.list(f"assets/{asset_id}/"):
            number = int(stored.key.split("/")[2].removeprefix("v"))
            assert stored.key in mp.metadata.assets.listed_keys(asset_id, number), f"unexplained: {stored.key}"


def _sha256(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


# ── processes ────────────────────────────────────────────────────────────────────────────────────


def _all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _is_marked(pid: int, mark: str) -> bool:
    with suppress(OSError):
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


# ── the program ──────────────────────────────────────────────────────────────────────────────────


def main(asked: str) -> None:
    """Be a worker; print each event as a line of JSON."""
    wish = json.loads(asked)
    installation = Installation(**wish["installation"])
    point = CrashPoint(**wish["crash"])
    with installation.opened() as mp:
        journal = installation.folder / "calls.log"
        work(armed(mp, point, journal), WorkerOptions(**wish["options"]), _print)


def _print(event: WorkerEvent) -> None:
    shown: dict[str, object] = {"action": event.action, "text": event.text, "at": time.monotonic(), **event.facts}
    if event.job is not None:
        shown |= {"job": event.job.job_id, "attempts": event.job.attempts}
    sys.stdout.write(json.dumps(shown, default=str) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
