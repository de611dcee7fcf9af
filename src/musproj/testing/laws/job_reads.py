"""Asking for jobs: one, lists, counts, changes."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from musproj.domain.ids import DEFAULT_OWNER, JobId, Owner, new_job_id, new_token
from musproj.domain.job import FailureKind, JobStatus
from musproj.domain.ledger import Failure
from musproj.errors import BackendUnavailableError, InvalidCursorError, JobNotFoundError
from musproj.ports.jobs import Beat, JobFilter, Publication
from musproj.testing.contract import LedgerContract, hush, tells_of
from musproj.testing.laws.asset_records import MALFORMED_CURSORS
from musproj.testing.ledger import Ledger
from musproj.testing.records import SOMEBODY_ELSE, live_worker, new_asset, new_job, new_worker
from musproj.testing.threads import at_once, error_of

ALL = JobFilter()


class JobReadLaws(LedgerContract):
    """One job, and lists of them."""

    def test_an_unknown_job_is_not_found(self, ledger: Ledger) -> None:
        """By its owner's request; workers get None."""
        job_id = new_job_id(ledger.now)
        with pytest.raises(JobNotFoundError):
            ledger.jobs.get(DEFAULT_OWNER, job_id)
        assert ledger.jobs.find(job_id) is None

    def test_a_foreign_job_is_an_unknown_one(self, ledger: Ledger) -> None:
        """But not to workers."""
        job = ledger.submit(ledger.ready())
        with pytest.raises(JobNotFoundError):
            ledger.jobs.get(SOMEBODY_ELSE, job.job_id)
        assert ledger.jobs.find(job.job_id) == job

    def test_newest_first_in_pages(self, ledger: Ledger) -> None:
        """Each once, and the last page says that it is the last."""
        asset = ledger.ready()
        made = [ledger.submit(asset).job_id for _ in range(6)]
        for limit in (1, 2, 4, 6, 7):
            assert self.walk(ledger, ALL, limit) == made[::-1]

    def test_what_happens_meanwhile_shifts_nothing(self, ledger: Ledger) -> None:
        """New jobs, and jobs that change, between two pages."""
        asset = ledger.ready()
        made = [ledger.submit(asset).job_id for _ in range(6)]
        page = ledger.jobs.list(DEFAULT_OWNER, ALL, limit=3)
        ledger.submit(asset)
        ledger.jobs.cancel(DEFAULT_OWNER, made[3])
        ledger.begin(ledger.job(made[1]))
        rest = ledger.jobs.list(DEFAULT_OWNER, ALL, limit=10, cursor=page.next_cursor)
        assert [job.job_id for job in (*page.items, *rest.items)] == made[::-1]
        assert [job.status for job in rest.items] == [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.QUEUED]

    def test_a_walk_while_others_write_is_whole(self, ledger: Ledger) -> None:
        """Every job that was there before is seen once."""
        asset = ledger.ready()
        made = [ledger.submit(asset).job_id for _ in range(40)]

        def write() -> list[JobId]:
            for _ in range(20):
                ledger.publish(asset)
            return []

        calls: list[Callable[[], list[JobId]]] = [partial(self.walk, ledger, ALL, 3), write]
        seen, _ = at_once(calls)
        assert [job_id for job_id in seen if job_id in set(made)] == made[::-1]
        assert len(seen) == len(set(seen))

    def test_by_status_and_asset(self, ledger: Ledger) -> None:
        """And by both."""
        first, second = ledger.ready(), ledger.ready()
        done, waiting, other = ledger.publish(first), ledger.submit(first), ledger.submit(second)
        assert self.walk(ledger, JobFilter(status=JobStatus.QUEUED), 1) == [other.job_id, waiting.job_id]
        assert self.walk(ledger, JobFilter(asset_id=first.asset_id), 1) == [waiting.job_id, done.job_id]
        both = JobFilter(asset_id=first.asset_id, status=JobStatus.SUCCEEDED)
        assert self.walk(ledger, both, 1) == [done.job_id]
        assert self.walk(ledger, JobFilter(status=JobStatus.FAILED), 1) == []

    def test_by_time(self, ledger: Ledger) -> None:
        """From `created_after` on, up to before `created_before`."""
        asset = ledger.ready()
        made = [ledger.submit(asset) for _ in range(4)]
        between = JobFilter(created_after=made[1].created_at, created_before=made[3].created_at)
        assert self.walk(ledger, between, 1) == [made[2].job_id, made[1].job_id]

    def test_an_owner_sees_only_their_own(self, ledger: Ledger) -> None:
        """Also where they filter by another's asset."""
        mine, foreign = ledger.ready(), ledger.ready(SOMEBODY_ELSE)
        job = ledger.submit(mine)
        ledger.submit(foreign)
        assert self.walk(ledger, ALL, 10) == [job.job_id]
        assert self.walk(ledger, JobFilter(asset_id=foreign.asset_id), 10) == []
        assert ledger.jobs.list(Owner("nobody"), ALL, limit=10).items == ()

    @pytest.mark.parametrize("cursor", MALFORMED_CURSORS)
    def test_a_malformed_cursor_is_refused(self, ledger: Ledger, cursor: str) -> None:
        """It came from nowhere."""
        with pytest.raises(InvalidCursorError):
            ledger.jobs.list(DEFAULT_OWNER, ALL, limit=10, cursor=cursor)

    def test_counts(self, ledger: Ledger) -> None:
        """Every state is named; of one owner or of all."""
        assert ledger.jobs.counts() == dict.fromkeys(JobStatus, 0)
        asset, foreign = ledger.ready(), ledger.ready(SOMEBODY_ELSE)
        ledger.publish(asset)
        ledger.running(asset)
        ledger.release(ledger.running(asset), FailureKind.PERMANENT)
        ledger.jobs.cancel(DEFAULT_OWNER, ledger.submit(asset).job_id)
        for _ in range(2):
            ledger.submit(asset)
        ledger.submit(foreign)
        assert ledger.jobs.counts(DEFAULT_OWNER) == dict.fromkeys(JobStatus, 1) | {JobStatus.QUEUED: 2}
        assert ledger.jobs.counts() == dict.fromkeys(JobStatus, 1) | {JobStatus.QUEUED: 3}
        assert ledger.jobs.counts(Owner("nobody")) == dict.fromkeys(JobStatus, 0)

    def walk(self, ledger: Ledger, filters: JobFilter, limit: int) -> list[JobId]:
        """Go through all pages."""
        seen: list[JobId] = []
        cursor = None
        while True:
            page = ledger.jobs.list(DEFAULT_OWNER, filters, limit=limit, cursor=cursor)
            assert len(page.items) <= limit
            seen += [job.job_id for job in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return seen


class ChangeFeedLaws(LedgerContract):
    """A waiter need not ask all the time."""

    def test_the_feed_tells_of_jobs_and_assets(self, ledger: Ledger) -> None:
        """Of each change that a client may be waiting for."""
        asset, pending = ledger.ready(), ledger.pending()
        run, waiting = ledger.running(asset), ledger.submit(asset)
        beat = Beat(job_id=run.job.job_id, token=run.token, progress=50)
        changes: dict[str, Callable[[], object]] = {
            "submit": lambda: ledger.submit(asset),
            "progress": lambda: ledger.jobs.beat([beat]),
            "cancel": lambda: ledger.jobs.cancel(DEFAULT_OWNER, waiting.job_id),
            "commit": lambda: ledger.finish(run),
            "confirm": lambda: ledger.assets.rename(DEFAULT_OWNER, pending.asset_id, "renamed"),
        }
        feed = ledger.jobs.listen()
        try:
            silent = [name for name, change in changes.items() if not tells_of(feed, change)]
        finally:
            feed.close()
        assert silent == []

    def test_every_feed_is_told(self, ledger: Ledger) -> None:
        """One reader takes nothing from another."""
        asset = ledger.ready()
        feeds = [ledger.jobs.listen() for _ in range(2)]
        for feed in feeds:
            hush(feed)
        ledger.submit(asset)
        assert [tells_of(feed, lambda: ledger.submit(asset)) for feed in feeds] == [True, True]
        for feed in feeds:
            feed.close()

    def test_another_handle_is_told(self, ledger: Ledger, again: Ledger) -> None:
        """A job that a worker ends is waited for in another process."""
        asset = ledger.ready()
        run = ledger.running(asset)
        feed = ledger.jobs.listen()
        assert tells_of(feed, lambda: again.finish(run))
        feed.close()

    def test_a_feed_says_how_often_to_look(self, ledger: Ledger) -> None:
        """And can be closed twice."""
        feed = ledger.jobs.listen()
        assert 0 < feed.interval <= 60
        descriptor = feed.fileno()
        assert descriptor is None or descriptor >= 0
        feed.close()
        feed.close()


class JobBackendLaws(LedgerContract):
    """Other handles, and a store that cannot be reached."""

    def test_another_handle_goes_on(self, ledger: Ledger, again: Ledger) -> None:
        """Durable on return: what one process began, another one ends."""
        asset = ledger.ready()
        run = ledger.running(asset)
        assert again.job(run.job) == ledger.job(run.job)
        number = ledger.reserve(run)
        assert again.finish(run).created_version == number
        assert ledger.numbers(asset) == [1, number]

    def test_two_handles_never_get_the_same_number(self, ledger: Ledger, again: Ledger) -> None:
        """Nor the same job."""
        asset = ledger.ready()
        runs = [ledger.running(asset) for _ in range(8)]
        handles = [ledger, again] * 4
        numbers = at_once([partial(it.reserve, run) for it, run in zip(handles, runs, strict=True)])
        assert sorted(numbers) == list(range(2, 10))
        job = ledger.submit(asset)
        claims = at_once([partial(it.queue.claim, new_worker()) for it in handles])
        assert [claim.job.job_id for claim in claims if claim is not None] == [job.job_id]

    def test_an_unreachable_store_is_told_as_such(self, ledger: Ledger, cut_off: Ledger) -> None:
        """By every method."""
        job_id, token, worker = new_job_id(ledger.now), new_token(), new_worker()
        failure = Failure(kind=FailureKind.TRANSIENT, code="c", message="m")
        jobs = cut_off.jobs
        calls: dict[str, Callable[[], object]] = {
            "submit": lambda: jobs.submit(new_job(new_asset(ledger.now), ledger.now)),
            "get": lambda: jobs.get(DEFAULT_OWNER, job_id),
            "find": lambda: jobs.find(job_id),
            "list": lambda: jobs.list(DEFAULT_OWNER, ALL, limit=10),
            "begin": lambda: jobs.begin(job_id, worker, token),
            "beat": lambda: jobs.beat([Beat(job_id=job_id, token=token)]),
            "reserve": lambda: jobs.reserve(job_id, token),
            "commit": lambda: jobs.commit(job_id, token, Publication()),
            "release": lambda: jobs.release(job_id, token, failure),
            "cancel": lambda: jobs.cancel(DEFAULT_OWNER, job_id),
            "tick": jobs.tick,
            "announce": lambda: jobs.announce(live_worker(worker, ledger.now)),
            "withdraw": lambda: jobs.withdraw(worker.worker_id),
            "workers": jobs.workers,
            "counts": jobs.counts,
        }
        silent = [name for name, call in calls.items() if error_of(call, BackendUnavailableError) is None]
        assert silent == []


class HistoryLaws(LedgerContract):
    """One long life, told by one record."""

    def test_a_hard_life_ends_in_one_version(self, ledger: Ledger) -> None:
        """Crash, drain, lost worker, remote wait, late commit of an old run: one effect."""
        asset = ledger.ready()
        first = ledger.running(asset)
        ledger.release(first, FailureKind.CRASH, "worker_crashed")
        ledger.clock.advance(timedelta(minutes=1))
        second = ledger.begin(first.job)
        number = ledger.reserve(second)
        ledger.release(second, FailureKind.INTERRUPTED)
        third = ledger.begin(first.job)
        ledger.lose_worker()
        fourth = ledger.begin(first.job)
        ledger.release(fourth, FailureKind.WAITING, retry_after=timedelta(minutes=5))
        ledger.clock.advance(timedelta(minutes=5))
        fifth = ledger.begin(first.job)
        late = ledger.publication(third, number)
        ledger.jobs.commit(first.job.job_id, third.token, late)
        job = ledger.finish(fifth)
        assert (job.created_version, job.attempts) == (number, 3)
        assert (job.crashes, job.lost, job.interrupts, job.failures) == (1, 1, 1, 0)
        assert [entry.kind for entry in job.history] == [FailureKind.CRASH, FailureKind.LOST]
        assert ledger.numbers(asset) == [1, number]
