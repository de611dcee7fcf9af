"""Submitting: one job for one request."""

from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from musproj.domain.asset import Asset
from musproj.domain.ids import DEFAULT_OWNER
from musproj.domain.job import FailureKind, Job, JobInput, JobStatus
from musproj.errors import AssetNotFoundError, AssetNotReadyError, IdempotencyMismatchError, VersionNotFoundError
from musproj.ports.assets import IDEMPOTENCY_LIFE, Idempotency
from musproj.ports.jobs import Created, Existing, SubmitAnswer
from musproj.testing.contract import LedgerContract
from musproj.testing.ledger import Ledger, inputs_of
from musproj.testing.records import SOMEBODY_ELSE, new_asset, new_job, new_worker
from musproj.testing.threads import at_once


class SubmitLaws(LedgerContract):
    """A record and its place in the queue, at once or not at all."""

    def test_a_record_comes_back_whole(self, ledger: Ledger) -> None:
        """Every field, nested parameters included."""
        assets = [ledger.ready(), ledger.ready()]
        job = new_job(
            assets[0],
            ledger.now,
            "mix",
            inputs=inputs_of(voice=assets[0], band=assets[1]),
            params={"gain_db": -3.5, "names": ["ü", "🎤"], "deep": {"a": {"b": [1, True, "x"]}}, "none": None},
            needs=("codecs", "model-x"),
            priority=-7,
            max_attempts=3,
            delay=timedelta(minutes=5),
        )
        assert ledger.jobs.submit(job) == Created(job)
        assert ledger.jobs.get(DEFAULT_OWNER, job.job_id) == job
        assert ledger.jobs.find(job.job_id) == job

    def test_a_retry_keeps_its_root(self, ledger: Ledger) -> None:
        """Through any number of `retry_of`."""
        asset = ledger.ready()
        first = ledger.submit(asset)
        second = ledger.submit(asset, retry_of=first.job_id, root_job_id=first.job_id)
        third = ledger.submit(asset, retry_of=second.job_id, root_job_id=first.job_id)
        assert ledger.job(third) == third

    def test_the_same_record_again_is_no_second_job(self, ledger: Ledger) -> None:
        """So that a lost reply can be answered by a repeat."""
        asset = ledger.ready()
        for force in (True, False):
            job = new_job(asset, ledger.clock.advance(1), f"kind-{force}", force=force)
            assert isinstance(ledger.jobs.submit(job), Created)
            assert ledger.jobs.submit(job) == Existing(job, replayed=False)
        assert ledger.jobs.counts()[JobStatus.QUEUED] == 2

    def test_an_unready_input_is_refused(self, ledger: Ledger) -> None:
        """Pending or deleted."""
        pending, deleted = ledger.pending(), ledger.ready()
        ledger.assets.delete(DEFAULT_OWNER, deleted.asset_id, now=ledger.now)
        for asset in (pending, deleted):
            self.refuse(ledger, new_job(asset, ledger.now), AssetNotReadyError)

    def test_an_unknown_input_is_refused(self, ledger: Ledger) -> None:
        """Be it in the first port or in another one."""
        asset, unknown = ledger.ready(), new_asset(ledger.now)
        for inputs in (inputs_of(a=unknown, b=asset), inputs_of(a=asset, b=unknown)):
            self.refuse(ledger, new_job(asset, ledger.now, inputs=inputs), AssetNotFoundError)

    def test_a_foreign_input_is_an_unknown_one(self, ledger: Ledger) -> None:
        """In any port."""
        asset, foreign = ledger.ready(), ledger.ready(SOMEBODY_ELSE)
        for inputs in (inputs_of(foreign), inputs_of(a=foreign, b=asset), inputs_of(a=asset, b=foreign)):
            self.refuse(ledger, new_job(asset, ledger.now, inputs=inputs), AssetNotFoundError)

    def test_an_unpublished_version_is_refused(self, ledger: Ledger) -> None:
        """A reserved number is none."""
        asset = ledger.ready()
        reserved = ledger.reserve(ledger.running(asset))
        for number in (reserved, 99):
            inputs = (JobInput(asset_id=asset.asset_id, version=number),)
            self.refuse(ledger, new_job(asset, ledger.now, "analyze", inputs=inputs), VersionNotFoundError)

    def refuse(self, ledger: Ledger, job: Job, error: type[Exception]) -> None:
        """The job is refused and leaves nothing, not even its idempotency key."""
        before = ledger.jobs.counts()
        key = Idempotency(key=job.job_id, body_hash="one")
        with pytest.raises(error):
            ledger.jobs.submit(job, key)
        assert ledger.jobs.find(job.job_id) is None
        assert ledger.jobs.counts() == before
        assert ledger.queue.claim(new_worker()) is None
        with pytest.raises(error):
            ledger.jobs.submit(job, attrs.evolve(key, body_hash="two"))


class IdempotencyLaws(LedgerContract):
    """The client's own key."""

    def test_a_key_makes_one_job(self, ledger: Ledger) -> None:
        """The same request again gets the first one's job as it is now, ended or not."""
        asset = ledger.ready()
        key = Idempotency(key="k", body_hash="same")
        first = new_job(asset, ledger.now)
        ledger.jobs.submit(first, key)
        for _ in range(2):
            again = ledger.jobs.submit(new_job(asset, ledger.clock.advance(1), force=True), key)
            assert again == Existing(ledger.job(first), replayed=True)
            if not ledger.job(first).is_terminal:
                ledger.finish(ledger.begin(first))
        assert sum(ledger.jobs.counts().values()) == 1

    def test_a_key_is_for_one_request(self, ledger: Ledger) -> None:
        """Another body is refused and stores nothing."""
        asset = ledger.ready()
        ledger.jobs.submit(new_job(asset, ledger.now), Idempotency(key="k", body_hash="one"))
        other = new_job(asset, ledger.clock.advance(1), "analyze")
        with pytest.raises(IdempotencyMismatchError):
            ledger.jobs.submit(other, Idempotency(key="k", body_hash="two"))
        assert ledger.jobs.find(other.job_id) is None

    def test_a_key_is_its_owners(self, ledger: Ledger) -> None:
        """Two owners may choose the same."""
        key = Idempotency(key="k", body_hash="same")
        for asset in (ledger.ready(), ledger.ready(SOMEBODY_ELSE)):
            assert isinstance(ledger.jobs.submit(new_job(asset, ledger.now), key), Created)

    def test_a_key_is_known_for_a_week(self, ledger: Ledger) -> None:
        """From its first use on; then it makes another job."""
        asset = ledger.ready()
        key = Idempotency(key="k", body_hash="same")
        first = ledger.jobs.submit(new_job(asset, ledger.now, force=True), key)
        ledger.clock.advance(IDEMPOTENCY_LIFE - timedelta(milliseconds=1))
        again = ledger.jobs.submit(new_job(asset, ledger.now, force=True), key)
        assert again == Existing(first.job, replayed=True)
        ledger.clock.advance(timedelta(milliseconds=1))
        assert isinstance(ledger.jobs.submit(new_job(asset, ledger.now, force=True), key), Created)

    def test_a_key_remembers_a_twin_too(self, ledger: Ledger) -> None:
        """Its repeat gets that job also after it has ended."""
        asset = ledger.ready()
        twin = ledger.submit(asset, force=False)
        key = Idempotency(key="k", body_hash="same")
        assert ledger.jobs.submit(new_job(asset, ledger.clock.advance(1)), key) == Existing(twin, replayed=False)
        done = ledger.finish(ledger.begin(twin))
        assert ledger.jobs.submit(new_job(asset, ledger.clock.advance(1)), key) == Existing(done, replayed=True)

    def test_32_requests_with_one_key_make_one_job(self, ledger: Ledger) -> None:
        """At one moment, with bodies that are no twins."""
        asset = ledger.ready()
        key = Idempotency(key="k", body_hash="same")
        answers = at_once([lambda: ledger.jobs.submit(new_job(asset, ledger.now, force=True), key)] * 32)
        assert_one_job(ledger, answers)


class TwinLaws(LedgerContract):
    """Identical live jobs are one."""

    def test_an_identical_live_job_is_the_answer(self, ledger: Ledger) -> None:
        """Waiting or running; its parameters may come in another order."""
        asset = ledger.ready()
        first = ledger.submit(asset, force=False, params={"a": 1, "b": 2})
        again = new_job(asset, ledger.clock.advance(1), params={"b": 2, "a": 1})
        assert ledger.jobs.submit(again) == Existing(first, replayed=False)
        ledger.begin(first)
        assert ledger.jobs.submit(again) == Existing(ledger.job(first), replayed=False)
        assert ledger.jobs.find(again.job_id) is None

    def test_another_job_is_another_job(self, ledger: Ledger) -> None:
        """Where type, parameters, version, file, port or owner differ."""
        asset, foreign = ledger.ready(), ledger.ready(SOMEBODY_ELSE)
        ledger.publish(asset)
        plain = inputs_of(asset)
        jobs = [
            new_job(asset, ledger.clock.advance(1)),
            new_job(asset, ledger.clock.advance(1), "analyze"),
            new_job(asset, ledger.clock.advance(1), params={}),
            new_job(asset, ledger.clock.advance(1), inputs=(attrs.evolve(plain[0], version=2),)),
            new_job(asset, ledger.clock.advance(1), inputs=(attrs.evolve(plain[0], file="source"),)),
            new_job(asset, ledger.clock.advance(1), inputs=(attrs.evolve(plain[0], port="other"),)),
            new_job(foreign, ledger.clock.advance(1)),
        ]
        assert [ledger.jobs.submit(job) for job in jobs] == [Created(job) for job in jobs]

    def test_force_makes_a_job_of_its_own(self, ledger: Ledger) -> None:
        """It neither finds a twin nor is one."""
        asset = ledger.ready()
        ledger.submit(asset, force=False)
        forced = new_job(asset, ledger.clock.advance(1), force=True)
        assert isinstance(ledger.jobs.submit(forced), Created)
        other = ledger.ready()
        ledger.submit(other, force=True)
        assert isinstance(ledger.jobs.submit(new_job(other, ledger.clock.advance(1))), Created)

    @pytest.mark.parametrize("how", ["succeeded", "failed", "cancelled", "cancelled by the worker"])
    def test_an_ended_job_is_no_twin(self, ledger: Ledger, how: str) -> None:
        """The same may be asked for again."""
        asset = ledger.ready()
        self.end(ledger, ledger.submit(asset, force=False), how)
        assert isinstance(ledger.jobs.submit(new_job(asset, ledger.clock.advance(1))), Created)

    @pytest.mark.parametrize("how", ["failed", "cancelled", "cancelled by the worker"])
    def test_what_did_not_succeed_was_not_paid(self, ledger: Ledger, how: str) -> None:
        """A paid job is made again after it failed."""
        asset = ledger.ready()
        self.end(ledger, ledger.submit(asset, force=False), how)
        assert isinstance(ledger.jobs.submit(new_job(asset, ledger.clock.advance(1)), paid=True), Created)

    def test_a_paid_job_that_succeeded_is_the_answer(self, ledger: Ledger) -> None:
        """Unless forced, and only for its owner's identical request."""
        asset = ledger.ready()
        done = ledger.finish(ledger.begin(ledger.submit(asset, force=False)))
        again = new_job(asset, ledger.clock.advance(1))
        assert ledger.jobs.submit(again, paid=True) == Existing(done, replayed=False)
        assert isinstance(ledger.jobs.submit(attrs.evolve(again, params={}), paid=True), Created)
        forced = new_job(asset, ledger.clock.advance(1), force=True)
        assert isinstance(ledger.jobs.submit(forced, paid=True), Created)

    def test_32_twins_are_one(self, ledger: Ledger) -> None:
        """At one moment."""
        asset = ledger.ready()
        answers = at_once([lambda: ledger.jobs.submit(new_job(asset, ledger.now))] * 32)
        assert_one_job(ledger, answers)

    def end(self, ledger: Ledger, job: Job, how: str) -> None:
        """Bring the job to its end."""
        ends: dict[str, Callable[[], object]] = {
            "succeeded": lambda: ledger.finish(ledger.begin(job)),
            "failed": lambda: ledger.release(ledger.begin(job), FailureKind.PERMANENT),
            "cancelled": lambda: ledger.jobs.cancel(DEFAULT_OWNER, job.job_id),
            "cancelled by the worker": lambda: self.stop(ledger, job),
        }
        ends[how]()
        assert ledger.job(job).is_terminal

    def stop(self, ledger: Ledger, job: Job) -> None:
        """Cancel the job while it runs."""
        run = ledger.begin(job)
        ledger.jobs.cancel(DEFAULT_OWNER, job.job_id)
        ledger.release(run, FailureKind.INTERRUPTED)


def assert_one_job(ledger: Ledger, answers: list[SubmitAnswer]) -> None:
    """All answers tell of the one job that there is, and one of them made it."""
    assert [isinstance(answer, Created) for answer in answers].count(True) == 1
    assert len({answer.job.job_id for answer in answers}) == 1
    assert ledger.jobs.counts()[JobStatus.QUEUED] == 1
    asset: Asset = ledger.assets.get(DEFAULT_OWNER, answers[0].job.asset_id)
    claimed = ledger.queue.claim(new_worker())
    assert claimed is not None
    assert claimed.job.asset_id == asset.asset_id
    assert ledger.queue.claim(new_worker()) is None
