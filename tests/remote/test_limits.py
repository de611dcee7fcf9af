"""LALAL's 30 questions a minute, with 50 jobs and three pollers that share one account, in virtual time."""

from itertools import pairwise

import pytest

from musproj.domain.job import JobStatus
from musproj.testing.remote import Checkpoints

JOBS = 50
POLLERS = ("one", "two", "three")
WINDOW_S = 60.0
ALLOWED = 30
STEP_S = 0.5
LEASE_S = 15.0
"""Of a poller (`LEADER_LIFE`)."""
IS_CHECK = "/api/v1/check/"


def checks(harness) -> list[float]:
    """Return when `check/` was called."""
    return [call.t for call in harness.fakes.requests if call.path == IS_CHECK]


def busiest(times) -> int:
    """Return how many of them lie in the fullest window of 60 s."""
    return max(sum(start <= at < start + WINDOW_S for at in times) for start in times)


def work(harness) -> None:
    """Run whatever is due; afterwards no job holds a worker."""
    queue, jobs = harness.mp.queue, harness.mp.metadata.jobs
    while (granted := queue.claim(harness.worker)) is not None:
        harness.run(granted.job, granted.token)
        queue.ack(granted.job.job_id)
    assert jobs.counts()[JobStatus.RUNNING] == 0


def pass_time(harness, pollers, seconds) -> set[str]:
    """Let everybody work for so long; return the pollers that did something."""
    active = set()
    for _ in range(round(seconds / STEP_S)):
        work(harness)
        active |= {poller.who for poller in pollers if poller.round()}
        harness.clock.advance(STEP_S)
        harness.mp.metadata.jobs.tick()
    return active


@pytest.fixture
def crowd(harness):
    """Give the harness with all jobs sent, whose tasks take about a minute."""
    harness.fakes.reset(mode="clock", queue_seconds=60.0)
    for _ in range(JOBS):
        harness.submit("lalal")
    harness.points = Checkpoints()
    return harness


def test_fifty_jobs_stay_within_the_limit_and_hold_no_worker(crowd):
    pollers = [crowd.poller(who) for who in POLLERS]
    active = pass_time(crowd, pollers, 30)
    assert crowd.fakes.state()["running"] == JOBS  # all of them at once, and none of them running here
    for _ in range(20):
        active |= pass_time(crowd, pollers, 30)
        if crowd.mp.metadata.jobs.counts()[JobStatus.SUCCEEDED] == JOBS and not crowd.fakes.state()["live"]:
            break
    assert crowd.mp.metadata.jobs.counts()[JobStatus.SUCCEEDED] == JOBS
    assert len(active) == 1
    assert busiest(checks(crowd)) <= ALLOWED
    assert sorted(crowd.bills().values()) == [1] * JOBS
    assert (crowd.fakes.state()["live"], crowd.fakes.state()["leaks"]) == (0, [])


def test_another_poller_takes_over_when_the_leader_is_gone(crowd):
    first, *others = (crowd.poller(who) for who in POLLERS)
    assert pass_time(crowd, [first, *others], 30) == {first.who}
    gone_at = checks(crowd)[-1]
    active = pass_time(crowd, others, 60)
    assert len(active) == 1
    times = checks(crowd)
    after = next(at for at in times if at > gone_at)
    assert after - gone_at <= LEASE_S + 2 + 30 * 1.2  # and the interval between two questions
    assert busiest(times) <= ALLOWED


def test_a_pause_between_leaders_is_no_longer_than_a_lease(harness):
    """With a task that is asked for all the time, the gap is what the lease makes it."""
    harness.fakes.reset(poll_ticks=1_000)
    for _ in range(3):
        harness.submit("lalal")
    harness.points = Checkpoints()
    first, other = harness.poller("first"), harness.poller("other")
    pass_time(harness, [first, other], 10)
    gone_at = checks(harness)[-1]
    pass_time(harness, [other], 40)
    gaps = [later - earlier for earlier, later in pairwise([at for at in checks(harness) if at >= gone_at])]
    assert max(gaps) <= LEASE_S + 2
    assert busiest(checks(harness)) <= ALLOWED


def test_a_refusal_holds_all_pollers_back_for_a_whole_window(harness):
    harness.fakes.reset(poll_ticks=1_000)
    for _ in range(3):
        harness.submit("lalal")
    harness.points = Checkpoints()
    pollers = [harness.poller(who) for who in POLLERS]
    pass_time(harness, pollers, 10)
    harness.fakes.fault(kind="status", code=429, path="check")
    before = len(checks(harness))
    while len(checks(harness)) == before:
        pass_time(harness, pollers, STEP_S)
    refused_at = checks(harness)[-1]
    pass_time(harness, pollers, 90)
    after = next(at for at in checks(harness) if at > refused_at)
    assert after - refused_at >= WINDOW_S
    assert {job.status for job in harness.mp.metadata.jobs.remotes(limit=10, service="lalal")} == {JobStatus.QUEUED}


def test_no_more_run_at_the_service_than_the_account_may(harness):
    harness.fakes.reset(mode="clock", queue_seconds=60.0)
    for _ in range(JOBS + 10):
        harness.submit("lalal")
    harness.points = Checkpoints()
    pollers = [harness.poller("one")]
    for _ in range(25):
        pass_time(harness, pollers, 20)
        if harness.mp.metadata.jobs.counts()[JobStatus.SUCCEEDED] == JOBS + 10:
            break
    assert harness.mp.metadata.jobs.counts()[JobStatus.SUCCEEDED] == JOBS + 10
    assert harness.fakes.state()["max_concurrent"] <= JOBS
    assert busiest(checks(harness)) <= ALLOWED
