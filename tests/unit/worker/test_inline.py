"""A worker in this very process, over stores that only this process can see."""

import os
import signal
import threading
import time

import attrs
import pytest

from musproj.composition import MusProj
from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.errors import BackendUnavailableError
from musproj.ports.changes import ChangeFeed
from musproj.ports.jobs import JobFilter
from musproj.ports.processor import Outcome, ProcessorSpec
from musproj.settings import Settings
from musproj.testing.trouble import PROCESSORS, Trouble, TroubleParams, work
from musproj.testing.workers import add_asset, job_now, probing_here, submit, wait_until
from musproj.worker import WorkerOptions
from musproj.worker import work as run_worker
from musproj.worker.events import Teller
from musproj.worker.identity import Identity
from musproj.worker.run import Run
from musproj.worker.supervisor import Supervisor


@attrs.define
class Script:
    """What the scripted processor does, given from outside."""

    steps: list = attrs.field(factory=list)
    seen: list = attrs.field(factory=list)

    def body(self, inputs, params, ctx):
        step = self.steps.pop(0) if self.steps else lambda _ctx: None
        step(ctx)
        return Outcome(data={"seed": params.seed})


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def mp(tmp_path, script):
    spec = ProcessorSpec(name="scripted", version="1", params=TroubleParams, publishes="result", memory_mb=8)
    boundless = attrs.evolve(spec, name="boundless", memory_mb=lambda _info: 1 // 0)
    settings = Settings(data=tmp_path, storage="memory:", metadata="memory:", lease_s=1.0)
    given = (*PROCESSORS, *(Trouble(s, script.body) for s in (spec, boundless)))
    with MusProj.open(settings, processors=given) as opened:
        yield probing_here(opened)


def burst(mp, **options):
    events = []
    run_worker(mp, WorkerOptions(burst=True, **options), events.append)
    return [event.action for event in events]


def test_jobs_of_every_kind_are_done(mp):
    asset_id = add_asset(mp)
    jobs = [submit(mp, asset_id, job_type, seed=n) for n, job_type in enumerate(("copy", "stems", "peaks", "look"))]

    actions = burst(mp)

    assert actions.count("job_committed") == 4
    assert (actions[0], actions[-1]) == ("worker_started", "worker_stopped")
    assert {job_now(mp, job).status for job in jobs} == {JobStatus.SUCCEEDED}


def test_a_worker_is_seen_while_it_lives_and_not_after(mp, script):
    seen = []
    script.steps.append(lambda _ctx: seen.extend(mp.metadata.jobs.workers()))
    submit(mp, add_asset(mp), "scripted")

    burst(mp)

    (worker,) = seen
    assert (worker.pid, worker.concurrency) == (os.getpid(), 1)
    assert {"copy", "scripted"} <= worker.types
    assert mp.metadata.jobs.workers() == []


def test_a_long_job_keeps_its_lease_and_shows_its_progress(mp, script):
    seen = []

    def take_long(ctx):
        work(1.5, ctx)  # longer than the lease
        seen.append(mp.metadata.jobs.tick())
        seen.append(mp.metadata.jobs.list(DEFAULT_OWNER, JobFilter(), limit=1).items[0].progress)

    script.steps.append(take_long)
    job = submit(mp, add_asset(mp), "scripted")

    actions = burst(mp)

    assert seen[0].requeued == 0
    assert 30 <= seen[1] <= 99
    assert actions.count("job_progress") >= 3
    assert job_now(mp, job).attempts == 1


def test_a_cancel_is_heard_at_the_next_look(mp, script):
    def cancel_myself(ctx):
        mp.jobs.cancel(DEFAULT_OWNER, job.job_id)
        work(10, ctx)

    script.steps.append(cancel_myself)
    job = submit(mp, add_asset(mp), "scripted")

    assert "job_cancelled" in burst(mp)
    assert job_now(mp, job).status is JobStatus.CANCELLED


def test_a_job_taken_over_by_another_run_is_dropped(mp, script):
    def lose(ctx):
        state = mp.metadata.backend
        running = state.jobs[job.job_id]
        state.jobs[job.job_id] = attrs.evolve(running, token="another")
        work(10, ctx)

    script.steps.append(lose)
    job = submit(mp, add_asset(mp), "scripted")

    assert "job_fenced" in burst(mp, max_jobs=1)
    assert job_now(mp, job).status is JobStatus.RUNNING


@pytest.mark.parametrize(("signals", "status"), [(1, JobStatus.SUCCEEDED), (2, JobStatus.QUEUED)])
def test_one_signal_lets_the_job_finish_and_two_hand_it_back(mp, script, signals, status):
    def ask_to_stop(ctx):
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
            ctx.check()
        work(0.1, ctx)

    script.steps.append(ask_to_stop)
    asset_id = add_asset(mp)
    job, other = submit(mp, asset_id, "scripted"), submit(mp, asset_id, "scripted", seed=1)

    actions = burst(mp)

    assert "worker_draining" in actions
    assert job_now(mp, job).status is status
    assert job_now(mp, job).attempts == 1
    assert job_now(mp, other).status is JobStatus.QUEUED


def test_a_failure_is_explained_and_the_next_job_runs(mp, script):
    def fail(_ctx):
        raise ValueError("no good")

    script.steps += [fail, lambda _ctx: None]
    asset_id = add_asset(mp)
    bad, good = submit(mp, asset_id, "scripted"), submit(mp, asset_id, "scripted", seed=1)

    burst(mp, max_jobs=2)

    assert job_now(mp, bad).error.message == "ValueError: no good"
    assert job_now(mp, good).status is JobStatus.SUCCEEDED


def test_max_jobs_ends_a_worker_that_is_no_burst(mp):
    asset_id = add_asset(mp)
    jobs = [submit(mp, asset_id, "look", seed=n) for n in range(3)]

    run_worker(mp, WorkerOptions(max_jobs=2))

    assert [job_now(mp, job).status for job in jobs].count(JobStatus.SUCCEEDED) == 2


def test_a_burst_waits_for_a_job_that_comes_due_soon(mp, script):
    def fail(_ctx):
        raise BackendUnavailableError("away")  # free, and due again after the backoff

    script.steps.append(fail)
    job = submit(mp, add_asset(mp), "scripted")
    mp.metadata.jobs._rules = attrs.evolve(mp.rules, backoff_base=mp.rules.lease / 10)

    burst(mp)

    assert (job_now(mp, job).status, job_now(mp, job).attempts) == (JobStatus.SUCCEEDED, 1)


class Bell(ChangeFeed):
    """A feed that has something to select on, as one over a socket has."""

    interval = 60.0

    def __init__(self):
        self.hearing, self.ringing = os.pipe()
        os.set_blocking(self.hearing, False)
        self.is_heard = False
        self.is_closed = False

    def fileno(self):
        return self.hearing

    def poll(self):
        try:
            return bool(os.read(self.hearing, 100))
        except BlockingIOError:
            return False

    def close(self):
        if not self.is_closed:
            self.is_closed = True
            os.close(self.hearing)
            os.close(self.ringing)


@attrs.frozen
class WithBell:
    """A port whose feed is a bell."""

    port: object
    bell: Bell

    def listen(self, **_options):
        self.bell.is_heard = True
        return self.bell

    def __getattr__(self, name):
        return getattr(self.port, name)


def test_a_feed_with_a_descriptor_wakes_the_worker_and_is_not_asked_in_between(mp, script):
    work_bell, job_bell = Bell(), Bell()
    belled = attrs.evolve(
        mp,
        queue=WithBell(mp.queue, work_bell),
        metadata=attrs.evolve(mp.metadata, jobs=WithBell(mp.metadata.jobs, job_bell)),
    )
    asset_id = add_asset(mp)
    jobs, heard = [], []

    def submit_and_ring():
        wait_until(lambda: work_bell.is_heard and job_bell.is_heard)
        os.write(job_bell.ringing, b"!")  # of no interest while nothing runs
        jobs.append(submit(mp, asset_id, "scripted"))
        os.write(work_bell.ringing, b"!")

    def cancel_and_ring(ctx):
        mp.jobs.cancel(DEFAULT_OWNER, jobs[0].job_id)
        os.write(job_bell.ringing, b"!")
        work(5, ctx)

    script.steps.append(cancel_and_ring)
    timer = threading.Thread(target=submit_and_ring)
    timer.start()
    run_worker(belled, WorkerOptions(max_jobs=1), lambda event: heard.append((time.monotonic(), event.action)))
    timer.join()

    assert [action for _, action in heard if action.startswith("job")] == ["job_begun", "job_cancelled"]
    assert heard[-1][0] - heard[0][0] < 3
    assert job_bell.is_closed
    assert work_bell.is_closed


class Bells:
    """A queue that gives each listener a bell of its own."""

    def __init__(self, queue):
        self.queue = queue
        self.rung = []

    def listen(self):
        self.rung.append(Bell())
        return self.rung[-1]

    def __getattr__(self, name):
        return getattr(self.queue, name)


def test_a_worker_that_is_to_stop_listens_no_more_while_its_job_still_runs(mp, script):
    queue = Bells(mp.queue)
    asset_id = add_asset(mp)
    seen = []

    def drain(ctx):
        seen.append([bell.is_closed for bell in queue.rung])
        os.kill(os.getpid(), signal.SIGTERM)
        ctx.check()
        seen.append([bell.is_closed for bell in queue.rung])

    def submit_and_ring():
        wait_until(lambda: queue.rung)
        submit(mp, asset_id, "scripted")
        os.write(queue.rung[0].ringing, b"!")

    script.steps.append(drain)
    timer = threading.Thread(target=submit_and_ring)
    timer.start()
    run_worker(attrs.evolve(mp, queue=queue), WorkerOptions())
    timer.join()

    assert seen == [[False], [True]]


def test_what_comes_for_a_worker_without_a_free_slot_goes_back_at_once(mp):
    queue = Bells(mp.queue)
    supervisor = supervisor_of(attrs.evolve(mp, queue=queue), WorkerOptions(concurrency=1, isolation="inline"))
    supervisor._work.listen()
    job = submit(mp, add_asset(mp), "look")
    supervisor._runs = [Run(job=job, token="t", needs=None, is_started=True)]

    supervisor._look_for_work(time.monotonic())
    assert not queue.rung[0].is_closed, "nothing has come"
    os.write(queue.rung[0].ringing, b"!")
    supervisor._look_for_work(time.monotonic())
    assert queue.rung[0].is_closed

    supervisor._runs = []
    supervisor._is_hungry = False
    supervisor._work.listen()
    assert len(queue.rung) == 2
    supervisor._work.close()


def supervisor_of(mp, options):
    identity = Identity.of_this_process(mp.catalog, mp.services.usable(), options.budget_mb)
    return Supervisor(mp, options, identity, Teller("w", None), claim=mp.queue.claim)


def test_a_worker_that_has_run_all_its_jobs_never_listens(mp):
    queue = Bells(mp.queue)
    submit(mp, add_asset(mp), "look")
    run_worker(attrs.evolve(mp, queue=queue), WorkerOptions(max_jobs=1))
    assert queue.rung == []


def test_an_event_that_is_not_taken_stops_no_job(mp):
    job = submit(mp, add_asset(mp), "look")

    def refuse(_event):
        raise BrokenPipeError

    run_worker(mp, WorkerOptions(burst=True), refuse)
    assert job_now(mp, job).status is JobStatus.SUCCEEDED


def test_a_spec_that_fails_fails_its_job_alone(mp):
    asset_id = add_asset(mp)
    bad, good = submit(mp, asset_id, "boundless"), submit(mp, asset_id, "look")

    burst(mp, max_jobs=2)

    assert job_now(mp, bad).error.message.startswith("ZeroDivisionError")
    assert job_now(mp, good).status is JobStatus.SUCCEEDED


def test_a_job_whose_input_was_purged_fails_and_is_not_tried_again(mp):
    from datetime import timedelta

    asset_id = add_asset(mp)
    job = submit(mp, asset_id, "look")
    state = mp.metadata.backend
    del state.versions[asset_id][1]

    burst(mp)

    assert job_now(mp, job).error.code == "version_not_found"
    assert job_now(mp, job).finished_at - job.created_at < timedelta(seconds=5)
