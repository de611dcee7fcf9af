"""Two workers on one job: one is refused, or what it still does once its lease is over changes nothing."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import attrs
import pytest

from musproj.application.execution import Parked
from musproj.domain.job import JobStatus
from musproj.domain.ledger import Busy, Granted, Stale
from musproj.domain.remote import RemotePhase
from musproj.testing.remote import Checkpoints

ROUNDS = 12


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_of_two_workers_one_runs_and_the_other_is_refused(open_harness, store):
    harness = open_harness(store)
    barrier = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        for number in range(ROUNDS):
            harness.fakes.reset()
            job = harness.submit("lalal")

            def begin(name, job=job):
                barrier.wait()
                worker = attrs.evolve(harness.worker, worker_id=f"host:{name}:boot")
                return harness.mp.metadata.jobs.begin(job.job_id, worker, name)

            answers = list(pool.map(begin, [f"a{number}", f"b{number}"]))
            assert {type(answer) for answer in answers} == {Granted, Busy}
            (granted,) = (answer for answer in answers if isinstance(answer, Granted))
            harness.points = Checkpoints()
            harness.run(granted.job, granted.token)
            job = harness.drive(job)
            assert (job.status, job.lost, job.failures) == (JobStatus.SUCCEEDED, 0, 0)
            harness.check(job)


def first_run(harness, job_type, *, until=None):
    """Return a job at the beginning of a run, and its answer of `begin`."""
    harness.fakes.reset()
    job = harness.submit(job_type)
    if until is not None:
        harness.drive(job, until=until)
        job = harness.now(job)
        harness.clock.advance(max(job.run_at - harness.clock.now(), job.run_at - job.run_at))
    harness.points = Checkpoints()
    answer = harness.mp.metadata.jobs.begin(job.job_id, harness.worker, f"stale-{job.job_id}")
    assert isinstance(answer, Granted)
    return job, answer


def overtaken(harness, job_type, number, *, until=None, other_until=None):
    """Return the job, and how the run ended that stood still at a checkpoint while another did all the rest."""
    job, answer = first_run(harness, job_type, until=until)

    def other():
        harness.clock.advance(harness.mp.rules.lease)
        harness._lives += 1
        harness.drive(job, until=other_until)

    harness.points = Checkpoints(meanwhile={number: other})
    before = len(harness.fakes.state()["deleted"])
    end = harness.run(answer.job, answer.token)
    deleted = len(harness.fakes.state()["deleted"]) - before
    return harness.drive(job), end, deleted


def length(harness, job_type, *, until=None) -> list[str]:
    """Return the checkpoints of the run that begins so."""
    job, answer = first_run(harness, job_type, until=until)
    harness.run(answer.job, answer.token)
    names = list(harness.points.names)
    harness.drive(job)
    return names


def is_bought(job) -> bool:
    return job.remote is not None and job.remote.phase is RemotePhase.SUBMITTED


def is_finished(job) -> bool:
    return job.remote is not None and job.remote.phase is RemotePhase.FINISHED


def may_stray(names, number) -> bool:
    """Tell whether a free object may be left: one of which a stale worker's call came too late to be recorded."""
    name, following = names[number - 1], names[number:]
    if name == "lalal.upload:after" or names[number - 2 : number] == ["lalal.upload:after", "jobs.note:before"]:
        return True
    calls = [f"{service}:before" for service in ("auphonic.create", "lalal.upload")]
    return name in calls or (name == "jobs.note:after" and following[0] in calls)


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
@pytest.mark.parametrize("other_until", [None, is_bought], ids=["to its end", "to its purchase"])
def test_a_stale_worker_buys_nothing_and_changes_nothing(harness, job_type, other_until):
    names = length(harness, job_type)
    for number, name in enumerate(names[:-1], start=1):
        job, end, _ = overtaken(harness, job_type, number, other_until=other_until)
        assert end is None or end == Parked(Stale()), (name, end)
        assert job.status is JobStatus.SUCCEEDED, (name, job.error)
        assert job.failures == 0
        harness.check(job, strays=int(may_stray(names, number)))
        assert harness.result(job) == harness.promised(job)


@pytest.mark.parametrize("job_type", ["auphonic", "lalal"])
def test_a_stale_worker_that_fetches_publishes_nothing_and_deletes_nothing(harness, job_type):
    names = length(harness, job_type, until=is_finished)
    assert names[-1] == "jobs.commit:after"
    for number, name in enumerate(names[:-1], start=1):
        job, end, deleted = overtaken(harness, job_type, number, until=is_finished)
        assert end in (None, Stale(), Parked(Stale())), (name, end)
        assert job.status is JobStatus.SUCCEEDED, (name, job.error)
        assert deleted == 1  # by the other
        harness.check(job)
        assert harness.result(job) == harness.promised(job)
