"""A stock `rq worker` runs our jobs through the one function that its entries name."""

import subprocess
import sys
from pathlib import Path

import pytest

from musproj import DEFAULT_OWNER, InputRef, JobSpec, MusProj, Settings
from musproj.domain.job import JobStatus
from musproj.testing.trouble import write_tone
from musproj.testing.workers import job_now

RQ = str(Path(sys.executable).with_name("rq"))


JSON = ("--serializer", "json")


@pytest.fixture
def mp(tmp_path, own_redis):
    with MusProj.open(Settings(data=tmp_path, redis_url=own_redis.url)) as opened:
        yield opened


@pytest.fixture
def asset_id(mp, tmp_path):
    return mp.uploads.put_file(DEFAULT_OWNER, write_tone(tmp_path / "take.wav", seconds=2)).asset_id


def submit(mp, asset_id, job_type, **params):
    spec = JobSpec(type=job_type, inputs={"input": InputRef(asset_id=asset_id)}, params=params, force=True)
    return mp.jobs.submit(DEFAULT_OWNER, spec).job


@pytest.fixture
def stock_worker(tmp_path, own_redis):
    """Run a stock worker until its queue is empty."""

    def run(*options):
        variables = [f"MUSPROJ_DATA={tmp_path}", f"MUSPROJ_REDIS_URL={own_redis.url}"]
        variables += ["MUSPROJ_PROCESSORS=musproj.testing.trouble:STEMS"]
        command = [RQ, "worker", "--burst", "--url", own_redis.url, *options, "audio-jobs"]
        done = subprocess.run(["env", *variables, *command], capture_output=True, text=True, timeout=100, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_it_enhances(mp, asset_id, stock_worker):
    job = submit(mp, asset_id, "enhance")
    code, log = stock_worker(*JSON)
    after = job_now(mp, job)
    assert (code, after.status, after.created_version) == (0, JobStatus.SUCCEEDED, 2), log
    assert "Traceback" not in log, log
    assert mp.assets.version(DEFAULT_OWNER, asset_id, 2).provenance.job_id == job.job_id


def test_what_comes_of_a_job_stands_in_its_record_alone(mp, asset_id, own_redis, stock_worker):
    done = submit(mp, asset_id, "analyze")
    ended = submit(mp, asset_id, "analyze")
    entry = own_redis.command("LINDEX", "rq:queue:audio-jobs", -1)
    mp.jobs.cancel(DEFAULT_OWNER, ended.job_id)
    own_redis.command("RPUSH", "rq:queue:audio-jobs", entry)  # delivered although it has ended

    code, log = stock_worker(*JSON)
    assert code == 0, log
    assert job_now(mp, done).result["integratedLufs"] < 0
    assert job_now(mp, ended).status is JobStatus.CANCELLED
    left = own_redis.command("LRANGE", "rq:queue:audio-jobs:intermediate", 0, -1)
    assert set(left) <= {entry}, "RQ leaves what it cannot find; the next worker of ours sweeps it away"
    assert own_redis.command("ZCARD", "rq:failed:audio-jobs") == 0, log


def test_without_the_serializer_nothing_runs_and_doctor_says_why(mp, asset_id, own_redis, stock_worker):
    job = submit(mp, asset_id, "analyze")
    stock_worker()
    assert job_now(mp, job).status is JobStatus.QUEUED
    found = {finding.name: finding for finding in mp.metadata.examine()}
    assert "--serializer json" in found["rq failures"].fix
