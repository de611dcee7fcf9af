"""A job's process on a bucket: it moves bytes by itself, and neither knows the keys by name nor loads the SDK."""

import subprocess
import sys

import pytest

from musproj import DEFAULT_OWNER, InputRef, JobSpec, MusProj, Settings
from musproj.domain.job import JobStatus
from musproj.testing.trouble import write_tone
from musproj.testing.workers import account_for, add_asset, job_now, submit

SPY = """
import os
import sys

from musproj.ports.processor import Outcome, ProcessorSpec
from musproj.testing.trouble import Trouble, TroubleParams

SPEC = ProcessorSpec(name="spy", version="1", params=TroubleParams, publishes="result", memory_mb=64)


def look(inputs, params, ctx):
    return Outcome(data={"environment": sorted(os.environ), "modules": sorted(sys.modules)})


SPY = Trouble(SPEC, look)
"""


@pytest.fixture
def stores(tmp_path, swift_server):
    return {**swift_server.stores(), "data": tmp_path / "data"}


def work(folder, stores, *options):
    variables = [f"MUSPROJ_{name.upper()}={value}" for name, value in stores.items()]
    variables += ["MUSPROJ_PROCESSORS=spy:SPY", f"PYTHONPATH={folder}", "AWS_PROFILE=mine"]
    command = [sys.executable, "-m", "musproj", "work", "--burst", "--concurrency", "1", *options]
    done = subprocess.run(
        ["env", *variables, *command], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_has_no_secret_in_its_environment_and_no_sdk_in_its_memory(tmp_path, stores):
    (tmp_path / "spy.py").write_text(SPY)
    names = {}
    exec(SPY, names)
    with MusProj.open(Settings(**stores), processors=[names["SPY"]]) as mp:
        asset_id = mp.uploads.put_file(DEFAULT_OWNER, write_tone(tmp_path / "take.wav")).asset_id
        spec = JobSpec(type="spy", inputs={"input": InputRef(asset_id=asset_id)})
        job = mp.jobs.submit(DEFAULT_OWNER, spec).job
        work(tmp_path, stores)
        seen = job_now(mp, job).result
    assert [name for name in seen["environment"] if name.startswith(("MUSPROJ_", "AWS_"))] == []
    assert "TMPDIR" in seen["environment"]
    assert "urllib3" in seen["modules"]
    # The supervisor has not either: what it had loaded came along with the fork.
    assert not {"boto3", "botocore", "asyncio", "starlette"} & set(seen["modules"])


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_started_one_moves_bytes_by_a_pool_of_its_own(tmp_path, swift_server, start_method):
    from musproj.testing.workers import Installation

    installation = Installation(folder=tmp_path, stores=swift_server.stores())
    with installation.opened() as mp:
        asset_id = add_asset(mp)
        jobs = [submit(mp, asset_id, job_type) for job_type in ("copy", "stems", "peaks", "look")]
        with installation.worker(concurrency=2, burst=True, start_method=start_method) as worker:
            assert worker.wait(60) == 0, worker.report()
    account = account_for(installation, jobs)
    assert {job.status for job in account.jobs} == {JobStatus.SUCCEEDED}
    assert installation.leftovers() == []
