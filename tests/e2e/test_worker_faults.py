"""Single faults against real workers: paused, cut off, killed, cancelled, drained. Names carry the fault's number."""

import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.testing.workers import (
    Installation,
    account_for,
    add_asset,
    job_now,
    submit,
    wait_for_end,
    wait_for_status,
    wait_until,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def installation(tmp_path):
    return Installation(folder=tmp_path)


@pytest.fixture
def mp(installation):
    with installation.opened() as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_stays(installation):
    yield
    assert installation.leftovers() == []


# ── lost and paused ──────────────────────────────────────────────────────────────────────────────


def test_f3_the_death_of_a_supervisor_is_the_death_of_all_that_its_jobs_started(installation, mp):
    job = submit(mp, add_asset(mp), "brood")
    with installation.worker(concurrency=1) as worker:
        wait_for_status(mp, job, JobStatus.RUNNING)
        wait_until(lambda: len(installation.processes()) == 5, why=lambda: str(installation.processes()))
        (child,) = worker.children()
        worker.kill()
        killed_at = time.monotonic()
        wait_until(lambda: not Path(f"/proc/{child}").exists() or child not in installation.processes(), 1.0)

    assert installation.leftovers(within=5.0) == []
    assert time.monotonic() - killed_at < 5.0


def test_f1_the_job_of_a_killed_supervisor_runs_again_after_its_lease(installation, mp):
    job = submit(mp, add_asset(mp), seconds=0.5)
    with installation.worker(concurrency=1) as first, installation.worker(concurrency=1) as second:
        wait_for_status(mp, job, JobStatus.RUNNING)
        holder = first if str(first.pid) in job_now(mp, job).worker else second
        holder.kill()
        killed_at = time.monotonic()
        wait_for_end(mp, job)
        assert time.monotonic() - killed_at < installation.lease_s + 0.5 * installation.lease_s + 5.0

    account = account_for(installation, [job])
    assert [ended.lost for ended in account.jobs] == [1]


def test_f8_a_job_that_takes_its_worker_along_each_time_fails_after_ten_losses(tmp_path):
    installation = Installation(folder=tmp_path, lease_s=0.5)
    with installation.opened() as mp:
        asset_id = add_asset(mp)
        assassin, other = submit(mp, asset_id, "assassin"), submit(mp, asset_id, "look")
        while not job_now(mp, assassin).is_terminal:
            with installation.worker(concurrency=2) as worker:
                wait_until(
                    lambda worker=worker: worker.process.poll() is not None or job_now(mp, assassin).is_terminal,
                    why=worker.report,
                )
        wait_for_end(mp, other)
    failed, done = account_for(installation, [assassin, other]).jobs
    assert (failed.status, failed.lost, failed.error.code) == (JobStatus.FAILED, 10, "worker_lost")
    assert done.status is JobStatus.SUCCEEDED
    assert installation.leftovers() == []


def test_f5_a_worker_paused_for_longer_than_its_lease_can_publish_nothing(installation, mp):
    job = submit(mp, add_asset(mp), "dice", seconds=1.0)
    with installation.worker(concurrency=1) as paused:
        wait_for_status(mp, job, JobStatus.RUNNING)
        paused.wait_for("job_progress")  # not inside the database, where it would hold a lock
        (child,) = paused.children()
        paused.signal(signal.SIGSTOP)
        os.kill(child, signal.SIGSTOP)
        with installation.worker(concurrency=1) as second:
            wait_for_end(mp, job)
            os.kill(child, signal.SIGCONT)
            paused.signal(signal.SIGCONT)
            paused.wait_for("job_fenced")
            second.terminate()
        paused.terminate()

    assert [ended.attempts for ended in account_for(installation, [job]).jobs] == [2]


def test_a_paused_supervisor_with_a_working_child_can_publish_nothing_either(installation, mp):
    """The child is done long before its supervisor wakes up, and asks it for a number then."""
    job = submit(mp, add_asset(mp), "dice", seconds=0.6)
    with installation.worker(concurrency=1) as paused:
        paused.wait_for("job_progress")  # not inside the database, where it would hold a lock
        paused.signal(signal.SIGSTOP)
        with installation.worker(concurrency=1) as second:
            wait_for_end(mp, job)
            paused.signal(signal.SIGCONT)
            paused.wait_for("job_fenced")
            second.terminate()
        paused.terminate()

    account_for(installation, [job])


def test_f9_two_workers_share_the_jobs_and_run_none_twice(installation, mp):
    asset_id = add_asset(mp)
    with installation.worker(concurrency=2) as first, installation.worker(concurrency=2) as second:
        first.wait_for("worker_started")
        second.wait_for("worker_started")
        jobs = [submit(mp, asset_id, seed=seed, seconds=0.05) for seed in range(16)]
        wait_for_end(mp, *jobs)
        first.terminate()
        second.terminate()

    account = account_for(installation, jobs)
    assert {job.attempts for job in account.jobs} == {1}
    assert {job.worker.split(":")[1] for job in account.jobs} == {str(first.pid), str(second.pid)}


# ── cancel ───────────────────────────────────────────────────────────────────────────────────────


def test_f11_a_waiting_job_is_cancelled_at_once_and_never_begun(installation, mp):
    asset_id = add_asset(mp)
    job = submit(mp, asset_id)
    mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
    with installation.worker(burst=True) as worker:
        worker.wait()
    assert worker.events("job_begun") == []
    account_for(installation, [job])


@pytest.mark.parametrize("job_type", ["copy", "spin-long", "brood"])
def test_f11_a_running_job_is_dead_two_seconds_after_its_cancel(installation, mp, job_type):
    """One that looks up, one that holds the interpreter for ever, one with programs of its own."""
    job = submit(mp, add_asset(mp), job_type, seconds=0.0 if job_type == "spin-long" else 60.0)
    with installation.worker(concurrency=1) as worker:
        wait_for_status(mp, job, JobStatus.RUNNING)
        worker.wait_for("job_begun")
        time.sleep(0.3)
        mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
        asked_at = time.monotonic()
        wait_for_status(mp, job, JobStatus.CANCELLED)
        assert time.monotonic() - asked_at < 2.5
        wait_until(lambda: not worker.children(), 1.0)
        worker.terminate()

    account_for(installation, [job])


def test_f11_the_next_worker_ends_a_cancelled_job_whose_worker_is_gone(installation, mp):
    job = submit(mp, add_asset(mp), seconds=60.0)
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("job_begun")
        worker.kill()
    mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
    with installation.worker(concurrency=1) as second:
        wait_for_status(mp, job, JobStatus.CANCELLED)
        second.terminate()
    account_for(installation, [job])


def test_f12_a_cancel_against_a_commit_has_one_winner(installation, mp):
    asset_id = add_asset(mp)
    with installation.worker(concurrency=2) as worker:
        worker.wait_for("worker_started")
        jobs = []
        for seed in range(20):
            jobs.append(submit(mp, asset_id, seed=seed, seconds=0.05))
            wait_for_status(mp, jobs[-1], JobStatus.RUNNING, JobStatus.SUCCEEDED)
            time.sleep(0.005 * seed)
            if not job_now(mp, jobs[-1]).is_terminal:
                mp.metadata.jobs.cancel(DEFAULT_OWNER, jobs[-1].job_id)
        wait_for_end(mp, *jobs)
        worker.terminate()

    account = account_for(installation, jobs)
    assert {job.status for job in account.jobs} <= {JobStatus.SUCCEEDED, JobStatus.CANCELLED}


# ── drain ────────────────────────────────────────────────────────────────────────────────────────


def test_f4_a_drain_lets_a_running_job_finish_and_takes_no_other(installation, mp):
    asset_id = add_asset(mp)
    running, waiting = (submit(mp, asset_id, seed=seed, seconds=1.0) for seed in (1, 2))
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("job_begun")
        worker.terminate()

    assert job_now(mp, running).status is JobStatus.SUCCEEDED
    assert job_now(mp, waiting).status is JobStatus.QUEUED
    with installation.worker(burst=True) as second:
        second.wait()
    account_for(installation, [running, waiting])


@pytest.mark.parametrize("how", ["time is over", "second signal"])
def test_f4_a_drain_hands_back_what_does_not_finish_and_spends_no_attempt(installation, mp, how):
    job = submit(mp, add_asset(mp), "brood" if how == "second signal" else "copy", seconds=3.0)
    with installation.worker(concurrency=1, drain_s=0.3 if how == "time is over" else 60.0) as worker:
        worker.wait_for("job_begun")
        if how == "second signal":
            worker.signal(signal.SIGTERM)
            worker.wait_for("worker_draining")
            worker.signal(signal.SIGINT)
            assert worker.wait(5.0) == 0
        else:
            worker.terminate(within=5.0)

    handed_back = job_now(mp, job)
    assert (handed_back.status, handed_back.attempts, handed_back.failures) == (JobStatus.QUEUED, 1, 0)
    assert (handed_back.interrupts, handed_back.history) == (1, ())
    if how == "time is over":
        with installation.worker(burst=True) as second:
            second.wait()
        assert [ended.attempts for ended in account_for(installation, [job]).jobs] == [1]


# ── stores that are away ─────────────────────────────────────────────────────────────────────────


@pytest.mark.timeout(180)
def test_f47_a_database_locked_for_seconds_costs_nothing_but_time(installation, mp):
    job = submit(mp, add_asset(mp), seconds=1.0)
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("job_begun")
        with locked(installation.folder / "musproj.db"):
            worker.wait_for("backend_down", within=60.0)
            time.sleep(2.0)
            assert len(worker.children()) == 1
        worker.wait_for("backend_up")
        wait_for_end(mp, job)
        worker.terminate()

    (ended,) = account_for(installation, [job]).jobs
    assert (ended.status, ended.attempts) == (JobStatus.SUCCEEDED, 1)


@pytest.mark.timeout(180)
def test_a_database_locked_at_the_end_of_a_job_and_of_the_worker(installation, mp):
    """The job ends, a drain begins, and nobody can be told of either: the lease covers what could not be said."""
    job = submit(mp, add_asset(mp), "raise", seconds=0.5)
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("job_begun")
        with locked(installation.folder / "musproj.db"):
            worker.wait_for("backend_down", within=60.0)
            worker.terminate(within=60.0)
    with installation.worker(concurrency=1) as second:
        wait_for_end(mp, job)
        second.terminate()

    (ended,) = account_for(installation, [job]).jobs
    assert ended.status is JobStatus.FAILED


@pytest.mark.parametrize("job_type", ["copy", "raise"])
def test_f24_stores_that_are_away_for_longer_than_a_lease_cost_nothing_but_time(installation, mp, job_type):
    """The job ends in the middle of it, well or not; both workers live on, and nobody takes the job for lost."""
    asset_id = add_asset(mp)
    running = submit(mp, asset_id, job_type, seconds=0.8)
    with installation.worker(concurrency=1) as first, installation.worker(concurrency=1) as second:
        wait_for_status(mp, running, JobStatus.RUNNING)
        wait_until(lambda: first.events("job_progress") + second.events("job_progress"))
        with installation.away():
            first.wait_for("backend_down")
            second.wait_for("backend_down")
            waiting = submit(mp, asset_id, seed=1)
            time.sleep(3 * installation.lease_s)
        wait_for_end(mp, running, waiting)
        first.wait_for("backend_up")
        second.wait_for("backend_up")
        first.terminate()
        second.terminate()

    account = account_for(installation, [running, waiting])
    assert [job.lost for job in account.jobs] == [0, 0]
    assert [job.attempts for job in account.jobs] == [3 if job_type == "raise" else 1, 1]


class locked:  # noqa: N801 - reads as what it does
    """Hold the write lock of a database, from another process' point of view."""

    def __init__(self, path):
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)

    def __enter__(self):
        self._connection.execute("BEGIN EXCLUSIVE")

    def __exit__(self, *_):
        self._connection.execute("ROLLBACK")
        self._connection.close()


# ── the real lease ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.timeout(180)
def test_f1_with_the_real_lease_a_killed_workers_job_runs_again_within_45_seconds(tmp_path, capsys):
    installation = Installation(folder=tmp_path, lease_s=30.0, backoff_s=5.0)
    with installation.opened() as mp:
        job = submit(mp, add_asset(mp), seconds=0.5)
        with installation.worker(concurrency=1) as first:
            first.wait_for("job_begun")
            first.kill()
            killed_at = time.monotonic()
        with installation.worker(concurrency=1) as second:
            second.wait_for("job_begun", within=60.0)
            seconds = time.monotonic() - killed_at
            wait_for_end(mp, job)
            second.terminate()
    with capsys.disabled():
        sys.stdout.write(f"\nkilled worker to its job's next start, lease 30 s: {seconds:.1f} s\n")
    assert seconds < 45.0
    account_for(installation, [job])


def test_a_burst_waits_for_the_job_of_a_killed_worker_and_clears_what_it_left(installation, mp):
    job = submit(mp, add_asset(mp), seconds=2.0)
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("job_begun")
        worker.kill()
    with installation.worker(burst=True) as second:
        second.wait()

    assert job_now(mp, job).status is JobStatus.SUCCEEDED
    account_for(installation, [job])
    assert not list(Path(installation.folder, "tmp", "musproj").glob(f"{job.job_id}-*"))
