"""Jobs in processes of their own: what they do to themselves, and what a worker does to them."""

import io
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import attrs
import pytest

from musproj.adapters.system import SystemClock
from musproj.application.uploads import UploadSpec
from musproj.domain.asset import AssetStatus
from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import FailureKind, JobStatus
from musproj.testing.crash import CrashPoint
from musproj.testing.trouble import PROCESSORS, write_tone
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

CRASH, TIMEOUT, INTERNAL, PERMANENT = (
    FailureKind.CRASH,
    FailureKind.TIMEOUT,
    FailureKind.INTERNAL,
    FailureKind.PERMANENT,
)
ENDS = {
    "segfault": [(CRASH, "worker_crashed")] * 3,
    "exit": [(CRASH, "worker_crashed")] * 3,
    "greedy": [(CRASH, "out_of_memory")] * 3,
    "hog": [(CRASH, "out_of_memory")] * 3,
    "spin": [(TIMEOUT, "processor_timeout")] * 2,
    "raise": [(INTERNAL, "internal")] * 3,
    "garble": [(INTERNAL, "internal")] * 3,
    "nan": [(PERMANENT, "output_invalid")],
    "forger": [(PERMANENT, "output_invalid")],
    "silent": [(PERMANENT, "output_invalid")],
}
"""What each of the ill-behaved spends before its job has failed."""
GOOD = ("copy", "stems", "dice", "peaks", "look")


@pytest.fixture(scope="module")
def trouble(tmp_path_factory):
    """Run the well-behaved and the ill-behaved side by side in one worker; it must outlive them all."""
    installation = Installation(folder=tmp_path_factory.mktemp("trouble"))
    with installation.opened() as mp:
        asset_id = add_asset(mp)
        jobs = {job_type: submit(mp, asset_id, job_type) for job_type in (*ENDS, *GOOD)}
        with installation.worker(concurrency=4, burst=True) as worker:
            assert worker.wait(60) == 0, worker.report()
        ended = {job_type: job_now(mp, job) for job_type, job in jobs.items()}
    assert installation.leftovers() == []
    account = account_for(installation, list(jobs.values()))
    return ended, account, worker, installation


@pytest.mark.parametrize("job_type", sorted(ENDS))
def test_f2_f6_f7_f8_an_ill_behaved_job_fails_after_its_budget(trouble, job_type):
    job = trouble[0][job_type]
    assert job.status is JobStatus.FAILED
    assert [(attempt.kind, attempt.code) for attempt in job.history] == ENDS[job_type]


@pytest.mark.parametrize("job_type", GOOD)
def test_a_well_behaved_job_beside_them_is_not_touched(trouble, job_type):
    job = trouble[0][job_type]
    assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 1)


def test_nothing_unexplained_is_left(trouble):
    _, account, _, installation = trouble
    assert len(account.versions) == 3
    assert list((installation.folder / "tmp").glob("musproj*/*")) == []


def test_the_reason_is_told_without_secrets(trouble):
    jobs = trouble[0]
    assert "SIGSEGV" in jobs["segfault"].error.message
    assert "exit code 3" in jobs["exit"].error.message
    assert "hunter2" not in jobs["raise"].error.message
    assert "Signature" not in jobs["raise"].error.message


def test_a_child_has_no_secrets_in_its_environment_and_one_thread(installation, mp):
    from musproj.settings import confine, use_one_thread

    environ = {
        "MUSPROJ_API_KEY": "k",
        "MUSPROJ_DATA": "d",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PORT": "80",
        "PATH": "/bin",
        "OMP_NUM_THREADS": "4",
    }
    use_one_thread(environ)
    confine(installation.folder, environ)
    assert environ == {
        "PATH": "/bin",
        "TMPDIR": str(installation.folder),
        "OMP_NUM_THREADS": "4",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "VECLIB_MAXIMUM_THREADS": "1",
    }


# ── stops ────────────────────────────────────────────────────────────────────────────────────────


def test_f11_a_job_that_listens_to_nobody_is_dead_two_seconds_after_its_cancel(installation, mp):
    job = submit(mp, add_asset(mp), "spin-long")
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("job_begun")
        time.sleep(0.2)
        mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
        asked_at = time.monotonic()
        wait_for_status(mp, job, JobStatus.CANCELLED)
        assert time.monotonic() - asked_at < 2.5
        worker.terminate()
    account_for(installation, [job])


def test_f4_a_second_signal_hands_the_job_back_with_all_its_programs_killed(installation, mp):
    job = submit(mp, add_asset(mp), "brood")
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("job_begun")
        wait_until(lambda: len(installation.processes()) == 5, why=lambda: str(installation.processes()))
        worker.signal(signal.SIGTERM)
        worker.wait_for("worker_draining")
        worker.signal(signal.SIGTERM)
        assert worker.wait(5) == 0
    back = job_now(mp, job)
    assert (back.status, back.attempts, back.interrupts, back.history) == (JobStatus.QUEUED, 1, 1, ())


def test_f3_nothing_outlives_a_killed_supervisor(installation, mp):
    submit(mp, add_asset(mp), "brood")
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("job_begun")
        wait_until(lambda: len(installation.processes()) == 5, why=lambda: str(installation.processes()))
        worker.kill()
    assert installation.leftovers(within=5) == []


@pytest.mark.parametrize(
    "point",
    [
        CrashPoint(number=3, place="before", victim="all"),
        CrashPoint(number=6, place="during", victim="child"),
        CrashPoint(number=7, place="before", victim="all"),
        CrashPoint(number=7, place="after", victim="all"),
        CrashPoint(number=7, place="after", victim="child"),
    ],
    ids=str,
)
def test_f1_a_job_killed_at_a_call_to_a_port_has_its_effect_once(installation, mp, point):
    """Some of the points; all of them are in tests/e2e."""
    job = submit(mp, add_asset(mp))
    with installation.worker(concurrency=1, burst=True, crash=point) as worker:
        assert worker.wait() == (-9 if point.victim == "all" else 0), worker.report()
    if point.victim == "all":
        with installation.worker(concurrency=1) as second:
            wait_for_end(mp, job)
            second.terminate()
    account_for(installation, [job])
    assert job_now(mp, job).status is JobStatus.SUCCEEDED


# ── taking jobs ──────────────────────────────────────────────────────────────────────────────────


def test_a_job_begins_soon_after_its_submit(installation, mp):
    asset_id = add_asset(mp)
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("worker_started")
        time.sleep(0.2)
        waits = []
        for seed in range(5):
            (job,) = wait_for_end(mp, submit(mp, asset_id, "look", seed=seed))
            waits.append((job.started_at - job.created_at).total_seconds())
        worker.terminate()
    assert min(waits) < 0.05, waits


@pytest.mark.parametrize("job_type", ["bulky", "bulky-input"])
def test_jobs_that_together_want_too_much_memory_run_one_after_the_other(installation, mp, job_type):
    asset_id = add_asset(mp)
    jobs = [submit(mp, asset_id, job_type, seed=seed, seconds=0.2) for seed in range(3)]
    with installation.worker(concurrency=3, memory_mb=1_500, burst=True) as worker:
        worker.wait()
    ended = sorted((job_now(mp, job) for job in jobs), key=lambda job: job.finished_at)
    assert all(job.status is JobStatus.SUCCEEDED for job in ended)
    begun = sorted(event["at"] for event in worker.events("job_begun"))
    done = sorted(event["at"] for event in worker.events("job_committed"))
    assert all(begun[n + 1] > done[n] for n in range(2)), (begun, done)


def test_a_job_that_alone_wants_more_than_there_is_waits_for_a_larger_worker(installation, mp):
    job = submit(mp, add_asset(mp), "bulky")
    with installation.worker(concurrency=1, memory_mb=500, burst=True) as worker:
        worker.wait()
    assert job_now(mp, job).status is JobStatus.QUEUED


def test_uploads_that_nobody_confirmed_are_looked_after_by_a_process_of_its_own():
    from musproj.worker.events import Teller
    from musproj.worker.fork import fork
    from musproj.worker.maintenance import INTERVAL_S, Maintenance
    from musproj.worker.outage import Outage

    reading, writing = os.pipe()
    outage = Outage(Teller("w", lambda _: None))
    sweeps = Maintenance(start=lambda: fork(lambda: os.write(writing, b"swept"), closing=(reading,)), outage=outage)
    sweeps.step(time.monotonic())
    assert sweeps.pid is None, "not before its time"
    assert sweeps.due_at <= time.monotonic() + INTERVAL_S
    sweeps.step(sweeps.due_at)
    assert os.read(reading, 10) == b"swept"
    wait_until(lambda: sweeps.step(0.0) or sweeps.pid is None)
    os.close(reading)
    os.close(writing)


def test_a_host_that_cannot_start_a_process_costs_nothing_but_time(installation, mp):
    job = submit(mp, add_asset(mp), "look")
    with installation.worker(concurrency=1) as worker:
        worker.wait_for("job_committed")
        root = installation.folder / "tmp" / "musproj"
        wait_until(lambda: not list(root.iterdir()))
        root.rmdir()
        root.write_text("no folder any more")
        job = submit(mp, job.asset_id, "look", seed=1)
        worker.wait_for("job_released")
        root.unlink()
        wait_for_end(mp, job)
        worker.terminate()
    assert (job_now(mp, job).status, job_now(mp, job).attempts) == (JobStatus.SUCCEEDED, 1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # xdist has threads
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_sweep_confirms_what_arrived_without_a_confirm(installation, start_method):
    from musproj.worker.launch import sweep_starter

    with installation.opened(Earlier()) as before:
        asset = before.uploads.request(DEFAULT_OWNER, UploadSpec(filename="take.wav")).asset
        data = write_tone(installation.folder / "take.wav").read_bytes()
        before.opened_storage.storage.put(
            asset.upload.object_key, io.BytesIO(data), size=len(data), content_type=asset.upload.content_type
        )
    with installation.opened() as mp:
        start = sweep_starter(mp, start_method, tuple)
        pid = start()
        assert start() is None, "there is nothing else to look after"
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert mp.assets.get(DEFAULT_OWNER, asset.asset_id).asset.status is AssetStatus.READY


class Earlier(SystemClock):
    """The clock of ten minutes ago: the first look at an upload comes after two."""

    def now(self):
        return super().now() - timedelta(minutes=10)


# ── other ways to run ────────────────────────────────────────────────────────────────────────────


def test_a_spawned_process_does_what_a_forked_one_does(installation, mp):
    asset_id = add_asset(mp)
    jobs = [submit(mp, asset_id, "copy"), submit(mp, asset_id, "segfault")]
    with installation.worker(concurrency=2, burst=True, start_method="spawn") as worker:
        worker.wait()
    copied, crashed = account_for(installation, jobs).jobs
    assert copied.status is JobStatus.SUCCEEDED
    assert [attempt.code for attempt in crashed.history] == ["worker_crashed"] * 3


def test_a_processor_that_cannot_be_handed_over_is_told_of_before_any_job():
    from musproj.errors import ConfigurationError
    from musproj.worker.launch import _refuse_unportable

    main = type("Main", (), {"spec": PROCESSORS[0].spec, "__module__": "__main__", "__reduce__": lambda self: "x"})()
    local = attrs.evolve(PROCESSORS[0], body=lambda *_: None)

    _refuse_unportable(PROCESSORS)
    for processor in (main, local):
        with pytest.raises(ConfigurationError, match="cannot be handed"):
            _refuse_unportable([processor])


def test_one_job_is_run_as_an_entry_of_a_stock_worker_asks(installation, mp):
    asset_id = add_asset(mp)
    job, other = submit(mp, asset_id, "stems"), submit(mp, asset_id, "stems", seed=1)

    def run(job_id):
        variables = [f"MUSPROJ_DATA={installation.folder}", "MUSPROJ_PROCESSORS=musproj.testing.trouble:STEMS"]
        program = f"from musproj.worker import run; run({job_id!r})"
        subprocess.run(["env", *variables, sys.executable, "-c", program], check=True, cwd=installation.folder)

    run(job.job_id)
    assert job_now(mp, job).status is JobStatus.SUCCEEDED
    assert job_now(mp, other).status is JobStatus.QUEUED, "it was not asked for"
    run(job.job_id)
    run("job_unknown")
    assert job_now(mp, job) == attrs.evolve(job_now(mp, job), attempts=1)


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGALRM, TIMEOUT), (signal.SIGTERM, None)], ids=["its time is over", "drain"]
)
def test_a_carrier_that_ends_the_run_of_one_job_gets_it_back_in_order(installation, mp, number, kind):
    job = submit(mp, add_asset(mp), "stems", seconds=60)
    program = (
        "import signal, sys\n"
        "def raise_it(*_): raise TimeoutError('as RQ does')\n"
        "signal.signal(signal.SIGALRM, raise_it)\n"
        "from musproj.worker import run\n"
        f"run({job.job_id!r})\n"
        "assert signal.getsignal(signal.SIGALRM) is raise_it"
    )
    variables = [
        f"MUSPROJ_DATA={installation.folder}",
        "MUSPROJ_PROCESSORS=musproj.testing.trouble:STEMS",
        "MUSPROJ_DRAIN_S=0",
    ]
    process = subprocess.Popen(["env", *variables, sys.executable, "-c", program], cwd=installation.folder)
    wait_for_status(mp, job, JobStatus.RUNNING)
    wait_until(mp.metadata.jobs.workers)
    process.send_signal(number)
    assert process.wait(30) == 0
    after = job_now(mp, job)
    assert after.status is JobStatus.QUEUED
    assert [attempt.kind for attempt in after.history] == ([kind] if kind else [])
