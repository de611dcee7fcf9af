import threading

import pytest

from musproj.application.jobs import InputRef, JobSpec, is_replay
from musproj.domain.job import JobStatus, WaitReason
from musproj.domain.ledger import Worker
from musproj.errors import (
    AssetNotFoundError,
    AssetNotReadyError,
    FileNotFoundInVersionError,
    InvalidError,
    InvalidParamsError,
    JobAlreadyFinishedError,
    JobNotFoundError,
    JobNotRetryableError,
    UnknownJobTypeError,
    VersionNotFoundError,
)
from musproj.ports.assets import Idempotency
from musproj.ports.jobs import Created, Existing, Publication

OWNER = "default"
WORKER = Worker(worker_id="w", types=frozenset({"gain", "paid", "mix"}))


def spec_for(asset, **changes):
    ref = InputRef(asset_id=asset.asset_id)
    return JobSpec(**{"type": "gain", "inputs": {"input": ref}, **changes})


def finish(world):
    granted = world.queue.claim(WORKER)
    world.job_store.commit(granted.job.job_id, granted.token, Publication(result={"ok": True}))
    return granted.job


def test_submit_resolves_the_head_and_fills_in_the_defaults(world, ready):
    job = world.jobs.submit(OWNER, spec_for(ready())).job
    assert (job.status, job.input_version, job.params) == (JobStatus.QUEUED, 1, {"gainDb": 0.0})
    assert job.root_job_id == job.job_id


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"type": "gian"}, UnknownJobTypeError),
        ({"params": {"gainDb": 61}}, InvalidParamsError),
        ({"params": {"gain": 1}}, InvalidParamsError),
        ({"inputs": {}}, InvalidError),
        ({"inputs": {"inptu": InputRef(asset_id="a")}}, InvalidError),
        ({"inputs": {"input": InputRef(asset_id="ast_unknown")}}, AssetNotFoundError),
    ],
)
def test_wrong_requests_are_refused(world, ready, changes, error):
    with pytest.raises(error):
        world.jobs.submit(OWNER, spec_for(ready(), **changes))


@pytest.mark.parametrize(
    ("job_type", "given", "told"),
    [
        ("gain", ["inptu"], {"/inputs/inptu": "unknown", "/assetId": "required"}),
        ("mix", ["left"], {"/inputs/right": "required"}),
    ],
)
def test_every_wrong_port_is_told_where_the_client_wrote_it(world, job_type, given, told):
    inputs = {name: InputRef(asset_id="a") for name in given}
    with pytest.raises(InvalidError) as caught:
        world.jobs.submit(OWNER, JobSpec(type=job_type, inputs=inputs))
    assert {violation.pointer: violation.code for violation in caught.value.violations} == told


def test_what_the_parameters_ask_for_is_needed_of_the_worker(world, ready):
    asset = ready()
    plain, needy = (
        world.jobs.submit(OWNER, spec_for(asset, type="transcode", params={"format": kind})).job
        for kind in ("flac", "m4a")
    )
    types = frozenset({"transcode"})
    simple = Worker(worker_id="simple", types=types)
    able = Worker(worker_id="able", types=types, abilities=frozenset({"codecs"}))

    assert (plain.needs, needy.needs) == ((), ("codecs",))
    assert world.queue.claim(simple).job.job_id == plain.job_id
    assert world.queue.claim(simple) is None
    assert world.queue.claim(able).job.job_id == needy.job_id


def test_wrong_versions_files_and_owners_are_unknown(world, ready):
    asset = ready()
    with pytest.raises(VersionNotFoundError):
        world.jobs.submit(OWNER, spec_for(asset, inputs={"input": InputRef(asset_id=asset.asset_id, version=7)}))
    with pytest.raises(FileNotFoundInVersionError):
        world.jobs.submit(OWNER, spec_for(asset, inputs={"input": InputRef(asset_id=asset.asset_id, file="vocals")}))
    with pytest.raises(AssetNotFoundError):
        world.jobs.submit("somebody-else", spec_for(asset))
    world.assets.delete(OWNER, asset.asset_id)
    with pytest.raises(AssetNotReadyError):
        world.jobs.submit(OWNER, spec_for(asset))


def test_identical_live_jobs_are_one_unless_forced(world, ready):
    asset = ready()
    first = world.jobs.submit(OWNER, spec_for(asset))
    twin = world.jobs.submit(OWNER, spec_for(asset, params={"gainDb": 0}))
    assert isinstance(first, Created)
    assert isinstance(twin, Existing)
    assert twin.job.job_id == first.job.job_id
    assert not is_replay(twin)
    assert world.jobs.submit(OWNER, spec_for(asset, force=True)).job.job_id != first.job.job_id


def test_an_idempotency_key_is_a_replay(world, ready):
    asset, key = ready(), Idempotency(key="k", body_hash="h")
    first = world.jobs.submit(OWNER, spec_for(asset, force=True), key)
    again = world.jobs.submit(OWNER, spec_for(asset, force=True), key)
    assert is_replay(again)
    assert again.job.job_id == first.job.job_id


def test_several_inputs_keep_the_order_of_the_ports(world, ready):
    left, right = ready(), ready()
    inputs = {"right": InputRef(asset_id=right.asset_id), "left": InputRef(asset_id=left.asset_id)}
    job = world.jobs.submit(OWNER, JobSpec(type="mix", inputs=inputs)).job
    assert [i.port for i in job.inputs] == ["left", "right"]
    assert job.asset_id == left.asset_id


def test_a_delayed_job_says_why_it_waits(world, ready):
    later = world.clock.now().replace(year=2040)
    job = world.jobs.submit(OWNER, spec_for(ready(), run_at=later)).job
    assert (job.wait_reason, job.run_at) == (WaitReason.DELAY, later)
    assert world.queue.claim(WORKER) is None


def test_cancel_is_told_apart_by_state(world, ready):
    asset = ready()
    waiting = world.jobs.submit(OWNER, spec_for(asset)).job
    assert world.jobs.cancel(OWNER, waiting.job_id).status is JobStatus.CANCELLED
    assert world.jobs.cancel(OWNER, waiting.job_id).status is JobStatus.CANCELLED
    world.jobs.submit(OWNER, spec_for(asset))
    done = finish(world)
    with pytest.raises(JobAlreadyFinishedError) as caught:
        world.jobs.cancel(OWNER, done.job_id)
    assert caught.value.facts["status"] == "succeeded"
    with pytest.raises(JobNotFoundError):
        world.jobs.cancel("somebody-else", done.job_id)


def test_retry_is_a_new_job_of_the_same_root(world, ready):
    asset = ready()
    job = world.jobs.submit(OWNER, spec_for(asset)).job
    with pytest.raises(JobNotRetryableError):
        world.jobs.retry(OWNER, job.job_id)
    world.jobs.cancel(OWNER, job.job_id)
    again = world.jobs.retry(OWNER, job.job_id).job
    assert (again.retry_of, again.root_job_id, again.status) == (job.job_id, job.job_id, JobStatus.QUEUED)
    assert again.params == job.params


def test_watch_yields_each_change_until_the_end(world, ready):
    job = world.jobs.submit(OWNER, spec_for(ready())).job
    worker = threading.Timer(0.05, finish, [world])
    worker.start()
    seen = [job.status for job in world.jobs.watch(OWNER, job.job_id, timeout=10)]
    worker.join()
    assert (seen[0], seen[-1]) == (JobStatus.QUEUED, JobStatus.SUCCEEDED)


def test_wait_gives_up_after_its_time_but_leaves_the_job_alone(world, ready):
    job = world.jobs.submit(OWNER, spec_for(ready())).job
    assert world.jobs.wait(OWNER, job.job_id, timeout=0.05).status is JobStatus.QUEUED
