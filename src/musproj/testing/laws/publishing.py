"""Reserve and commit: the only way to a version."""

from collections.abc import Callable
from functools import partial

import attrs
import pytest

from musproj.domain.ids import DEFAULT_OWNER, new_job_id, new_token
from musproj.domain.job import FailureKind, JobStatus
from musproj.domain.ledger import (
    AssetDeleted,
    CancelledFirst,
    CommitAnswer,
    Committed,
    Ended,
    Granted,
    NumberTaken,
    ReserveAnswer,
    Reserved,
    Stale,
)
from musproj.errors import VersionNotFoundError
from musproj.ports.jobs import Publication
from musproj.testing.contract import LedgerContract, need
from musproj.testing.ledger import Ledger
from musproj.testing.records import made_attachment, made_version
from musproj.testing.threads import at_once

RESERVING_THREADS = 8
RESERVATIONS_EACH = 300


class ReserveLaws(LedgerContract):
    """A number belongs to one job, for ever."""

    def test_a_job_has_one_number(self, ledger: Ledger) -> None:
        """The same on each call; the first after the source is 2."""
        run = ledger.running(ledger.ready())
        assert [ledger.reserve(run) for _ in range(3)] == [2, 2, 2]
        assert ledger.job(run.job).reserved_version == 2

    def test_a_number_shows_nothing(self, ledger: Ledger) -> None:
        """Until it is published."""
        asset = ledger.ready()
        ledger.reserve(ledger.running(asset))
        after = ledger.asset(asset)
        assert (after.latest_version, after.head, after.version_count) == (1, 1, 1)
        assert ledger.numbers(asset) == [1]

    def test_the_next_attempt_has_the_same_number(self, ledger: Ledger) -> None:
        """After a release and after a lost lease."""
        run = ledger.running(ledger.ready())
        number = ledger.reserve(run)
        ledger.release(run, FailureKind.INTERRUPTED)
        run = ledger.begin(run.job)
        assert ledger.reserve(run) == number
        ledger.clock.advance(ledger.rules.lease)
        assert ledger.reserve(ledger.begin(run.job)) == number

    def test_two_jobs_have_two_numbers(self, ledger: Ledger) -> None:
        """Each asset counts by itself."""
        asset, other = ledger.ready(), ledger.ready()
        assert [ledger.reserve(ledger.running(asset)) for _ in range(3)] == [2, 3, 4]
        assert ledger.reserve(ledger.running(other)) == 2

    def test_a_number_is_never_given_back(self, ledger: Ledger) -> None:
        """Neither by a failure, a cancel, nor a number that was dropped: its prefix is gc's."""
        asset = ledger.ready()
        failed, cancelled, dropped = (ledger.running(asset) for _ in range(3))
        assert [ledger.reserve(run) for run in (failed, cancelled, dropped)] == [2, 3, 4]
        ledger.release(failed, FailureKind.PERMANENT)
        assert ledger.reserve(ledger.running(asset)) == 5
        ledger.jobs.cancel(DEFAULT_OWNER, cancelled.job.job_id)
        ledger.release(cancelled, FailureKind.INTERRUPTED)
        assert ledger.reserve(ledger.running(asset)) == 6
        assert ledger.reserve(dropped, above=4) == 7
        assert ledger.reserve(ledger.running(asset)) == 8
        assert ledger.garbage() == {(asset.asset_id, 2), (asset.asset_id, 3), (asset.asset_id, 4)}

    def test_above_drops_what_is_not_above(self, ledger: Ledger) -> None:
        """A number that is higher already stays."""
        asset = ledger.ready()
        run = ledger.running(asset)
        assert [ledger.reserve(run, above) for above in (0, 1, 2, 2, 1, 3, 10)] == [2, 2, 3, 3, 3, 4, 11]
        assert ledger.reserve(run) == 11
        assert ledger.reserve(ledger.running(asset)) == 12
        assert ledger.garbage() == {(asset.asset_id, number) for number in (2, 3, 4)}

    def test_a_first_number_may_be_asked_above_another(self, ledger: Ledger) -> None:
        """Nothing is dropped then."""
        run = ledger.running(ledger.ready())
        assert ledger.reserve(run, above=7) == 8
        assert ledger.garbage() == set()

    def test_only_the_running_job_reserves(self, ledger: Ledger) -> None:
        """Neither a wrong token, nor a job that waits or has ended, nor an unknown one."""
        asset = ledger.ready()
        run, waiting, ended = ledger.running(asset), ledger.running(asset), ledger.running(asset)
        ledger.release(waiting, FailureKind.TRANSIENT)
        ledger.finish(ended)
        before = ledger.asset(asset)
        for job_id, token in (
            (run.job.job_id, new_token()),
            (waiting.job.job_id, waiting.token),
            (ended.job.job_id, ended.token),
            (new_job_id(ledger.now), run.token),
        ):
            assert ledger.jobs.reserve(job_id, token) == Stale()
        assert ledger.asset(asset) == before

    def test_a_deleted_asset_has_no_numbers(self, ledger: Ledger) -> None:
        """Not for a job that runs on, not after the purge."""
        asset = ledger.ready()
        run = ledger.running(asset)
        ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        assert ledger.jobs.reserve(run.job.job_id, run.token) == AssetDeleted()
        ledger.assets.purge(asset.asset_id)
        assert ledger.jobs.reserve(run.job.job_id, run.token) == AssetDeleted()

    def test_threads_never_get_the_same_number(self, ledger: Ledger) -> None:
        """Eight runs, 300 numbers each, one asset: 2,400 different ones without a gap."""
        asset = ledger.ready()
        runs = [ledger.running(asset) for _ in range(RESERVING_THREADS)]

        def reserve(run: Granted) -> list[int]:
            numbers = [ledger.reserve(run)]
            while len(numbers) < RESERVATIONS_EACH:
                numbers.append(ledger.reserve(run, above=numbers[-1]))
            return numbers

        numbers = [number for share in at_once([partial(reserve, run) for run in runs]) for number in share]
        assert sorted(numbers) == list(range(2, 2 + RESERVING_THREADS * RESERVATIONS_EACH))
        assert ledger.asset(asset).sequence == max(numbers)

    def test_threads_of_one_run_get_one_number(self, ledger: Ledger) -> None:
        """A repeat whose first reply was lost may meet itself."""
        run = ledger.running(ledger.ready())
        calls: list[Callable[[], ReserveAnswer]] = [lambda: ledger.jobs.reserve(run.job.job_id, run.token)] * 16
        assert at_once(calls) == [Reserved(2)] * 16


class CommitLaws(LedgerContract):
    """Published and finished in one step."""

    def test_a_commit_publishes_and_finishes(self, ledger: Ledger) -> None:
        """Version, asset and job change together."""
        asset = ledger.ready()
        run = ledger.running(asset)
        publication = ledger.publication(run, ledger.reserve(run))
        publication = attrs.evolve(publication, result={"integratedLufs": -16.0, "warnings": []})
        before, now = ledger.job(run.job), ledger.clock.advance(5)
        answer = ledger.jobs.commit(run.job.job_id, run.token, publication)
        job = ledger.job(run.job)
        assert answer == Committed(job)
        assert job == before.succeed(now=now, created_version=2, result=publication.result)
        assert (job.status, job.progress, job.finished_at) == (JobStatus.SUCCEEDED, 100, now)
        assert ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 2) == publication.version
        after = ledger.asset(asset)
        assert (after.latest_version, after.version_count, after.head) == (2, 2, 1)
        assert after.revision > asset.revision

    def test_a_commit_is_repeatable(self, ledger: Ledger) -> None:
        """The answer to a repeat is the first effect, and nothing is doubled."""
        asset = ledger.ready()
        run = ledger.running(asset)
        publication = ledger.publication(run, ledger.reserve(run), moves_head=True)
        ledger.jobs.commit(run.job.job_id, run.token, publication)
        job, after = ledger.job(run.job), ledger.asset(asset)
        ledger.clock.advance(60)
        assert ledger.jobs.commit(run.job.job_id, run.token, publication) == Committed(job, again=True)
        assert (ledger.job(run.job), ledger.asset(asset), ledger.numbers(asset)) == (job, after, [1, 2])

    def test_of_16_equal_commits_one_is_the_first(self, ledger: Ledger) -> None:
        """The others are repeats."""
        asset = ledger.ready()
        run = ledger.running(asset)
        publication = ledger.publication(run, ledger.reserve(run))
        calls: list[Callable[[], CommitAnswer]] = [
            lambda: ledger.jobs.commit(run.job.job_id, run.token, publication)
        ] * 16
        answers = at_once(calls)
        assert sorted(isinstance(answer, Committed) and answer.again for answer in answers) == [False] + [True] * 15
        assert ledger.asset(asset).version_count == 2

    def test_a_stale_commit_is_refused(self, ledger: Ledger) -> None:
        """The run that took over publishes under the same number."""
        asset = ledger.ready()
        old = ledger.running(asset)
        publication = ledger.publication(old, ledger.reserve(old))
        ledger.clock.advance(ledger.rules.lease)
        new = ledger.begin(old.job)
        before = ledger.job(new.job)
        assert ledger.jobs.commit(old.job.job_id, old.token, publication) == Stale()
        assert (ledger.job(new.job), ledger.numbers(asset)) == (before, [1])
        assert ledger.finish(new).created_version == 2
        assert ledger.jobs.commit(old.job.job_id, old.token, publication) == Stale()

    def test_a_run_that_is_over_cannot_commit(self, ledger: Ledger) -> None:
        """Neither one that was handed back, nor one that failed, nor an unknown one."""
        asset = ledger.ready()
        waiting, failed = ledger.running(asset), ledger.running(asset)
        publications = [ledger.publication(run, ledger.reserve(run)) for run in (waiting, failed)]
        ledger.release(waiting, FailureKind.TRANSIENT)
        ledger.release(failed, FailureKind.PERMANENT)
        for run, publication in zip((waiting, failed), publications, strict=True):
            before = ledger.job(run.job)
            assert ledger.jobs.commit(run.job.job_id, run.token, publication) == Stale()
            assert ledger.job(run.job) == before
        assert ledger.jobs.commit(new_job_id(ledger.now), failed.token, publications[1]) == Stale()
        assert ledger.numbers(asset) == [1]

    def test_an_expired_lease_alone_refuses_nothing(self, ledger: Ledger) -> None:
        """Where nobody has begun the job since, a worker that was cut off may commit."""
        asset = ledger.ready()
        run = ledger.running(asset)
        ledger.clock.advance(10 * ledger.rules.lease)
        ledger.finish(run)
        assert ledger.numbers(asset) == [1, 2]

    def test_a_version_carries_the_reserved_number(self, ledger: Ledger) -> None:
        """Neither one that was never reserved, nor one that was dropped, nor another job's."""
        asset = ledger.ready()
        run, other = ledger.running(asset), ledger.running(asset)
        assert ledger.jobs.commit(run.job.job_id, run.token, ledger.publication(run, 2)) == Stale()
        dropped, foreign = ledger.reserve(run), ledger.reserve(other)
        ledger.reserve(run, above=dropped)
        for number in (dropped, foreign, 99):
            publication = ledger.publication(run, number)
            assert ledger.jobs.commit(run.job.job_id, run.token, publication) == Stale()
            with pytest.raises(VersionNotFoundError):
                ledger.assets.version(DEFAULT_OWNER, asset.asset_id, number)
        assert ledger.finish(run).created_version == 4

    def test_a_cancel_that_came_first_wins(self, ledger: Ledger) -> None:
        """The job ends as cancelled, publishes nothing, and leaves its prefix to gc; a repeat hears the same."""
        asset = ledger.ready()
        run = ledger.running(asset)
        publication = ledger.publication(run, ledger.reserve(run))
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        answer = ledger.jobs.commit(run.job.job_id, run.token, publication)
        job = ledger.job(run.job)
        assert answer == CancelledFirst(job)
        assert (job.status, job.created_version, job.finished_at) == (JobStatus.CANCELLED, None, ledger.now)
        ledger.clock.advance(60)
        assert ledger.jobs.commit(run.job.job_id, run.token, publication) == CancelledFirst(job)
        assert ledger.numbers(asset) == [1]
        assert ledger.garbage() == {(asset.asset_id, 2)}

    def test_a_deletion_that_came_first_wins(self, ledger: Ledger) -> None:
        """Nothing is published for a tombstone."""
        asset = ledger.ready()
        run = ledger.running(asset)
        publication = ledger.publication(run, ledger.reserve(run))
        deleted = ledger.assets.delete(DEFAULT_OWNER, asset.asset_id, now=ledger.now)
        answer = ledger.jobs.commit(run.job.job_id, run.token, publication)
        assert isinstance(answer, CancelledFirst)
        assert ledger.job(run.job).status is JobStatus.CANCELLED
        assert ledger.asset(asset) == deleted

    def test_a_number_that_is_taken_is_refused(self, ledger: Ledger) -> None:
        """A failover lost the counter: the version that is there stays, the job goes above it."""
        asset = ledger.ready()
        plant = need(ledger.plant_version, "Ledger.plant_version: no version can be written behind its back")
        run = ledger.running(asset)
        number = ledger.reserve(run)
        survivor = made_version(asset, run.job, number, ledger.now, names=("survivor",))
        plant(asset, survivor)
        publication = ledger.publication(run, number)
        assert ledger.jobs.commit(run.job.job_id, run.token, publication) == NumberTaken()
        assert ledger.job(run.job).status is JobStatus.RUNNING
        assert ledger.assets.version(DEFAULT_OWNER, asset.asset_id, number).files == survivor.files
        higher = ledger.reserve(run, above=number)
        answer = ledger.jobs.commit(run.job.job_id, run.token, ledger.publication(run, higher))
        assert isinstance(answer, Committed)

    def test_several_files_are_one_version(self, ledger: Ledger) -> None:
        """All of them are there, or none."""
        asset = ledger.ready()
        run = ledger.running(asset, "separate")
        ledger.finish(run, names=("vocals", "instrumental"))
        version = ledger.assets.version(DEFAULT_OWNER, asset.asset_id, 2)
        assert [file.name for file in version.files] == ["vocals", "instrumental"]
        assert ledger.asset(asset).version_count == 2

    def test_an_attachment_or_a_result_takes_no_number(self, ledger: Ledger) -> None:
        """Nor does it change what the asset shows of its versions."""
        asset = ledger.ready()
        publications: list[Callable[[Granted], Publication]] = [
            lambda run: Publication(attachments=(made_attachment(asset, run.job, ledger.now),)),
            lambda _: Publication(result={"integratedLufs": -14.5, "list": [1, "ü", None]}),
            lambda _: Publication(),
        ]
        for publication in publications:
            run = ledger.running(asset, "analyze")
            published = publication(run)
            assert isinstance(ledger.jobs.commit(run.job.job_id, run.token, published), Committed)
            job = ledger.job(run.job)
            assert (job.status, job.created_version, job.result) == (JobStatus.SUCCEEDED, None, published.result)
        after = ledger.asset(asset)
        assert (after.latest_version, after.head, after.version_count, after.sequence) == (1, 1, 1, 1)

    def test_another_attempts_failure_is_forgotten_by_success(self, ledger: Ledger) -> None:
        """The history keeps it."""
        run = ledger.running(ledger.ready())
        ledger.release(run, FailureKind.TRANSIENT, "checksum_mismatch")
        ledger.clock.advance(60)
        job = ledger.finish(ledger.begin(run.job))
        assert job == ledger.job(job)
        assert (job.error, [entry.code for entry in job.history]) == (None, ["checksum_mismatch"])


class NumberLaws(LedgerContract):
    """Latest and head."""

    def test_latest_never_falls(self, ledger: Ledger) -> None:
        """A lower number that is published later is there, but not the latest."""
        asset = ledger.ready()
        slow, fast = ledger.running(asset), ledger.running(asset)
        assert (ledger.reserve(slow), ledger.reserve(fast)) == (2, 3)
        ledger.finish(fast, moves_head=True)
        assert (ledger.asset(asset).latest_version, ledger.asset(asset).head) == (3, 3)
        ledger.finish(slow, moves_head=True)
        assert (ledger.asset(asset).latest_version, ledger.asset(asset).head) == (3, 3)
        assert ledger.numbers(asset) == [1, 2, 3]

    def test_the_head_moves_only_with_versions_that_move_it(self, ledger: Ledger) -> None:
        """Separate and loop leave it where it is."""
        asset = ledger.ready()
        heads = []
        for moves_head in (False, True, False, True):
            ledger.publish(asset, moves_head=moves_head)
            heads.append(ledger.asset(asset).head)
        assert heads == [1, 3, 3, 5]

    def test_a_gap_is_no_version(self, ledger: Ledger) -> None:
        """It counts neither as latest nor in the number of versions."""
        asset = ledger.ready()
        failed = ledger.running(asset)
        ledger.reserve(failed)
        ledger.publish(asset)
        answer = ledger.release(failed, FailureKind.PERMANENT)
        assert isinstance(answer, Ended)
        assert ledger.numbers(asset) == [1, 3]
        after = ledger.asset(asset)
        assert (after.latest_version, after.version_count) == (3, 2)

    def test_parallel_runs_all_publish(self, ledger: Ledger) -> None:
        """Sixteen commits on one asset at one moment: none is lost."""
        asset = ledger.ready()
        runs = [ledger.running(asset) for _ in range(16)]
        jobs = at_once([partial(ledger.finish, run, moves_head=True) for run in runs])
        assert sorted(job.created_version or 0 for job in jobs) == list(range(2, 18))
        assert ledger.numbers(asset) == list(range(1, 18))
        after = ledger.asset(asset)
        assert (after.latest_version, after.version_count, after.head) == (17, 17, 17)
