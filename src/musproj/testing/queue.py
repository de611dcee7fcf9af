"""The laws of a `JobQueue`."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from musproj.domain.ids import DEFAULT_OWNER, JobId, new_job_id
from musproj.domain.job import FailureKind, JobStatus
from musproj.domain.ledger import Granted, Rules, Worker
from musproj.errors import BackendUnavailableError
from musproj.testing.clock import FakeClock
from musproj.testing.contract import LedgerContract, tells_of
from musproj.testing.ledger import Ledger, OpenLedger
from musproj.testing.records import SOMEBODY_ELSE, new_job, new_worker, source_version
from musproj.testing.threads import at_once, error_of

HOUR = timedelta(hours=1)


class ClaimLaws(LedgerContract):
    """The next job that a worker can run."""

    def test_a_claim_begins_the_job(self, ledger: Ledger) -> None:
        """As `begin` does, under a token of its own; a second claim finds nothing."""
        assert ledger.queue.claim(new_worker()) is None
        job = ledger.submit(ledger.ready())
        run = claim(ledger)
        assert run is not None
        assert run.job == ledger.job(job)
        assert (run.job.status, run.job.token, run.job.attempts) == (JobStatus.RUNNING, run.token, 1)
        assert run.job.worker == new_worker().worker_id
        assert claim(ledger) is None

    def test_each_run_has_its_own_token(self, ledger: Ledger) -> None:
        """Also of the same job."""
        ledger.submit(ledger.ready())
        tokens: set[str] = set()
        for _ in range(5):
            run = claim(ledger)
            assert run is not None
            tokens.add(run.token)
            ledger.release(run, FailureKind.INTERRUPTED)
            ledger.queue.ack(run.job.job_id)
        assert len(tokens) == 5

    def test_a_worker_gets_only_what_it_can_run(self, ledger: Ledger) -> None:
        """What it cannot run is not in its way, and waits for one that can."""
        asset = ledger.ready()
        other = ledger.submit(asset, "separate", priority=9)
        needy = ledger.submit(asset, "enhance", priority=9, needs=("codecs",))
        plain = ledger.submit(asset, "enhance")
        assert self.claimed(ledger, new_worker(types=["enhance"])) == [plain.job_id]
        assert self.claimed(ledger, new_worker(types=["enhance"], abilities=["codecs"])) == [needy.job_id]
        assert self.claimed(ledger, new_worker(types=["separate"])) == [other.job_id]

    def test_a_job_of_another_queue_is_not_claimed(self, ledger: Ledger) -> None:
        """Each queue has its workers."""
        asset = ledger.ready()
        ledger.submit(asset, queue="another-queue")
        mine = ledger.submit(asset)
        assert self.claimed(ledger, new_worker()) == [mine.job_id]

    def test_8_workers_share_100_jobs(self, ledger: Ledger) -> None:
        """Each is claimed once."""
        asset = ledger.ready()
        jobs = [ledger.submit(asset).job_id for _ in range(100)]
        claims = at_once([lambda: self.claimed(ledger, new_worker())] * 8)
        assert sorted(job_id for share in claims for job_id in share) == jobs

    def test_a_cancelled_job_is_not_claimed(self, ledger: Ledger) -> None:
        """The next one is."""
        asset = ledger.ready()
        cancelled, job = ledger.submit(asset), ledger.submit(asset)
        ledger.jobs.cancel(DEFAULT_OWNER, cancelled.job_id)
        assert self.claimed(ledger, new_worker()) == [job.job_id]

    def test_an_expired_job_is_not_claimed(self, ledger: Ledger) -> None:
        """It ends, by the claim or by the next tick."""
        asset = ledger.ready()
        expired = ledger.submit(asset, expires_at=ledger.now + HOUR, priority=5)
        job = ledger.submit(asset)
        ledger.clock.advance(HOUR)
        assert self.claimed(ledger, new_worker()) == [job.job_id]
        ledger.jobs.tick()
        assert ledger.job(expired).status is JobStatus.FAILED

    def test_the_jobs_of_a_confirm_are_claimed(self, ledger: Ledger) -> None:
        """They are submitted like any other."""
        asset = ledger.pending()
        job = new_job(asset, ledger.now)
        ledger.assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, ledger.now), [job])
        assert self.claimed(ledger, new_worker()) == [job.job_id]

    def claimed(self, ledger: Ledger, worker: Worker) -> list[JobId]:
        """Claim until there is nothing left for this worker."""
        return claimed(ledger, worker)


class OrderLaws(LedgerContract):
    """Which job is next."""

    def test_priority_then_time_then_id(self, ledger: Ledger) -> None:
        """The highest priority first, negative ones last; an earlier `run_at` before an earlier submit."""
        asset = ledger.ready()
        last = ledger.submit(asset, priority=-1)
        late = ledger.submit(asset, delay=timedelta(seconds=30))
        soon = ledger.submit(asset, delay=timedelta(seconds=20))
        plain = [ledger.submit(asset) for _ in range(3)]
        first = ledger.submit(asset, priority=5, delay=timedelta(seconds=10))
        ledger.clock.advance(60)
        jobs = [first, *plain, soon, late, last]
        assert claimed(ledger, new_worker()) == [job.job_id for job in jobs]

    def test_equal_times_go_by_id(self, ledger: Ledger) -> None:
        """So that the order is the same for everybody."""
        asset = ledger.ready()
        run_at = ledger.now + HOUR
        jobs = [ledger.submit(asset, run_at=run_at) for _ in range(6)]
        ledger.clock.advance(HOUR)
        assert claimed(ledger, new_worker()) == [job.job_id for job in jobs]

    def test_a_delayed_job_is_not_claimed_early(self, ledger: Ledger) -> None:
        """Whatever its priority."""
        asset = ledger.ready()
        delayed = ledger.submit(asset, delay=HOUR, priority=9)
        assert claim(ledger) is None
        ledger.clock.set(delayed.run_at - timedelta(milliseconds=1))
        assert claim(ledger) is None
        ledger.clock.set(delayed.run_at)
        ledger.jobs.tick()
        assert claimed(ledger, new_worker()) == [delayed.job_id]


class RedeliveryLaws(LedgerContract):
    """A job that did not end comes again."""

    def test_a_drained_job_comes_again_at_once(self, ledger: Ledger) -> None:
        """For another worker, whether or not its delivery was acknowledged."""
        for acknowledge in (True, False):
            job = ledger.submit(ledger.ready())
            run = claim(ledger)
            assert run is not None
            ledger.release(run, FailureKind.INTERRUPTED)
            if acknowledge:
                ledger.queue.ack(job.job_id)
            assert claimed(ledger, new_worker()) == [job.job_id]

    def test_a_failed_attempt_comes_again_after_its_backoff(self, ledger: Ledger) -> None:
        """Not before."""
        job = ledger.submit(ledger.ready())
        run = claim(ledger)
        assert run is not None
        ledger.release(run, FailureKind.TRANSIENT)
        ledger.queue.ack(job.job_id)
        run_at = ledger.job(job).run_at
        assert ledger.queue.next_run_at() == run_at
        assert claim(ledger) is None
        ledger.clock.set(run_at)
        ledger.jobs.tick()
        assert claimed(ledger, new_worker()) == [job.job_id]

    def test_a_lost_workers_job_comes_again(self, ledger: Ledger) -> None:
        """After the lease and a tick."""
        job = ledger.submit(ledger.ready())
        assert claim(ledger) is not None
        ledger.lose_worker()
        assert claimed(ledger, new_worker()) == [job.job_id]

    @pytest.mark.parametrize("ending", ["loss", "drain"])
    def test_what_was_begun_comes_before_what_came_meanwhile(self, ledger: Ledger, ending: str) -> None:
        """A job whose worker vanished must not wait for a backlog."""
        asset = ledger.ready()
        job = ledger.submit(asset)
        run = claim(ledger)
        assert run is not None
        later = [ledger.submit(asset).job_id for _ in range(30)]
        if ending == "loss":
            ledger.lose_worker()
        else:
            ledger.release(run, FailureKind.INTERRUPTED)
        assert claimed(ledger, new_worker()) == [job.job_id, *later]

    def test_an_ended_job_never_comes_again(self, ledger: Ledger) -> None:
        """Acknowledged or not."""
        asset = ledger.ready()
        for _ in range(2):
            ledger.submit(asset)
        done, failed = claim(ledger), claim(ledger)
        assert done is not None
        assert failed is not None
        ledger.finish(done)
        ledger.release(failed, FailureKind.PERMANENT)
        ledger.live_through(120)
        assert claim(ledger) is None

    def test_ack_is_repeatable(self, ledger: Ledger) -> None:
        """Also of a job that nobody knows."""
        run = claim_of(ledger)
        ledger.finish(run)
        ledger.queue.ack(run.job.job_id)
        ledger.queue.ack(run.job.job_id)
        ledger.queue.ack(new_job_id(ledger.now))


class SlotLaws(LedgerContract):
    """A full processor or owner keeps nobody else out."""

    def test_a_full_processor_is_left_out(self, ledger: Ledger) -> None:
        """Jobs of other types that come later are claimed."""
        asset, worker = ledger.ready(), new_worker(limits={"enhance": 2})
        enhance = [ledger.submit(asset, priority=5).job_id for _ in range(4)]
        other = ledger.submit(asset, "analyze")
        assert claimed(ledger, worker) == [*enhance[:2], other.job_id]

    @pytest.mark.parametrize("ending", ["commit", "release", "fail", "cancel", "loss"])
    def test_a_freed_slot_goes_to_the_next(self, ledger: Ledger, ending: str) -> None:
        """However the run ended that had it."""
        asset, worker = ledger.ready(), new_worker(limits={"enhance": 1})
        jobs = [ledger.submit(asset) for _ in range(2)]
        run = ledger.queue.claim(worker)
        assert run is not None
        assert ledger.queue.claim(worker) is None
        endings: dict[str, Callable[[], object]] = {
            "commit": lambda: ledger.finish(run),
            "release": lambda: ledger.release(run, FailureKind.TRANSIENT),
            "fail": lambda: ledger.release(run, FailureKind.PERMANENT),
            "cancel": lambda: self.stop(ledger, run),
            "loss": ledger.lose_worker,
        }
        endings[ending]()
        if ending == "loss":  # the lost job is as old as before and may come first
            assert ledger.queue.claim(worker) is not None
            return
        assert claimed(ledger, worker) == [jobs[1].job_id]

    def test_a_full_owner_is_left_out(self, open_ledger: OpenLedger, clock: FakeClock) -> None:
        """One owner with a hundred jobs keeps no other owner waiting."""
        ledger = open_ledger(clock, Rules(owner_concurrency=2))
        busy, quiet = ledger.ready(), ledger.ready(SOMEBODY_ELSE)
        many = [ledger.submit(busy, priority=5).job_id for _ in range(100)]
        one = ledger.submit(quiet).job_id
        assert claimed(ledger, new_worker()) == [*many[:2], one]
        ledger.finish(Granted(ledger.job(many[0]), ledger.job(many[0]).token or ""))
        assert claimed(ledger, new_worker()) == [many[2]]

    def test_both_limits_hold_together(self, open_ledger: OpenLedger, clock: FakeClock) -> None:
        """A free processor does not help a full owner, nor the other way round."""
        ledger = open_ledger(clock, Rules(owner_concurrency=1))
        busy, quiet = ledger.ready(), ledger.ready(SOMEBODY_ELSE)
        worker = new_worker(limits={"enhance": 1})
        first = ledger.submit(busy, "enhance").job_id
        ledger.submit(busy, "analyze")
        ledger.submit(quiet, "enhance")
        other = ledger.submit(quiet, "analyze").job_id
        assert claimed(ledger, worker) == [first, other]

    def stop(self, ledger: Ledger, run: Granted) -> None:
        """Cancel the running job and let its worker obey."""
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        ledger.release(run, FailureKind.INTERRUPTED)


class QueueReadLaws(LedgerContract):
    """How much waits, until when, and who is told."""

    def test_depth_counts_what_waits(self, ledger: Ledger) -> None:
        """Not what runs."""
        asset = ledger.ready()
        assert ledger.queue.depth() == 0
        for _ in range(3):
            ledger.submit(asset)
        assert ledger.queue.depth() == 3
        run = claim_of(ledger)
        assert ledger.queue.depth() == 2 + 1
        ledger.finish(run)
        ledger.queue.ack(run.job.job_id)
        assert ledger.queue.depth() == 3

    def test_the_next_time_is_that_of_the_first_delayed_job(self, ledger: Ledger) -> None:
        """Of those that only wait for it."""
        asset = ledger.ready()
        assert ledger.queue.next_run_at() is None
        ledger.submit(asset)
        assert ledger.queue.next_run_at() is None
        ledger.submit(asset, delay=2 * HOUR)
        soon = ledger.submit(asset, delay=HOUR)
        assert ledger.queue.next_run_at() == soon.run_at
        ledger.jobs.cancel(DEFAULT_OWNER, soon.job_id)
        assert ledger.queue.next_run_at() == ledger.now + 2 * HOUR - timedelta(milliseconds=1)

    def test_the_feed_tells_of_work(self, ledger: Ledger) -> None:
        """Of a new job, of one that was handed back, and of a slot that came free."""
        asset = ledger.ready()
        drained, done = ledger.running(asset), ledger.running(asset)
        changes: dict[str, Callable[[], object]] = {
            "submit": lambda: ledger.submit(asset),
            "drain": lambda: ledger.release(drained, FailureKind.INTERRUPTED),
            "slot": lambda: ledger.finish(done),
            "loss": partial(self.lose, ledger),
        }
        feed = ledger.queue.listen()
        try:
            silent = [name for name, change in changes.items() if not tells_of(feed, change)]
        finally:
            feed.close()
            feed.close()
        assert silent == []

    def lose(self, ledger: Ledger) -> None:
        """Let a worker vanish."""
        ledger.running(ledger.ready())
        ledger.lose_worker()

    def test_another_handle_is_told(self, ledger: Ledger, again: Ledger) -> None:
        """The API submits, a worker listens."""
        asset = ledger.ready()
        feed = ledger.queue.listen()
        assert tells_of(feed, lambda: again.submit(asset))
        feed.close()

    def test_close_is_repeatable(self, ledger: Ledger) -> None:
        """A second call does nothing."""
        ledger.queue.close()
        ledger.queue.close()

    def test_an_unreachable_store_is_told_as_such(self, cut_off: Ledger) -> None:
        """By every method that asks it."""
        calls: dict[str, Callable[[], object]] = {
            "claim": lambda: cut_off.queue.claim(new_worker()),
            "depth": cut_off.queue.depth,
            "next_run_at": cut_off.queue.next_run_at,
        }
        silent = [name for name, call in calls.items() if error_of(call, BackendUnavailableError) is None]
        assert silent == []


class JobQueueContract(ClaimLaws, OrderLaws, RedeliveryLaws, SlotLaws, QueueReadLaws):
    """Override `open_ledger`; a queue without priorities overrides the cases of `OrderLaws` with a reason."""


def claim(ledger: Ledger) -> Granted | None:
    """Claim for a worker that can run everything."""
    return ledger.queue.claim(new_worker())


def claim_of(ledger: Ledger) -> Granted:
    """Submit a job of the highest priority and claim it."""
    job = ledger.submit(ledger.ready(), priority=100)
    run = claim(ledger)
    assert run is not None
    assert run.job.job_id == job.job_id
    return run


def claimed(ledger: Ledger, worker: Worker) -> list[JobId]:
    """Claim until there is nothing left for this worker; return the ids in that order."""
    found: list[JobId] = []
    while run := ledger.queue.claim(worker):
        found.append(run.job.job_id)
    return found
