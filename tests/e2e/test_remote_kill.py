"""A job at an outside service whose process, or whole worker, is killed at a call or save: it is paid for once.

Real workers, their poller beside them, and the fakes as a program of their own. The matrix of all points runs in
one process in tests/remote; here a part of them shows that a kill is what that matrix takes it for.
"""

import json
import random
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import attrs
import pytest

from musproj.domain.job import JobStatus
from musproj.domain.remote import RemotePhase, as_key
from musproj.testing.crash import CrashPoint, calls_in, points_of
from musproj.testing.workers import Installation, account_for, add_asset, job_now, submit, wait_until

pytestmark = pytest.mark.timeout(300)

AT_ONCE = 4
"""Points tried side by side: most of their time is waiting for a lease, or for the place of a poller that is gone."""
POINTS = 5
"""Of each service and victim, beside those around the purchase."""
PATIENCE_S = 90.0
OPTIONS = {"poll_ticks": 1, "check_limit": 1_000_000}
"""The limit would hold for all installations of this test together."""


@attrs.frozen
class Fakes:
    url: str

    def state(self) -> dict:
        with urllib.request.urlopen(f"{self.url}/_fake/state", timeout=10) as answer:
            return json.load(answer)

    def settings(self) -> dict:
        port = self.url.rpartition(":")[2]
        return {
            "auphonic_url": f"{self.url}/api",
            "auphonic_key": "k",
            "lalal_url": f"{self.url}/api/v1/",
            "lalal_key": "k",
            "private_hosts": (f"127.0.0.1:{port}", f"localhost:{port}"),
            "remote_poll_s": 0.05,
        }


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    command = [sys.executable, "-m", "musproj.testing.fakes", "--options", json.dumps(OPTIONS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield Fakes(process.stdout.readline().strip())
        process.terminate()


@pytest.mark.parametrize("service", ["auphonic", "lalal"])
def test_a_kill_at_a_call_or_a_save_is_paid_for_once(fakes, service, tmp_path, capsys):
    calls = journal_of_one_job(fakes, service, tmp_path / "whole")
    points = chosen(calls)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda point: end_at(fakes, service, tmp_path / str(point), point), points))
    ends = [job for job, _ in found]
    assert sum(is_reached for _, is_reached in found) >= len(points) - 2
    state = fakes.state()
    tags = Counter(bill["tag"] for bill in state["bills"] if bill["service"] == service)
    with capsys.disabled():
        attempts = Counter(job.attempts for job in ends)
        sys.stdout.write(
            f"\n{service}: {len(calls)} calls, {len(points)} kills, billed twice {sum(n > 1 for n in tags.values())}, "
            f"finished {sum(job.status is JobStatus.SUCCEEDED for job in ends)}, runs {dict(sorted(attempts.items()))}\n"
        )
    assert {tags[tag_of(job)] for job in ends} == {1}
    assert {job.status for job in ends} == {JobStatus.SUCCEEDED}
    assert (state["leaks"], state["forbidden"]) == ([], [])


def tag_of(job) -> str:
    token = job.remote.token
    return f"musproj-{UUID(token).hex}" if job.remote.service == "auphonic" else as_key(token)


def installation_at(fakes, folder) -> Installation:
    folder.mkdir()
    return Installation(folder=folder, stores=fakes.settings())


def chosen(calls) -> list[CrashPoint]:
    """Return the points around the purchase, and a sample of the others."""
    purchase = calls.index("service.submit") + 1
    points = points_of(calls, ["all"])
    near = [point for point in points if abs(point.number - purchase) <= 1]
    draw = random.Random(len(calls))
    rest = [point for point in points if point not in near]
    return [*near, *draw.sample(rest, POINTS), *draw.sample(points_of(calls, ["child"]), POINTS)]


def journal_of_one_job(fakes, service, folder) -> list[str]:
    """Return the names of the calls that a job makes when nothing happens to it."""
    installation = installation_at(fakes, folder)
    with installation.opened() as mp:
        job = submit(mp, add_asset(mp), service)
        with installation.worker(concurrency=1) as worker:
            wait_for_cleaned(mp, job, worker)
            worker.terminate()
    return calls_in(folder / "calls.log")


def end_at(fakes, service, folder, point):
    """Return the job that was killed there and ended all the same."""
    installation = installation_at(fakes, folder)
    with installation.opened() as mp:
        job = submit(mp, add_asset(mp), service)
        with installation.worker(concurrency=1, crash=point) as worker:
            # How often it waits for a call depends on the time, so that a late point may not be reached.
            wait_for_cleaned(mp, job, worker)
            is_killed = worker.process.poll() == -signal.SIGKILL
            if not is_killed:
                worker.terminate()
        if is_killed:
            with installation.worker(concurrency=1) as second:
                wait_for_cleaned(mp, job, second)
                second.terminate()
        job = job_now(mp, job)
    assert installation.leftovers() == []
    (version,) = account_for(installation, [job]).versions
    assert version.number == job.created_version
    return job, is_killed or point.victim == "child"


def wait_for_cleaned(mp, job, worker) -> None:
    """Wait until the job has ended and the poller has deleted what was at the service, or the worker is dead."""

    def is_over() -> bool:
        if worker.process.poll() is not None:
            return True
        now = job_now(mp, job)
        return now.is_terminal and (now.remote is None or now.remote.phase is RemotePhase.CLEANED)

    wait_until(is_over, PATIENCE_S, why=lambda: f"{job_now(mp, job)!r}\n{worker.report()}")
