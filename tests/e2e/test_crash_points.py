"""A job's process and its supervisor, killed at each call that the job makes to a port (F1, F2; C4 to C17).

Each point is a fresh installation, a worker that dies there, and, where the supervisor died too, another worker
that comes after. Then the laws are checked against what is there. What was tried is printed.
"""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from musproj.domain.job import JobStatus
from musproj.testing.crash import CrashPoint, calls_in, points_of
from musproj.testing.workers import Installation, account_for, add_asset, submit, wait_for_end

pytestmark = pytest.mark.timeout(300)

AT_ONCE = 3
"""Points tried side by side: half of their time is waiting for a lease."""
STRIDE = 3
"""Of the points on the distributed deployment, each third is tried: start another one at each type."""
TYPES = ("copy", "stems", "dice", "peaks", "look")


@pytest.mark.parametrize("job_type", TYPES)
def test_a_job_killed_at_any_call_has_its_effect_once(deploy, tmp_path, job_type, capsys):
    calls = journal_of_one_job(deploy(tmp_path / "whole"), job_type)
    points = points_of(calls)
    if deploy.name == "distributed":
        points = points[TYPES.index(job_type) % STRIDE :: STRIDE]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda point: outcome_at(deploy(tmp_path / str(point)), job_type, point), points))

    with capsys.disabled():
        attempts = Counter(attempts for _, attempts, _ in results)
        leftovers = sum(garbage for _, _, garbage in results)
        sys.stdout.write(
            f"\n{job_type}: {len(calls)} calls, {len(points)} points, "
            f"runs per job {dict(sorted(attempts.items()))}, objects for gc {leftovers}\n"
        )
    assert {point: status for point, (status, _, _) in zip(points, results, strict=True) if status != "succeeded"} == {}


def journal_of_one_job(installation: Installation, job_type: str) -> list[str]:
    """Return the names of the calls that a job makes when nothing happens to it."""
    installation.folder.mkdir()
    with installation.opened() as mp:
        job = submit(mp, add_asset(mp), job_type)
        with installation.worker(concurrency=1, burst=True) as worker:
            assert worker.wait() == 0
        wait_for_end(mp, job)
    return calls_in(installation.folder / "calls.log")


def outcome_at(installation: Installation, job_type: str, point: CrashPoint) -> tuple[JobStatus, int, int]:
    """Return how the job ended, how often it was run, and how many objects were left to gc."""
    installation.folder.mkdir()
    with installation.opened() as mp:
        job = submit(mp, add_asset(mp), job_type)
        with installation.worker(concurrency=1, burst=True, crash=point) as worker:
            code = worker.wait()
            assert code == (-9 if point.victim == "all" else 0), worker.report()
        if point.victim == "all":
            with installation.worker(concurrency=1) as second:
                wait_for_end(mp, job)
                second.terminate()
    assert installation.leftovers() == []
    account = account_for(installation, [job])
    (ended,) = account.jobs
    return ended.status, ended.attempts, len(account.garbage)
