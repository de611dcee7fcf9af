"""A crash before and after every call of a service and every save: one payment, one version, nothing left behind.

What was tried is printed.
"""

import random
import sys
from collections import Counter

import attrs
import pytest

from musproj.domain.job import JobStatus
from musproj.testing.remote import RemoteHarness

KINDS = ["auphonic", "lalal", "lalal-none"]
"""`lalal-none`: the harshest reading of its docs, in which a key is never taken twice."""
PAIRS = 60
LOSABLE = ("lalal.submit:after", "jobs.park:before")
"""Between these, only the service knows the id of what was bought."""


@attrs.define
class Tally:
    """How the jobs of one matrix ended."""

    name: str
    points: int = 0
    finished: int = 0
    twice: int = 0
    strays: int = 0
    """Uploads of LALAL that no record knew of; they expire by themselves."""
    ended: Counter[str] = attrs.field(factory=Counter)
    """Codes of those that failed."""

    def add(self, harness: RemoteHarness, job) -> None:
        self.points += 1
        self.finished += job.status is JobStatus.SUCCEEDED
        self.twice += any(count > 1 for count in harness.bills().values())
        self.strays += harness.fakes.state()["live"]
        if job.error is not None:
            self.ended[job.error.code] += 1

    def tell(self, capsys) -> None:
        with capsys.disabled():
            sys.stdout.write(
                f"\n{self.name}: {self.points} points, billed twice {self.twice}, finished {self.finished}, "
                f"else {dict(self.ended)}, strays {self.strays}\n"
            )


def options_of(kind: str) -> dict[str, str]:
    return {"key_window": "none"} if kind == "lalal-none" else {}


def run_at(harness: RemoteHarness, kind: str, crashes, *, lose: int = 0, **params):
    """Return the job after crashes at these checkpoints; it has the fakes for itself."""
    job_type = params.pop("type", kind.partition("-")[0])
    harness.fakes.reset(**options_of(kind))
    return harness.drive(harness.submit(job_type, **params), crashes=crashes, lose=lose)


def checkpoints(harness: RemoteHarness, kind: str, **params) -> list[str]:
    """Return the names of all checkpoints of a run to which nothing happens."""
    job = run_at(harness, kind, [], **params)
    assert job.status is JobStatus.SUCCEEDED, job
    return list(harness.points.names)


def check(harness: RemoteHarness, job, *, may_lose: bool = False, promised: bool = True) -> None:
    uploads = sum(call.line == "POST /api/v1/upload/" for call in harness.fakes.requests)
    harness.check(job, strays=max(0, uploads - 1))
    if job.status is JobStatus.SUCCEEDED:
        if promised:
            assert harness.result(job) == harness.promised(job)
        return
    assert job.error is not None
    assert job.error.code == "remote_lost", job.error
    assert may_lose, harness.points.crashed
    assert job.remote.cost.state == "maybe"


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_at_any_checkpoint_pays_once_and_publishes_once(open_harness, kind, store, capsys):
    harness = open_harness(store)
    names = checkpoints(harness, kind)
    tally = Tally(f"{kind} on {store}")
    for number, name in enumerate(names, start=1):
        job = run_at(harness, kind, [number])
        assert harness.points.crashed == [name]
        check(harness, job, may_lose=kind == "lalal-none" and name in LOSABLE)
        tally.add(harness, job)
    tally.tell(capsys)
    assert tally.points - tally.finished <= 2


@pytest.mark.parametrize("kind", ["auphonic", "lalal"])
def test_the_same_on_redis_at_every_fourth_checkpoint(open_harness, kind, capsys):
    harness = open_harness("redis")
    names = checkpoints(harness, kind)
    tally = Tally(f"{kind} on redis")
    for number in range(1, len(names) + 1, 4):
        job = run_at(harness, kind, [number])
        check(harness, job)
        tally.add(harness, job)
    tally.tell(capsys)
    assert tally.finished == tally.points


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_crash_while_it_recovers_changes_nothing(harness, kind, capsys):
    names = checkpoints(harness, kind)
    pairs = [(first, second) for first in range(1, len(names) + 1) for second in range(1, len(names) + 1)]
    tally = Tally(f"{kind}, two crashes")
    for pair in random.Random(kind).sample(pairs, PAIRS):
        job = run_at(harness, kind, pair)
        check(harness, job, may_lose=kind == "lalal-none" and bool({*LOSABLE} & {*harness.points.crashed}))
        tally.add(harness, job)
    tally.tell(capsys)


@pytest.mark.parametrize("lose", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_records_that_lost_their_last_saves_are_never_paid_for_again(harness, kind, lose, capsys):
    names = checkpoints(harness, kind)
    tally = Tally(f"{kind}, {lose} saves lost")
    for number in range(1, len(names) + 1):
        job = run_at(harness, kind, [number], lose=lose)
        uploads = sum(call.line == "POST /api/v1/upload/" for call in harness.fakes.requests)
        assert set(harness.bills().values()) == {1}, harness.points.crashed
        harness.check(job, bills=1, strays=uploads)
        if job.status is JobStatus.SUCCEEDED:
            assert harness.result(job) == harness.promised(job)
        else:
            assert job.error.code in {"remote_lost", "remote_result_expired"}, (harness.points.crashed, job.error)
            # Auphonic finds everything again, but what was deleted there after the commit that was lost.
            assert kind != "auphonic" or "auphonic.cleanup:after" in harness.points.names
        tally.add(harness, job)
    tally.tell(capsys)


@pytest.mark.parametrize(
    ("kind", "first"),
    [("auphonic", {"type": "enhance", "params": {"engine": "auphonic"}}), ("lalal", {"type": "lalal"})],
)
def test_a_chain_killed_in_a_later_step_pays_once_and_stores_nothing_between(harness, kind, first, capsys):
    harness.is_fine = True
    steps = [first, {"type": "normalize"}, {"type": "trim"}]
    names = checkpoints(harness, kind, type="chain", steps=steps)
    tally = Tally(f"chain that begins with {kind}")
    for number, name in enumerate(names, start=1):
        job = run_at(harness, kind, [number], type="chain", steps=steps)
        assert harness.points.crashed == [name]
        check(harness, job, promised=False)
        tally.add(harness, job)
        stored = [stored.key for stored in harness.mp.opened_storage.storage.list(f"assets/{harness.asset_id}/")]
        listed = {file.object_key for version in harness.versions() for file in version.files}
        assert set(stored) == listed
    tally.tell(capsys)
    assert tally.finished == tally.points
