"""Work at outside services: what a job's record says of it, and when somebody has to look at it."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import attrs
import pytest

from musproj.domain.ids import DEFAULT_OWNER, JobId, new_job_id, new_token
from musproj.domain.job import FailureKind, Job, JobStatus, WaitReason
from musproj.domain.ledger import Committed, Ended, Granted, Moved, NotDue, Noted, Requeued, Stale
from musproj.domain.remote import KEEP_FAILED, CostState, RemoteFault, RemoteOp, RemotePhase
from musproj.errors import BackendUnavailableError
from musproj.ports.jobs import Publication
from musproj.testing.contract import LedgerContract
from musproj.testing.ledger import Ledger
from musproj.testing.records import new_asset, new_job, new_op, new_worker
from musproj.testing.threads import at_once, error_of

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
MOMENT = timedelta(milliseconds=1)
FAULT = RemoteFault(code="remote_unavailable", message="It did not answer. ☂")


class RemoteLaws(LedgerContract):
    """The operation lies in the job's own record: each of its changes is one with the job's."""

    # ── note ──

    def test_a_note_is_recorded(self, ledger: Ledger) -> None:
        """Every field of it, each state on top of the one before; the run goes on as it was."""
        run = ledger.running(ledger.ready())
        states = [
            new_op(run.job, intent="create"),
            new_op(
                run.job,
                phase=RemotePhase.STAGED,
                intent="submit",
                input_mode="url",
                upload_ref="u/1",
                upload_expires=ledger.now + HOUR,
                remote_id="r1",
                deadline=ledger.now + 2 * HOUR,
                next_poll=ledger.now + MINUTE,
                cost=attrs.evolve(new_op(run.job).cost, actual=0.25, state=CostState.MAYBE),
                polls=3,
                misses=1,
                restarts=1,
                tries=2,
                fetches=1,
                request_ids=("a", "b"),
                error=FAULT,
                heir=new_job_id(ledger.now),
                rev=2,
            ),
        ]
        for op in states:
            now = ledger.clock.advance(1)
            answer = ledger.jobs.note(run.job.job_id, run.token, op)
            job = ledger.job(run.job)
            assert answer == Noted(job)
            assert job == attrs.evolve(run.job, remote=op, updated_at=now)

    def test_only_the_run_that_holds_the_job_notes(self, ledger: Ledger) -> None:
        """Not another token, not one that was lost, not after the end, not for a job that nobody knows."""
        run = ledger.running(ledger.ready())
        op = new_op(run.job)
        assert ledger.jobs.note(run.job.job_id, new_token(), op) == Stale()
        assert ledger.job(run.job) == run.job
        ledger.release(run, FailureKind.INTERRUPTED)
        assert ledger.jobs.note(run.job.job_id, run.token, op) == Stale()
        again = ledger.begin(run.job)
        assert ledger.jobs.note(run.job.job_id, run.token, op) == Stale()
        ended = ledger.finish(again)
        assert ledger.jobs.note(run.job.job_id, again.token, op) == Stale()
        assert ledger.job(run.job) == ended
        assert ledger.jobs.note(new_job_id(ledger.now), run.token, op) == Stale()

    def test_a_note_of_another_revision_is_told_what_is_recorded(self, ledger: Ledger) -> None:
        """A poller was faster: the run goes on from what it wrote, and nothing is overwritten."""
        run, op = submitted(ledger)
        heard = op.enter(RemotePhase.FINISHED)
        ledger.jobs.hear(run.job.job_id, heard)
        before = ledger.job(run.job)
        mine = op.evolve(polls=7)
        for other in (mine, op, attrs.evolve(mine, rev=heard.rev + 2)):
            assert ledger.jobs.note(run.job.job_id, run.token, other) == Moved(heard)
            assert ledger.jobs.park(
                run.job.job_id, run.token, other, until=ledger.now + HOUR, stage="waiting"
            ) == Moved(heard)
        assert ledger.job(run.job) == before
        noted(ledger, run, heard.evolve(polls=7))

    def test_a_repeated_note_is_noted(self, ledger: Ledger) -> None:
        """Its reply was lost: nothing is written a second time."""
        run, op = submitted(ledger)
        before = ledger.job(run.job)
        ledger.clock.advance(1)
        assert ledger.jobs.note(run.job.job_id, run.token, op) == Noted(before)
        assert ledger.job(run.job) == before

    def test_a_run_that_is_to_stop_still_notes(self, ledger: Ledger) -> None:
        """What it found out is needed to stop the service too."""
        run = ledger.running(ledger.ready())
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        op = noted(ledger, run, new_op(run.job, phase=RemotePhase.SUBMITTED, remote_id="r1"))
        ledger.release(run, FailureKind.INTERRUPTED)
        assert remote_of(ledger, run.job).remote_id == op.remote_id
        assert due(ledger) == [run.job.job_id]

    # ── park ──

    def test_a_parked_job_waits_and_resumes_its_attempt(self, ledger: Ledger) -> None:
        """However often: it costs no attempt, keeps its progress, and leaves its worker free."""
        run, op = submitted(ledger)
        started_at = run.job.started_at
        ledger.jobs.hear(run.job.job_id, op := op.evolve(), percent=40)
        for _ in range(12):
            ledger.clock.advance(1)
            until = ledger.now + HOUR
            op = op.evolve(polls=op.polls + 1)
            answer = ledger.jobs.park(run.job.job_id, run.token, op, until=until, stage="at auphonic")
            job = ledger.job(run.job)
            assert answer == Requeued(job)
            assert (job.status, job.wait_reason, job.run_at) == (JobStatus.QUEUED, WaitReason.REMOTE, until)
            assert (job.stage, job.remote, job.progress) == ("at auphonic", op, 40)
            assert (job.token, job.worker, job.lease_until) == (None, None, None)
            ledger.clock.set(until - MOMENT)
            assert ledger.jobs.begin(job.job_id, new_worker(), new_token()) == NotDue(until)
            assert ledger.queue.claim(new_worker()) is None
            ledger.clock.set(until)
            run = ledger.begin(job)
            assert (run.job.attempts, run.job.started_at, run.job.progress) == (1, started_at, 40)
        assert (run.job.failures, run.job.interrupts, run.job.history, run.job.error) == (0, 0, (), None)

    def test_a_parked_job_frees_its_slot(self, ledger: Ledger) -> None:
        """What waits for a service keeps nobody else waiting."""
        asset, worker = ledger.ready(), new_worker(limits={"enhance": 1})
        ledger.submit(asset)
        other = ledger.submit(asset)
        run = ledger.queue.claim(worker)
        assert run is not None
        assert ledger.queue.claim(worker) is None
        park(ledger, run, new_op(run.job))
        claimed = ledger.queue.claim(worker)
        assert claimed is not None
        assert claimed.job.job_id == other.job_id

    def test_a_repeated_park_is_parked(self, ledger: Ledger) -> None:
        """Its reply was lost: the time of the first one stands."""
        run, op = submitted(ledger)
        parked = park(ledger, run, op)
        ledger.clock.advance(1)
        repeat = ledger.jobs.park(parked.job_id, run.token, op, until=ledger.now + HOUR, stage="later")
        assert repeat == Requeued(parked)
        assert ledger.job(parked) == parked

    def test_only_the_run_that_holds_the_job_parks_it(self, ledger: Ledger) -> None:
        """As it is with a note."""
        run, op = submitted(ledger)
        other = attrs.evolve(run, token=new_token())
        before = ledger.job(run.job)
        until = ledger.now + HOUR
        assert ledger.jobs.park(run.job.job_id, other.token, op, until=until, stage="s") == Stale()
        assert ledger.jobs.park(new_job_id(ledger.now), run.token, op, until=until, stage="s") == Stale()
        assert ledger.job(run.job) == before
        ended = ledger.finish(run)
        assert ledger.jobs.park(run.job.job_id, run.token, op, until=until, stage="s") == Stale()
        assert ledger.job(run.job) == ended

    def test_a_park_ends_a_cancelled_job(self, ledger: Ledger) -> None:
        """It would wait for nothing: what is at the service is to be deleted now."""
        run, op = submitted(ledger)
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        now = ledger.clock.advance(1)
        op = op.evolve(remote_id="r2")
        answer = ledger.jobs.park(run.job.job_id, run.token, op, until=now + HOUR, stage="waiting")
        job = ledger.job(run.job)
        assert answer == Ended(job)
        assert (job.status, job.finished_at, job.remote_due) == (JobStatus.CANCELLED, now, now)
        assert remote_of(ledger, job) == op.evolve(phase=RemotePhase.CANCELLED, cleanup_due=now)
        assert due(ledger) == [job.job_id]

    def test_a_parked_job_expires_as_any_other(self, ledger: Ledger) -> None:
        """What it left at the service is deleted a day later."""
        run, op = submitted(ledger, expires_at=ledger.now + HOUR)
        park(ledger, run, op, until=timedelta(hours=3))
        ledger.clock.advance(HOUR)
        assert ledger.jobs.tick().ended == 1
        job = ledger.job(run.job)
        assert (job.status, job.remote_due) == (JobStatus.FAILED, ledger.now + KEEP_FAILED)

    # ── hear ──

    @pytest.mark.parametrize("phase", [RemotePhase.FINISHED, RemotePhase.FAILED, RemotePhase.LOST])
    def test_a_parked_job_with_something_to_do_is_due_at_once(self, ledger: Ledger, phase: RemotePhase) -> None:
        """The service is done with it: a worker takes it on, in the same attempt."""
        ledger.submit(ledger.ready())
        run = ledger.queue.claim(new_worker())
        assert run is not None
        op = noted(ledger, run, working(ledger, run.job))
        parked = park(ledger, run, op)
        ledger.queue.ack(parked.job_id)
        now = ledger.clock.advance(30)
        assert ledger.queue.claim(new_worker()) is None
        op = op.enter(phase)
        answer = ledger.jobs.hear(parked.job_id, op, percent=100)
        job = ledger.job(parked)
        assert answer == Noted(job)
        assert job == attrs.evolve(parked, remote=op, run_at=now, updated_at=now, progress=100)
        claimed = ledger.queue.claim(new_worker())
        assert claimed is not None
        assert (claimed.job.job_id, claimed.job.remote, claimed.job.attempts) == (job.job_id, op, 1)
        assert ledger.queue.claim(new_worker()) is None

    def test_news_of_work_that_goes_on_leaves_the_job_parked(self, ledger: Ledger) -> None:
        """It is looked at again at its next poll."""
        run, op = submitted(ledger)
        parked = park(ledger, run, op)
        now = ledger.clock.advance(30)
        op = op.evolve(next_poll=now + MINUTE, polls=1)
        assert ledger.jobs.hear(parked.job_id, op, percent=20) == Noted(ledger.job(parked))
        assert ledger.job(parked) == attrs.evolve(parked, remote=op, updated_at=now, progress=20)
        assert ledger.queue.claim(new_worker()) is None
        ledger.clock.set(now + MINUTE - MOMENT)
        assert due(ledger) == []
        ledger.clock.set(now + MINUTE)
        assert due(ledger) == [parked.job_id]

    def test_the_percent_never_falls(self, ledger: Ledger) -> None:
        """A service may count from the beginning; nobody sees it."""
        run, op = submitted(ledger)
        park(ledger, run, op)
        shown: list[int] = []
        for percent in (30, 10, None, 60, 250, -5):
            op = op.evolve()
            assert isinstance(ledger.jobs.hear(run.job.job_id, op, percent=percent), Noted)
            shown.append(ledger.job(run.job).progress)
        assert shown == [30, 30, 30, 60, 100, 100]

    def test_what_was_heard_of_another_state_is_stale(self, ledger: Ledger) -> None:
        """Only the revision counts, in every state of the job; what is stale changes nothing."""
        run = ledger.running(ledger.ready())
        op = working(ledger, run.job)
        assert ledger.jobs.hear(run.job.job_id, op) == Stale()  # nothing is recorded, so nothing can be heard of it
        op = noted(ledger, run, noted(ledger, run, op).evolve())
        steps: list[Callable[[], object]] = [
            lambda: None,
            lambda: park(ledger, run, op),
            lambda: ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id),
        ]
        for step in steps:
            step()
            before = ledger.job(run.job)
            recorded = remote_of(ledger, run.job)
            ledger.clock.advance(1)
            for rev in (recorded.rev - 1, recorded.rev, recorded.rev + 2):
                other = attrs.evolve(recorded, polls=9, rev=rev)
                assert ledger.jobs.hear(run.job.job_id, other, percent=99) == Stale()
            assert ledger.job(run.job) == before
        assert ledger.jobs.hear(new_job_id(ledger.now), op) == Stale()

    def test_what_was_heard_twice_is_noted_once(self, ledger: Ledger) -> None:
        """Its reply was lost."""
        run, op = submitted(ledger)
        park(ledger, run, op)
        op = op.enter(RemotePhase.FINISHED)
        ledger.jobs.hear(run.job.job_id, op, percent=50)
        before = ledger.job(run.job)
        ledger.clock.advance(1)
        assert ledger.jobs.hear(run.job.job_id, op, percent=50) == Noted(before)
        assert ledger.job(run.job) == before

    def test_what_is_heard_of_a_running_job_does_not_touch_its_run(self, ledger: Ledger) -> None:
        """Neither its lease nor its token; a worker that is gone is still missed."""
        run, op = submitted(ledger)
        before = ledger.job(run.job)
        ledger.jobs.tick()
        ledger.live_through(20)
        op = op.enter(RemotePhase.FINISHED)
        ledger.jobs.hear(run.job.job_id, op)
        assert ledger.job(run.job) == attrs.evolve(before, remote=op, updated_at=ledger.now)
        ledger.beat(run)
        assert remote_of(ledger, run.job) == op
        ledger.lose_worker()
        lost = ledger.job(run.job)
        assert (lost.status, lost.lost, lost.remote) == (JobStatus.QUEUED, 1, op)

    def test_news_does_not_shorten_a_backoff(self, ledger: Ledger) -> None:
        """Only a job that waits for its service is woken by it."""
        run, op = submitted(ledger)
        ledger.release(run, FailureKind.TRANSIENT)
        waiting = ledger.job(run.job)
        ledger.jobs.hear(run.job.job_id, op.enter(RemotePhase.FINISHED))
        after = ledger.job(run.job)
        assert (after.run_at, after.wait_reason) == (waiting.run_at, WaitReason.RETRY)

    def test_of_8_pollers_one_is_heard(self, ledger: Ledger) -> None:
        """The others find that it was changed."""
        run, op = submitted(ledger)
        park(ledger, run, op)
        news = [op.evolve(polls=number) for number in range(1, 9)]
        answers = at_once([partial(ledger.jobs.hear, run.job.job_id, heard) for heard in news])
        (winner,) = [heard for heard, answer in zip(news, answers, strict=True) if isinstance(answer, Noted)]
        assert remote_of(ledger, run.job) == winner

    # ── the end ──

    @pytest.mark.parametrize("is_at_service", [True, False])
    def test_a_commit_leaves_what_is_to_be_deleted(self, ledger: Ledger, *, is_at_service: bool) -> None:
        """The results are ours: what is at the service can go at once, and what is not there needs nobody."""
        run = ledger.running(ledger.ready())
        op = noted(ledger, run, new_op(run.job, phase=RemotePhase.FINISHED, remote_id="r1" if is_at_service else None))
        assert due(ledger) == []
        now = ledger.clock.advance(5)
        job = ledger.finish(run)
        expected = now if is_at_service else None
        assert (job.status, job.remote_due) == (JobStatus.SUCCEEDED, expected)
        assert job.remote == op.evolve(phase=RemotePhase.COMMITTED, cleanup_due=expected)
        assert ledger.job(job) == job
        assert due(ledger) == [job.job_id] * is_at_service

    @pytest.mark.parametrize("trace", ["remote_id", "upload_ref", "intent"])
    def test_whatever_may_be_at_the_service_is_looked_for(self, ledger: Ledger, trace: str) -> None:
        """An object, an upload, or a call whose outcome nobody knows."""
        run = ledger.running(ledger.ready())
        noted(ledger, run, new_op(run.job, **{trace: "x"}))
        now = ledger.clock.advance(1)
        ledger.release(run, FailureKind.PERMANENT)
        assert ledger.job(run.job).remote_due == now + KEEP_FAILED

    def test_after_a_failure_a_retry_has_a_day(self, ledger: Ledger) -> None:
        """Only then is it deleted; it stays in the phase in which it failed."""
        run, op = submitted(ledger)
        now = ledger.clock.advance(1)
        ledger.release(run, FailureKind.PERMANENT)
        job = ledger.job(run.job)
        assert job.remote == op.evolve(cleanup_due=now + KEEP_FAILED)
        assert job.remote_due == now + timedelta(hours=24)
        ledger.clock.advance(timedelta(hours=24) - MOMENT)
        assert due(ledger) == []
        assert due(ledger, op.service) == [job.job_id]
        ledger.clock.advance(MOMENT)
        assert due(ledger) == [job.job_id]

    def test_a_cancelled_parked_job_is_stopped_at_its_service_at_once(self, ledger: Ledger) -> None:
        """It ends here; the service hears of it next."""
        run, op = submitted(ledger, wait=HOUR)
        park(ledger, run, op)
        assert due(ledger) == []
        now = ledger.clock.advance(1)
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        job = ledger.job(run.job)
        assert (job.status, job.remote_due) == (JobStatus.CANCELLED, now)
        assert job.remote == op.evolve(phase=RemotePhase.CANCELLED, cleanup_due=now)
        assert due(ledger) == [job.job_id]

    def test_a_lost_run_that_was_to_stop_leaves_its_service_due(self, ledger: Ledger) -> None:
        """However a job ends."""
        run, _ = submitted(ledger, wait=HOUR)
        ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
        ledger.lose_worker()
        job = ledger.job(run.job)
        assert (job.status, job.remote_due) == (JobStatus.CANCELLED, job.finished_at)

    @pytest.mark.parametrize("ending", ["commit", "failure", "cancel"])
    def test_the_cleaning_up_after_the_end_is_recorded(self, ledger: Ledger, ending: str) -> None:
        """What could not be deleted comes up later, what was is done with; the job stays as it ended."""
        run, _ = submitted(ledger)
        ledger.reserve(run)
        endings: dict[str, Callable[[], object]] = {
            "commit": lambda: ledger.finish(run),
            "failure": lambda: ledger.release(run, FailureKind.PERMANENT),
            "cancel": lambda: cancel_running(ledger, run),
        }
        endings[ending]()
        ended = ledger.job(run.job)
        assert ended.remote_due is not None
        for entry in ledger.gc_entries():
            ledger.assets.gc_done(entry)
        now = ledger.clock.advance(ended.remote_due - ledger.now + MINUTE)

        op = remote_of(ledger, ended).not_cleaned(FAULT, now)
        assert ledger.jobs.hear(ended.job_id, op, percent=1) == Noted(ledger.job(ended))
        assert op.cleanup_due is not None
        assert ledger.job(ended) == attrs.evolve(ended, remote=op, updated_at=now)
        assert due(ledger) == []
        ledger.clock.set(op.cleanup_due)
        assert due(ledger) == [ended.job_id]

        op = op.cleaned()
        assert ledger.jobs.hear(ended.job_id, op, percent=1) == Noted(ledger.job(ended))
        after = ledger.job(ended)
        assert after == attrs.evolve(ended, remote=op, updated_at=ledger.now)
        assert (after.remote_due, due(ledger), due(ledger, op.service)) == (None, [], [])
        assert ledger.garbage() == set()  # its number went to gc when it ended, and only then

    def test_a_repeated_commit_finds_its_end_after_the_cleaning_up(self, ledger: Ledger) -> None:
        """The worker may hear of its success after the poller."""
        run, _ = submitted(ledger)
        publication = ledger.publication(run, ledger.reserve(run))
        ledger.jobs.commit(run.job.job_id, run.token, publication)
        op = remote_of(ledger, run.job).cleaned()
        ledger.jobs.hear(run.job.job_id, op)
        assert ledger.jobs.commit(run.job.job_id, run.token, publication) == Committed(ledger.job(run.job), again=True)
        assert remote_of(ledger, run.job) == op

    # ── remotes ──

    def test_what_is_due_comes_earliest_first(self, ledger: Ledger) -> None:
        """Of any service, up to the limit; what is not due comes only where its service is asked for."""
        asset = ledger.ready()
        waits = {"third": 30, "first": 10, "later": 90, "second": 20}
        jobs: dict[str, JobId] = {}
        for name, seconds in waits.items():
            run = ledger.running(asset)
            service = "lalal" if name == "second" else "auphonic"
            next_poll = ledger.now.replace(microsecond=0) + timedelta(seconds=seconds)
            op = noted(ledger, run, working(ledger, run.job, service=service, next_poll=next_poll))
            jobs[name] = park(ledger, run, op).job_id
        ledger.running(asset)
        assert due(ledger) == []
        ledger.clock.advance(30)
        assert due(ledger) == [jobs["first"], jobs["second"], jobs["third"]]
        assert due(ledger, limit=2) == [jobs["first"], jobs["second"]]
        assert due(ledger, "auphonic") == [jobs["first"], jobs["third"], jobs["later"]]
        assert due(ledger, "auphonic", limit=1) == [jobs["first"]]
        assert due(ledger, "lalal") == [jobs["second"]]
        assert due(ledger, "nobody") == []
        found = ledger.jobs.remotes(limit=10)
        assert list(found) == [ledger.job(job.job_id) for job in found]

    def test_a_job_is_looked_at_while_its_service_works(self, ledger: Ledger) -> None:
        """Running or parked; in every other phase it is its worker that knows what to do."""
        run = ledger.running(ledger.ready())
        op = noted(ledger, run, new_op(run.job, next_poll=ledger.now, phase=RemotePhase.STAGED, remote_id="r1"))
        assert due(ledger) == []
        op = noted(ledger, run, op.enter(RemotePhase.SUBMITTED, next_poll=ledger.now))
        assert due(ledger) == [run.job.job_id]
        park(ledger, run, op)
        assert due(ledger) == [run.job.job_id]
        ledger.jobs.hear(run.job.job_id, op.enter(RemotePhase.FINISHED))
        assert due(ledger) == []
        assert due(ledger, op.service) == []

    def test_a_retry_takes_over_work_that_goes_on(self, ledger: Ledger) -> None:
        """It is submitted with the operation, and is looked at from then on."""
        asset = ledger.ready()
        run = ledger.running(asset)
        op = noted(ledger, run, working(ledger, run.job, cost=attrs.evolve(new_op(run.job).cost, state="billed")))
        ledger.release(run, FailureKind.PERMANENT)
        failed = ledger.job(run.job)
        taken = attrs.evolve(remote_of(ledger, failed).for_retry(), next_poll=ledger.now)
        heir = ledger.submit(asset, retry_of=failed.job_id, root_job_id=failed.root_job_id, remote=taken)
        assert ledger.job(heir) == heir
        assert (heir.remote, heir.remote_due) == (taken, taken.next_poll)
        assert due(ledger) == [heir.job_id]
        ledger.jobs.hear(failed.job_id, remote_of(ledger, failed).evolve(heir=heir.job_id, cleanup_due=None))
        ledger.clock.advance(2 * KEEP_FAILED)
        assert due(ledger) == [heir.job_id]
        again = ledger.begin(heir)
        assert again.job.remote == taken
        noted(ledger, again, taken.enter(RemotePhase.FINISHED))
        assert ledger.finish(again).remote_due == ledger.now
        assert op.token == taken.token

    def test_a_retry_that_has_to_begin_anew_is_not_looked_at(self, ledger: Ledger) -> None:
        """There is nothing to ask for."""
        asset = ledger.ready()
        job = ledger.submit(asset)
        other = ledger.submit(asset, root_job_id=job.job_id, remote=new_op(job, next_poll=ledger.now))
        assert ledger.job(other).remote == other.remote
        assert (other.remote_due, due(ledger)) == (None, [])

    # ── others ──

    def test_another_process_goes_on_with_it(self, ledger: Ledger, again: Ledger) -> None:
        """One notes, another parks, polls, finishes and cleans up: each reads what the one before wrote."""
        run = ledger.running(ledger.ready())
        op = noted(ledger, run, new_op(run.job))
        assert remote_of(again, run.job) == op
        op = noted(again, run, op.enter(RemotePhase.SUBMITTED, remote_id="r1", next_poll=ledger.now))
        assert remote_of(ledger, run.job) == op
        assert due(ledger) == due(again) == [run.job.job_id]
        parked = park(again, run, op)
        assert ledger.job(parked) == parked
        op = op.enter(RemotePhase.FINISHED)
        assert isinstance(ledger.jobs.hear(parked.job_id, op), Noted)
        assert again.jobs.hear(parked.job_id, op.evolve(rev=op.rev)) == Noted(ledger.job(parked))
        claimed = again.queue.claim(new_worker())
        assert claimed is not None
        assert (claimed.job.job_id, claimed.job.remote) == (parked.job_id, op)
        job = ledger.finish(claimed)
        assert due(again) == due(again, op.service) == [job.job_id]
        again.jobs.hear(job.job_id, remote_of(again, job).cleaned())
        assert (due(ledger), due(ledger, op.service)) == ([], [])
        assert remote_of(ledger, job).phase is RemotePhase.CLEANED

    def test_a_poller_and_a_worker_never_overwrite_each_other(self, ledger: Ledger, again: Ledger) -> None:
        """At one moment, through two handles: one of them is told to look again."""
        for turn in range(20):
            run, op = submitted(ledger)
            finished, mine = op.enter(RemotePhase.FINISHED), op.evolve(polls=5)
            hear: Callable[[], object] = partial(again.jobs.hear, run.job.job_id, finished)
            note: Callable[[], object] = partial(ledger.jobs.note, run.job.job_id, run.token, mine)
            answers = at_once([hear, note] if turn % 2 else [note, hear])
            heard, told = answers if turn % 2 else reversed(answers)
            if isinstance(heard, Noted):
                assert (told, remote_of(ledger, run.job)) == (Moved(finished), finished)
            else:
                assert (heard, remote_of(ledger, run.job)) == (Stale(), mine)
                assert isinstance(told, Noted)

    def test_an_unreachable_store_says_so_of_services(self, ledger: Ledger, cut_off: Ledger) -> None:
        """What was to be recorded was not; nothing may be bought on it."""
        job = new_job(new_asset(ledger.now), ledger.now)
        op, jobs = new_op(job), cut_off.jobs
        calls: dict[str, Callable[[], object]] = {
            "note": lambda: jobs.note(job.job_id, "t", op),
            "park": lambda: jobs.park(job.job_id, "t", op, until=ledger.now, stage="s"),
            "hear": lambda: jobs.hear(job.job_id, op),
            "remotes": lambda: jobs.remotes(limit=1),
            "remotes of a service": lambda: jobs.remotes(limit=1, service="auphonic"),
        }
        silent = [name for name, call in calls.items() if error_of(call, BackendUnavailableError) is None]
        assert silent == []


def working(ledger: Ledger, job: Job, **changes: object) -> RemoteOp:
    """Return an operation that the service works on, to be asked for in half a minute."""
    facts: dict[str, object] = {
        "phase": RemotePhase.SUBMITTED,
        "remote_id": "r1",
        "submitted_at": ledger.now,
        "next_poll": ledger.now + timedelta(seconds=30),
    }
    return new_op(job, **{**facts, **changes})


def noted(ledger: Ledger, run: Granted, op: RemoteOp) -> RemoteOp:
    """Note the operation; it must be recorded."""
    answer = ledger.jobs.note(run.job.job_id, run.token, op)
    assert answer == Noted(ledger.job(run.job))
    assert remote_of(ledger, run.job) == op
    return op


def submitted(ledger: Ledger, *, wait: timedelta = timedelta(seconds=30), **changes: Any) -> tuple[Granted, RemoteOp]:
    """Return a new run whose operation a service works on, to be asked for after `wait`."""
    run = ledger.running(ledger.ready(), **changes)
    return run, noted(ledger, run, working(ledger, run.job, next_poll=ledger.now + wait))


def park(ledger: Ledger, run: Granted, op: RemoteOp, until: timedelta = HOUR) -> Job:
    """Park the run; it must wait."""
    answer = ledger.jobs.park(run.job.job_id, run.token, op, until=ledger.now + until, stage="waiting")
    assert isinstance(answer, Requeued), answer
    return answer.job


def cancel_running(ledger: Ledger, run: Granted) -> None:
    """Cancel the running job; its worker commits too late."""
    ledger.jobs.cancel(DEFAULT_OWNER, run.job.job_id)
    ledger.jobs.commit(run.job.job_id, run.token, Publication(result={}))


def remote_of(ledger: Ledger, job: Job) -> RemoteOp:
    """Read the recorded operation."""
    remote = ledger.job(job).remote
    assert remote is not None
    return remote


def due(ledger: Ledger, service: str | None = None, *, limit: int = 100) -> list[JobId]:
    """Return the jobs that somebody has to look at, or all of a service."""
    return [job.job_id for job in ledger.jobs.remotes(limit=limit, service=service)]
