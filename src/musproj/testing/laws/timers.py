"""What becomes due by itself."""

from datetime import timedelta

import pytest

from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import FailureKind, Job, JobStatus, WaitReason
from musproj.domain.ledger import MAX_LOSSES, Rules, Worker
from musproj.ports.jobs import Tick
from musproj.testing.clock import FakeClock
from musproj.testing.contract import LedgerContract
from musproj.testing.ledger import Ledger, OpenLedger
from musproj.testing.records import live_worker, new_worker
from musproj.testing.threads import at_once

HOUR = timedelta(hours=1)
MOMENT = timedelta(milliseconds=1)


def announce(ledger: Ledger, worker: Worker) -> None:
    """Give a worker's sign of life."""
    ledger.jobs.announce(live_worker(worker, ledger.now))


class LeaseTimerLaws(LedgerContract):
    """Lost workers, and outages that only look like them."""

    def test_a_lost_lease_is_found_once(self, ledger: Ledger) -> None:
        """The job waits again, in its old place, with one loss on record."""
        run = ledger.running(ledger.ready())
        announce(ledger, new_worker())
        ledger.live_through(29)
        ledger.clock.advance(1 - 0.001)
        assert ledger.jobs.tick().requeued == 0
        ledger.clock.advance(0.001)
        assert ledger.jobs.tick().requeued == 1
        assert ledger.jobs.tick().requeued == 0
        job = ledger.job(run.job)
        assert (job.status, job.wait_reason, job.run_at) == (JobStatus.QUEUED, WaitReason.RETRY, run.job.run_at)
        assert (job.lost, job.attempts, job.token, job.lease_until) == (1, 1, None, None)
        claimed = ledger.queue.claim(new_worker())
        assert claimed is not None
        assert (claimed.job.job_id, claimed.job.attempts) == (job.job_id, 2)

    def test_where_ticks_come_once_a_minute_a_minute_is_no_outage(
        self, open_ledger: OpenLedger, clock: FakeClock
    ) -> None:
        """Else every tick would prolong what the one before had prolonged, and nothing was ever lost."""
        ledger = open_ledger(clock, Rules(longest_tick=timedelta(minutes=1)))
        ledger.jobs.tick()
        run = ledger.running(ledger.ready())
        ledger.clock.advance(timedelta(minutes=1))
        assert ledger.jobs.tick().requeued == 1
        again = ledger.queue.claim(new_worker())
        assert again is not None
        ledger.clock.advance(timedelta(minutes=2) + MOMENT)
        tick = ledger.jobs.tick()
        assert (tick.requeued, tick.extended) == (0, 1)
        assert ledger.job(run.job).lost == 1

    def test_of_8_ticks_one_finds_it(self, ledger: Ledger) -> None:
        """Any number of processes may tick at the same moment."""
        asset = ledger.ready()
        runs = [ledger.running(asset) for _ in range(10)]
        ledger.jobs.tick()
        ledger.live_through(20)
        ledger.clock.advance(10)
        ticks = at_once([ledger.jobs.tick] * 8)
        assert sum(tick.requeued for tick in ticks) == 10
        assert sum(tick.extended for tick in ticks) == 0
        assert {ledger.job(run.job).lost for run in runs} == {1}

    def test_a_living_worker_keeps_its_job(self, ledger: Ledger) -> None:
        """For as long as it gives signs of life."""
        run, lost = ledger.running(ledger.ready()), ledger.running(ledger.ready())
        ledger.live_through(300, run)
        assert (ledger.job(run.job).status, ledger.job(run.job).lost) == (JobStatus.RUNNING, 0)
        assert ledger.job(lost.job).status is JobStatus.QUEUED

    def test_more_losses_than_one_page(self, ledger: Ledger) -> None:
        """One tick finds them all."""
        asset = ledger.ready()
        for _ in range(150):
            ledger.running(asset)
        ledger.jobs.tick()
        ledger.live_through(20)
        ledger.clock.advance(10)
        assert ledger.jobs.tick().requeued == 150

    def test_a_backlog_does_not_hide_a_lost_worker(self, ledger: Ledger) -> None:
        """However many jobs wait."""
        asset = ledger.ready()
        run = ledger.running(asset)
        for _ in range(250):
            ledger.submit(asset)
        ledger.lose_worker()
        assert ledger.job(run.job).lost == 1

    def test_ten_losses_are_the_end(self, ledger: Ledger) -> None:
        """A reserved number then goes to gc."""
        asset = ledger.ready()
        run = ledger.running(asset)
        number = ledger.reserve(run)
        for _ in range(MAX_LOSSES - 1):
            ledger.lose_worker()
            run = ledger.begin(run.job)
        assert ledger.garbage() == set()
        ledger.live_through(29)
        ledger.clock.advance(1)
        assert ledger.jobs.tick().ended == 1
        job = ledger.job(run.job)
        assert job.error is not None
        assert (job.status, job.error.code) == (JobStatus.FAILED, "worker_lost")
        assert ledger.garbage() == {(asset.asset_id, number)}

    def test_a_lost_run_that_was_to_stop_is_cancelled(self, ledger: Ledger) -> None:
        """It counts as ended, not as waiting."""
        run = ledger.running(ledger.ready())
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        ledger.live_through(29)
        ledger.clock.advance(1)
        tick = ledger.jobs.tick()
        assert (tick.ended, tick.requeued) == (1, 0)
        assert ledger.job(run.job).status is JobStatus.CANCELLED

    @pytest.mark.parametrize("ticked_before", [True, False])
    def test_an_outage_is_no_crash(self, ledger: Ledger, *, ticked_before: bool) -> None:
        """A lease that ended while nobody ticked is prolonged once; a dead worker is found after that."""
        dead, alive = ledger.running(ledger.ready()), ledger.running(ledger.ready())
        if ticked_before:
            ledger.jobs.tick()
        ledger.clock.advance(HOUR)
        tick = ledger.jobs.tick()
        assert (tick.extended, tick.requeued, tick.ended) == (2, 0, 0)
        assert ledger.jobs.tick().extended == 0
        ledger.live_through(29, alive)
        assert ledger.job(dead.job).status is JobStatus.RUNNING
        ledger.live_through(1, alive)
        assert (ledger.job(dead.job).status, ledger.job(dead.job).lost) == (JobStatus.QUEUED, 1)
        assert (ledger.job(alive.job).status, ledger.job(alive.job).lost) == (JobStatus.RUNNING, 0)

    def test_only_due_leases_are_prolonged(self, ledger: Ledger) -> None:
        """One that was renewed in time needs nothing."""
        due, live = ledger.running(ledger.ready()), ledger.running(ledger.ready())
        ledger.jobs.tick()
        ledger.clock.advance(20)
        ledger.beat(live)
        ledger.clock.advance(20)
        before = ledger.job(live.job)
        assert ledger.jobs.tick().extended == 1
        assert ledger.job(live.job) == before
        assert ledger.job(due.job).lost == 0

    def test_of_8_ticks_after_an_outage_one_prolongs(self, ledger: Ledger) -> None:
        """The others see that it was done."""
        run = ledger.running(ledger.ready())
        ledger.jobs.tick()
        ledger.clock.advance(HOUR)
        ticks = at_once([ledger.jobs.tick] * 8)
        assert sum(tick.extended for tick in ticks) == 1
        assert sum(tick.requeued for tick in ticks) == 0
        assert ledger.job(run.job).status is JobStatus.RUNNING

    def test_a_clock_that_went_back_locks_nothing_up(self, ledger: Ledger) -> None:
        """The last tick lies ahead: leases further ahead than two leases count as expired."""
        now = ledger.now
        ledger.clock.set(now + HOUR)
        run = ledger.running(ledger.ready())
        ledger.jobs.tick()
        ledger.clock.set(now)
        assert ledger.jobs.tick().requeued == 1
        assert ledger.job(run.job).lost == 1


class ExpiryLaws(LedgerContract):
    """Nothing waits for ever."""

    def test_what_waited_too_long_has_failed(self, ledger: Ledger) -> None:
        """Delayed or not; a running job goes on."""
        asset = ledger.ready()
        until = ledger.now + HOUR
        waiting = [ledger.submit(asset, expires_at=until, delay=delay) for delay in (HOUR * 0, HOUR * 5)]
        run = ledger.running(asset, "analyze", expires_at=until)
        ledger.clock.set(until - MOMENT)
        ledger.beat(run)
        assert ledger.jobs.tick().ended == 0
        ledger.clock.set(until)
        assert ledger.jobs.tick().ended == 2
        assert ledger.jobs.tick().ended == 0
        for job in waiting:
            ended = ledger.job(job)
            assert ended.error is not None
            assert (ended.status, ended.error.code) == (JobStatus.FAILED, "deadline_exceeded")
            assert ended.finished_at == until
        assert ledger.job(run.job).status is JobStatus.RUNNING

    def test_a_retry_that_expires_leaves_its_number_to_gc(self, ledger: Ledger) -> None:
        """As any other end without success."""
        asset = ledger.ready()
        run = ledger.running(asset, expires_at=ledger.now + HOUR)
        number = ledger.reserve(run)
        ledger.release(run, FailureKind.TRANSIENT)
        ledger.clock.advance(HOUR)
        ledger.jobs.tick()
        assert ledger.job(run.job).status is JobStatus.FAILED
        assert ledger.garbage() == {(asset.asset_id, number)}

    def test_a_tick_tells_when_the_next_job_comes_due(self, ledger: Ledger) -> None:
        """Of those that only wait for their time."""
        assert ledger.jobs.tick() == Tick()
        asset = ledger.ready()
        ledger.submit(asset)
        assert ledger.jobs.tick().next_run_at is None
        late, soon = ledger.submit(asset, delay=2 * HOUR), ledger.submit(asset, delay=HOUR)
        assert ledger.jobs.tick().next_run_at == soon.run_at
        ledger.clock.set(soon.run_at)
        assert ledger.jobs.tick().next_run_at == late.run_at


class AbilityLaws(LedgerContract):
    """Jobs that no live worker can run, and the workers."""

    def test_a_job_without_a_worker_says_so(self, ledger: Ledger) -> None:
        """It waits on, and says so no longer once somebody can run it."""
        job = ledger.submit(ledger.ready())
        announce(ledger, new_worker("other", types=["separate"]))
        assert self.reason(ledger, job) is WaitReason.NO_PROCESSOR
        assert ledger.job(job).status is JobStatus.QUEUED
        announce(ledger, new_worker("able", types=["enhance"]))
        assert self.reason(ledger, job) is None

    def test_a_need_must_be_met_too(self, ledger: Ledger) -> None:
        """By one worker that has it all."""
        job = ledger.submit(ledger.ready(), needs=("codecs", "model"))
        announce(ledger, new_worker("codecs", abilities=["codecs"]))
        announce(ledger, new_worker("model", abilities=["model"]))
        assert self.reason(ledger, job) is WaitReason.NO_PROCESSOR
        announce(ledger, new_worker("both", abilities=["model", "codecs"]))
        assert self.reason(ledger, job) is None

    def test_a_worker_that_can_run_it_does(self, ledger: Ledger) -> None:
        """Marked or not."""
        job = ledger.submit(ledger.ready())
        assert self.reason(ledger, job) is WaitReason.NO_PROCESSOR
        assert ledger.queue.claim(new_worker(types=["separate"])) is None
        claimed = ledger.queue.claim(new_worker())
        assert claimed is not None
        assert (claimed.job.job_id, claimed.job.wait_reason) == (job.job_id, None)

    def test_a_worker_that_ended_is_no_worker(self, ledger: Ledger) -> None:
        """It withdrew, or has been silent for too long."""
        job, worker = ledger.submit(ledger.ready()), new_worker()
        announce(ledger, worker)
        assert self.reason(ledger, job) is None
        ledger.jobs.withdraw(worker.worker_id)
        assert self.reason(ledger, job) is WaitReason.NO_PROCESSOR
        announce(ledger, worker)
        assert self.reason(ledger, job) is None
        ledger.clock.advance(45)
        assert self.reason(ledger, job) is None
        ledger.clock.advance(20)
        assert self.reason(ledger, job) is WaitReason.NO_PROCESSOR

    def test_a_job_that_is_not_due_keeps_its_reason(self, ledger: Ledger) -> None:
        """Nobody is missed before."""
        job = ledger.submit(ledger.ready(), delay=HOUR)
        assert self.reason(ledger, job) is WaitReason.DELAY
        ledger.clock.advance(HOUR)
        assert self.reason(ledger, job) is WaitReason.NO_PROCESSOR

    @pytest.mark.parametrize("kind", [FailureKind.INTERRUPTED, FailureKind.WAITING, FailureKind.THROTTLED])
    def test_missing_workers_cost_no_attempt(self, ledger: Ledger, kind: FailureKind) -> None:
        """A job that is to resume its attempt still does so after a deploy without any worker."""
        run = ledger.running(ledger.ready())
        ledger.release(run, kind)
        ledger.clock.advance(HOUR)
        ledger.jobs.tick()
        ledger.jobs.tick()
        assert ledger.begin(run.job).job.attempts == 1

    def test_workers_are_those_seen_in_the_last_minute(self, ledger: Ledger) -> None:
        """Each under its id, as it announced itself last."""
        worker = new_worker("one", types=["enhance"], abilities=["codecs"])
        first = live_worker(worker, ledger.now)
        ledger.jobs.announce(first)
        assert list(ledger.jobs.workers()) == [first]
        ledger.clock.advance(30)
        changed = live_worker(new_worker("one", types=["enhance", "separate"]), ledger.now)
        ledger.jobs.announce(changed)
        second = live_worker(new_worker("two"), ledger.now)
        ledger.jobs.announce(second)
        assert sorted(ledger.jobs.workers(), key=lambda seen: seen.worker_id) == [changed, second]
        ledger.jobs.withdraw("two")
        ledger.jobs.withdraw("two")
        assert list(ledger.jobs.workers()) == [changed]
        ledger.clock.advance(59)
        assert list(ledger.jobs.workers()) == [changed]
        ledger.clock.advance(2)
        assert list(ledger.jobs.workers()) == []

    def reason(self, ledger: Ledger, job: Job) -> WaitReason | None:
        """Tick; return why the job waits."""
        ledger.jobs.tick()
        return ledger.job(job).wait_reason
