import time

import pytest

from musproj.domain.job import FailureKind
from musproj.domain.ledger import Failure
from musproj.errors import BackendUnavailableError, CorruptRecordError, StorageFullError
from musproj.testing.clock import NOON
from musproj.testing.records import new_asset, new_job
from musproj.worker.events import Teller
from musproj.worker.outage import LONGEST_PAUSE_S, Outage
from musproj.worker.settlement import Settlement, Settler


@pytest.fixture
def events():
    return []


@pytest.fixture
def outage(events):
    return Outage(Teller("w", events.append))


def fail(outage, error=BackendUnavailableError, *, proves=True):
    with outage.tolerated(proves=proves):
        raise error("away")


def test_a_store_that_is_away_is_told_of_once_and_so_is_its_return(outage, events):
    fail(outage)
    fail(outage, StorageFullError)
    assert outage.is_on
    with outage.tolerated():
        pass
    assert not outage.is_on
    assert [event.action for event in events] == ["backend_down", "backend_up"]
    assert events[0].facts == {"code": "backend_unavailable"}


def test_a_read_that_went_well_proves_nothing(outage):
    fail(outage)
    with outage.tolerated(proves=False):
        pass
    assert outage.is_on


def test_pauses_grow_up_to_half_a_minute(outage):
    pauses = []
    for _ in range(9):
        outage.retry_at = 0.0
        fail(outage)
        pauses.append(outage.retry_at - time.monotonic())
    assert 0.4 <= pauses[0] <= 1.0
    assert LONGEST_PAUSE_S / 2 - 1 <= pauses[-1] <= LONGEST_PAUSE_S


def test_another_error_is_not_tolerated(outage):
    with pytest.raises(RuntimeError), outage.tolerated():
        raise RuntimeError


class DeafJobs:
    """Does not answer while `deaf`, then as told."""

    def __init__(self):
        self.deaf = True
        self.released = []

    def release(self, job_id, token, failure):
        if self.deaf:
            raise BackendUnavailableError("away")
        if token == "garbage":
            raise CorruptRecordError("cannot be read")
        from musproj.domain.ledger import Stale

        self.released.append((job_id, token, failure.code))
        return Stale()


class Queue:
    def __init__(self):
        self.acked = []

    def ack(self, job_id):
        self.acked.append(job_id)


def test_what_a_store_could_not_hear_is_said_again_in_order(outage, events):
    jobs, queue = DeafJobs(), Queue()
    settle = Settler(jobs=jobs, queue=queue, outage=outage, tell=Teller("w", events.append))
    lost, done = new_job(new_asset(NOON), NOON), new_job(new_asset(NOON), NOON)
    failure = Failure(kind=FailureKind.CRASH, code="worker_crashed", message="it died")

    settle(Settlement(job=lost, token="t", failure=failure))
    settle(Settlement(job=done, token="u"))
    assert not settle.is_done
    assert queue.acked == []

    jobs.deaf = False
    settle.settle()
    assert settle.is_done
    assert jobs.released == [(lost.job_id, "t", "worker_crashed")]
    assert queue.acked == [done.job_id], "a delivery of a job that another run holds is not acknowledged"


def test_a_record_that_cannot_be_read_holds_nobody_up(outage, events):
    jobs, queue = DeafJobs(), Queue()
    jobs.deaf = False
    settle = Settler(jobs=jobs, queue=queue, outage=outage, tell=Teller("w", events.append))
    job = new_job(new_asset(NOON), NOON)

    settle(Settlement(job=job, token="garbage", failure=Failure(kind=FailureKind.CRASH, code="x", message="")))

    assert settle.is_done
    assert [(event.action, event.facts["code"]) for event in events] == [("job_failed", "corrupt_record")]
