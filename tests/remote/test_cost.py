"""What jobs say that they cost, against what the fakes billed; and what a budget refuses before anything is bought."""

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import JobStatus
from musproj.domain.remote import CostState

UNITS = {"auphonic": ("credit_hour", 180 / 3_600), "lalal": ("minute", 1 / 60)}
"""Of a tone of one second: three minutes are the least that Auphonic bills."""
SERVICES = pytest.mark.parametrize("job_type", ["auphonic", "lalal"])


def billed(harness) -> float:
    return sum(bill["units"] for bill in harness.fakes.state()["bills"])


@SERVICES
def test_what_finished_jobs_say_adds_up_to_the_bills(harness, job_type):
    unit, amount = UNITS[job_type]
    jobs = [harness.drive(harness.submit(job_type)) for _ in range(3)]
    for job in jobs:
        cost = job.remote.cost
        assert (cost.unit, cost.state) == (unit, CostState.BILLED)
        assert cost.estimate == pytest.approx(amount)
        assert cost.actual == pytest.approx(amount)
    assert sum(job.remote.cost.known for job in jobs) == pytest.approx(billed(harness))


def test_each_stem_is_paid_for(harness):
    job = harness.drive(harness.submit("lalal", stem="vocals,drum,bass"))
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert job.remote.cost.estimate == pytest.approx(3 / 60)
    assert job.remote.cost.actual == pytest.approx(billed(harness))


@SERVICES
def test_before_it_is_bought_it_costs_nothing_and_then_perhaps(harness, job_type):
    harness.drive(harness.submit(job_type))
    names = harness.points.names
    before, after = (names.index(f"{job_type}.submit:{place}") + 1 for place in ("before", "after"))
    expected = {before - 3: CostState.NONE, before: CostState.MAYBE, after: CostState.MAYBE}
    for number, state in expected.items():
        harness.fakes.reset()
        job = harness.drive(harness.submit(job_type), crashes=[number], until=lambda _: harness.points.crashed)
        assert job.remote.cost.state is state
        job = harness.drive(job)
        assert job.remote.cost.state is CostState.BILLED
        assert job.remote.cost.known == pytest.approx(billed(harness))


@SERVICES
@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ({"kind": "status", "code": 422, "path": "(split|start)"}, CostState.NONE),
        ({"kind": "status", "code": 422, "path": "upload"}, CostState.NONE),
        ({"kind": "wrong_size", "times": None}, CostState.BILLED),
        ({"kind": "status", "code": 404, "path": "(s3|cdn)", "times": None}, CostState.BILLED),
    ],
    ids=["refused", "input refused", "wrong results", "no results"],
)
def test_a_failure_costs_what_was_billed(harness, job_type, fault, state):
    harness.fakes.reset()
    harness.fakes.fault(**fault)
    job = harness.drive(harness.submit(job_type))
    assert (job.status, job.remote.cost.state) == (JobStatus.FAILED, state)
    assert billed(harness) == pytest.approx(job.remote.cost.known if state is CostState.BILLED else 0)


def test_only_what_nobody_can_know_is_a_perhaps_in_the_end(harness):
    harness.fakes.reset(key_window="none")
    harness.fakes.fault(kind="process_then_reset", path="split")
    job = harness.drive(harness.submit("lalal"))
    assert (job.error.code, job.remote.cost.state) == ("remote_lost", CostState.MAYBE)
    assert "may have cost" in job.error.message


def test_a_restart_that_is_refused_does_not_unsay_what_was_billed(harness):
    harness.fakes.reset()
    harness.fakes.script([{"statuses": [4, 2]}])
    harness.fakes.fault(kind="status", code=400, path="start", call=None, times=0)
    job = harness.drive(harness.submit("auphonic"), until=lambda job: job.remote and job.remote.phase == "failed")
    harness.fakes.fault(kind="status", code=400, path="start")
    job = harness.drive(job)
    assert job.status is JobStatus.FAILED
    assert job.remote.cost.state is CostState.BILLED
    assert len(harness.fakes.state()["bills"]) == 1


# ── budgets ──


@SERVICES
def test_a_job_over_its_budget_buys_and_sends_nothing(open_harness, job_type):
    harness = open_harness(budget_per_job=(f"{job_type}=0.01",))
    job = harness.drive(harness.submit(job_type))
    assert (job.status, job.error.code) == (JobStatus.FAILED, "budget_exceeded")
    assert "Nothing was bought" in job.error.message
    assert harness.fakes.requests == []


@SERVICES
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_day_has_a_budget_which_the_next_day_has_again(open_harness, job_type, store):
    _, amount = UNITS[job_type]
    harness = open_harness(store, budget_per_day=(f"{job_type}={2.5 * amount}",))
    for _ in range(2):
        assert harness.drive(harness.submit(job_type)).status is JobStatus.SUCCEEDED
    calls = len(harness.fakes.requests)
    third = harness.drive(harness.submit(job_type))
    assert third.error.code == "budget_exceeded"
    assert len(harness.fakes.requests) == calls
    harness.clock.advance(24 * 3_600)
    again = harness.drive(harness.mp.jobs.retry(DEFAULT_OWNER, third.job_id).job)
    assert again.status is JobStatus.SUCCEEDED, again.error
    assert list(harness.bills().values()) == [1, 1, 1]


def test_what_may_have_been_billed_counts_as_spent(open_harness):
    harness = open_harness(budget_per_day=("lalal=0.02",))
    harness.fakes.reset(key_window="none")
    harness.fakes.fault(kind="process_then_reset", path="split")
    assert harness.drive(harness.submit("lalal")).error.code == "remote_lost"
    assert harness.drive(harness.submit("lalal")).error.code == "budget_exceeded"


def test_a_crash_does_not_spend_a_day_s_budget_twice(open_harness):
    harness = open_harness(budget_per_day=("lalal=0.02",))
    job = harness.submit("lalal")
    for number in range(1, 12, 3):
        harness.drive(job, crashes=[number], until=lambda _: harness.points.crashed)
    assert harness.drive(job).status is JobStatus.SUCCEEDED
