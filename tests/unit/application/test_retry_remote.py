"""Jobs at outside services: a retry takes over what was bought, and an identical job is not bought again."""

import threading
from datetime import timedelta

import attrs
import pytest
from attrs.validators import in_

from musproj.application.jobs import InputRef, JobSpec
from musproj.domain.job import JobStatus
from musproj.domain.ledger import Failure, FailureKind, Noted, Worker
from musproj.domain.remote import Cost, CostState, RemoteFault, RemotePhase
from musproj.errors import InvalidParamsError, JobNotRetryableError
from musproj.ports.jobs import Created, Existing, Publication
from musproj.ports.processor import Outcome, Port, ProcessorSpec, RemoteTask, service_need
from musproj.registry import ProcessorCatalog
from musproj.testing.records import new_op

OWNER = "default"
BOUGHT = Cost(unit="minute", estimate=1.0, actual=1.5, state=CostState.BILLED)
FAULT = RemoteFault(code="remote_rejected", message="No voice.")


@attrs.frozen(kw_only=True)
class SplitParams:
    engine: str = attrs.field(default="local", validator=in_(("local", "box")))
    strength: float = 1.0


def _given(params):
    if params.engine == "local":
        return SPLIT.spec
    task = RemoteTask(service="box", request={"strength": params.strength}, files={"a": "made"})
    return attrs.evolve(SPLIT.spec, paid=True, task=task)


def _needs(params):
    return () if params.engine == "local" else (service_need("box"),)


@attrs.frozen
class FakeProcessor:
    spec: ProcessorSpec

    def run(self, inputs, params, ctx):
        return Outcome()


SPLIT = FakeProcessor(
    ProcessorSpec(
        name="split", version="1", params=SplitParams, outputs=(Port("made", "made"),), for_params=_given, needs=_needs
    )
)
WORKER = Worker(worker_id="w", types=frozenset({"split"}), abilities=frozenset({service_need("box")}))


@attrs.frozen(kw_only=True)
class Shop:
    """The world with a processor whose work a service may do."""

    world: object
    jobs: object
    asset: object

    @property
    def store(self):
        return self.world.job_store

    def submit(self, engine="box", *, jobs=None, force=False, **params):
        given = {"engine": engine} | params if engine else params
        ref = InputRef(asset_id=self.asset.asset_id)
        return (jobs or self.jobs).submit(
            OWNER, JobSpec(type="split", inputs={"input": ref}, params=given, force=force)
        )

    def begin(self):
        granted = self.world.queue.claim(WORKER)
        assert granted is not None
        return granted

    def failed(self, phase=RemotePhase.FAILED, **changes):
        """Submit a job, let it come to `phase` at its service, and fail; return its record."""
        job = self.submit(force=True).job
        granted = self.begin()
        given = {"phase": phase, "remote_id": "r", "cost": BOUGHT, "error": FAULT, **changes}
        op = new_op(job, service="box", **given)
        assert isinstance(self.store.note(job.job_id, granted.token, op), Noted)
        failure = Failure(kind=FailureKind.PERMANENT, code="remote_rejected", message="No voice.")
        self.store.release(job.job_id, granted.token, failure)
        return self.now(job)

    def now(self, job):
        return self.store.get(OWNER, job.job_id)

    def retry(self, job):
        return self.jobs.retry(OWNER, job.job_id)


@pytest.fixture
def shop(world, ready):
    jobs = attrs.evolve(world.jobs, catalog=ProcessorCatalog(extra=(SPLIT,)))
    return Shop(world=world, jobs=jobs, asset=ready())


# ── the heir ─────────────────────────────────────────────────────────────────────────────────────


def test_a_retry_takes_over_the_operation_and_its_money(shop):
    old = shop.failed(RemotePhase.FINISHED, polls=7, fetches=3, tries=2, error=None)
    answer = shop.retry(old)

    job, op = answer.job, answer.job.remote
    assert isinstance(answer, Created)
    assert (job.retry_of, job.root_job_id, job.needs) == (old.job_id, old.root_job_id, old.needs)
    assert (op.token, op.remote_id, op.phase, op.cost) == (old.remote.token, "r", RemotePhase.FINISHED, BOUGHT)
    assert (op.polls, op.fetches, op.tries, op.rev, op.cleanup_due) == (0, 0, 0, 1, None)


def test_the_forerunner_names_its_heir(shop):
    old = shop.failed()
    job = shop.retry(old).job

    assert shop.now(old).remote == old.remote.evolve(heir=job.job_id)


def test_the_heir_is_named_before_it_is_there(shop):
    """Else what it is to find might be deleted between the two."""
    old, seen = shop.failed(), []

    class Store:
        def __getattr__(self, name):
            return getattr(shop.store, name)

        def submit(self, job, *args, **options):
            seen.append((shop.now(old).remote.heir, shop.store.find(job.job_id)))
            return shop.store.submit(job, *args, **options)

    job = attrs.evolve(shop.jobs, jobs=Store()).retry(OWNER, old.job_id).job
    assert seen == [(job.job_id, None)]


def test_an_heir_whose_submitter_died_is_made_under_the_same_id(shop):
    old = shop.failed(RemotePhase.FINISHED)

    class Store:
        def __getattr__(self, name):
            return getattr(shop.store, name)

        def submit(self, job, *args, **options):
            raise SystemExit

    with pytest.raises(SystemExit):
        attrs.evolve(shop.jobs, jobs=Store()).retry(OWNER, old.job_id)
    named = shop.now(old).remote.heir
    assert shop.store.find(named) is None

    answer = shop.retry(old)
    assert isinstance(answer, Created)
    assert answer.job.job_id == named
    assert answer.job.remote.remote_id == "r"
    assert shop.now(old).remote.heir == named


def test_a_second_retry_gives_the_same_job(shop):
    old = shop.failed()
    first, second = shop.retry(old), shop.retry(old)

    assert isinstance(second, Existing)
    assert second.job.job_id == first.job.job_id
    assert shop.now(old).remote.rev == old.remote.rev + 1


def test_a_second_retry_goes_on_from_the_heir_that_failed(shop):
    old = shop.failed(RemotePhase.FINISHED)
    heir = shop.retry(old).job
    granted = shop.begin()
    failure = Failure(kind=FailureKind.PERMANENT, code="odd", message="Odd.")
    shop.store.release(heir.job_id, granted.token, failure)

    again = shop.retry(old).job

    assert again.job_id not in (old.job_id, heir.job_id)
    assert (again.retry_of, again.root_job_id) == (heir.job_id, old.root_job_id)
    assert (again.remote.token, again.remote.heir) == (old.remote.token, None)


@pytest.mark.parametrize("ends", ["running", "succeeded"])
def test_a_second_retry_gives_the_same_job_while_it_lives_or_is_done(shop, ends):
    old = shop.failed(RemotePhase.FINISHED)
    heir = shop.retry(old).job
    granted = shop.begin()
    if ends == "succeeded":
        shop.store.commit(heir.job_id, granted.token, Publication(result={}))

    again = shop.retry(old)
    assert (again.job.job_id, str(again.job.status)) == (heir.job_id, ends)


def test_retries_at_once_have_one_heir(shop):
    old, found, barrier = shop.failed(), [], threading.Barrier(8)

    def retry():
        barrier.wait()
        found.append(shop.retry(old).job.job_id)

    threads = [threading.Thread(target=retry) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [shop.now(old).remote.heir] * 8


def test_a_poller_that_is_faster_is_asked_again(shop):
    """The record moves on between the look and the word."""
    old, moves = shop.failed(), []

    class Store:
        def __getattr__(self, name):
            return getattr(shop.store, name)

        def hear(self, job_id, op, **options):
            if not moves:
                moves.append(shop.store.hear(job_id, shop.now(old).remote.evolve(cleanups=1)))
            return shop.store.hear(job_id, op, **options)

    job = attrs.evolve(shop.jobs, jobs=Store()).retry(OWNER, old.job_id).job
    assert (shop.now(old).remote.heir, shop.now(old).remote.cleanups) == (job.job_id, 1)


@pytest.mark.parametrize(
    ("changes", "phase", "remote_id"),
    [
        ({"phase": RemotePhase.FAILED}, RemotePhase.FAILED, "r"),
        ({"phase": RemotePhase.LOST}, RemotePhase.LOST, "r"),
        ({"phase": RemotePhase.STAGED}, RemotePhase.STAGED, "r"),
        ({"phase": RemotePhase.FINISHED}, RemotePhase.FINISHED, "r"),
        (
            {"phase": RemotePhase.FAILED, "cost": attrs.evolve(BOUGHT, state=CostState.NONE, actual=None)},
            RemotePhase.PLANNED,
            None,
        ),
    ],
    ids=["failed", "lost", "staged", "finished", "failed unpaid"],
)
def test_what_was_paid_stays_as_it_ended_and_what_was_not_begins_anew(shop, changes, phase, remote_id):
    op = shop.retry(shop.failed(**changes)).job.remote
    assert (op.phase, op.remote_id) == (phase, remote_id)
    assert (op.error is None) is (phase not in (RemotePhase.FAILED, RemotePhase.LOST))


def test_a_job_that_was_cancelled_before_it_ran_is_retried_without_an_operation(shop):
    job = shop.submit().job
    shop.jobs.cancel(OWNER, job.job_id)
    answer = shop.retry(job)

    assert isinstance(answer, Created)
    assert answer.job.remote is None
    assert shop.retry(job).job.job_id == answer.job.job_id, "an identical live job"


def test_what_runs_or_succeeded_has_no_heir(shop):
    job = shop.submit().job
    granted = shop.begin()
    shop.store.note(job.job_id, granted.token, new_op(job, service="box"))
    with pytest.raises(JobNotRetryableError):
        shop.retry(job)
    shop.store.commit(job.job_id, granted.token, Publication(result={}))
    with pytest.raises(JobNotRetryableError):
        shop.retry(job)
    assert shop.now(job).remote.heir is None


def test_what_an_heir_is_to_find_stays_where_the_forerunner_left_it(shop):
    old = shop.failed(RemotePhase.FINISHED)
    due = old.remote.cleanup_due
    assert due > shop.world.clock.now() + timedelta(hours=23)

    shop.retry(old)
    assert shop.now(old).remote.cleanup_due == due


# ── engines ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def with_engine(shop):
    return attrs.evolve(shop.jobs, catalog=ProcessorCatalog(extra=(SPLIT,), engines={"split": "box"}))


def test_the_installations_engine_is_filled_in_and_shown(shop, with_engine):
    job = shop.submit(None, jobs=with_engine).job

    assert job.params == {"engine": "box", "strength": 1.0}
    assert job.needs == (service_need("box"),)


def test_an_engine_that_the_job_names_goes_before(shop, with_engine):
    job = shop.submit("local", jobs=with_engine).job
    assert (job.params["engine"], job.needs) == ("local", ())


def test_without_the_setting_nothing_is_paid(shop):
    job = shop.submit(None).job
    assert (job.params["engine"], job.needs) == ("local", ())


def test_a_retry_keeps_the_engine_that_the_job_had(shop, with_engine):
    local = shop.submit("local").job
    shop.jobs.cancel(OWNER, local.job_id)
    assert with_engine.retry(OWNER, local.job_id).job.params["engine"] == "local"


def test_engines_of_others_change_nothing(shop):
    jobs = attrs.evolve(shop.jobs, catalog=ProcessorCatalog(extra=(SPLIT,), engines={"other": "box"}))
    assert shop.submit(None, jobs=jobs).job.params["engine"] == "local"


@pytest.mark.parametrize("params", [{}, {"strength": 2.0}])
def test_an_engine_that_is_none_is_told_to_who_submits(shop, params):
    jobs = attrs.evolve(shop.jobs, catalog=ProcessorCatalog(extra=(SPLIT,), engines={"split": "bax"}))
    with pytest.raises(InvalidParamsError) as caught:
        shop.submit(None, jobs=jobs, **params)
    assert [violation.pointer for violation in caught.value.violations] == ["/params/engine"]
    assert shop.submit("local", jobs=jobs).job.status is JobStatus.QUEUED


# ── the same once more ───────────────────────────────────────────────────────────────────────────


def finish(shop):
    granted = shop.begin()
    shop.store.commit(granted.job.job_id, granted.token, Publication(result={}))
    return shop.now(granted.job)


def test_an_identical_job_that_was_bought_is_the_answer(shop):
    shop.submit()
    done = finish(shop)
    again = shop.submit()

    assert isinstance(again, Existing)
    assert (again.job.job_id, again.job.status, again.replayed) == (done.job_id, JobStatus.SUCCEEDED, False)


def test_an_identical_job_that_is_being_bought_is_the_answer(shop):
    first = shop.submit().job
    assert shop.submit().job.job_id == first.job_id
    shop.begin()
    assert shop.submit().job.job_id == first.job_id


def test_the_same_is_bought_by_the_installations_engine(shop, with_engine):
    shop.submit()
    done = finish(shop)
    assert shop.submit(None, jobs=with_engine).job.job_id == done.job_id


def test_force_buys_again(shop):
    shop.submit()
    done = finish(shop)
    again = shop.submit(force=True)

    assert isinstance(again, Created)
    assert again.job.job_id != done.job_id
    assert again.job.remote is None
    assert again.job.root_job_id == again.job.job_id, "another token"


def test_other_parameters_are_another_purchase(shop):
    shop.submit()
    done = finish(shop)
    assert shop.submit(strength=2.0).job.job_id != done.job_id


def test_what_this_machine_does_is_done_again(shop):
    shop.submit("local")
    done = finish(shop)
    assert shop.submit("local").job.job_id != done.job_id


@pytest.mark.parametrize("state", [CostState.MAYBE, CostState.BILLED])
def test_an_identical_job_after_one_that_was_paid_and_failed_is_its_retry(shop, state):
    old = shop.failed(cost=attrs.evolve(BOUGHT, state=state))
    again = shop.submit()

    assert isinstance(again, Created)
    assert again.job.job_id == shop.now(old).remote.heir != old.job_id
    assert (again.job.retry_of, again.job.root_job_id) == (old.job_id, old.root_job_id)
    op = again.job.remote
    assert (op.token, op.remote_id, op.phase, op.cost) == (
        old.remote.token, "r", RemotePhase.FAILED, old.remote.cost
    )  # fmt: skip
    assert shop.submit().job.job_id == shop.retry(old).job.job_id == again.job.job_id, "one heir, however asked for"


def test_after_several_failures_the_last_is_what_is_retried(shop):
    first = shop.failed(RemotePhase.FINISHED)
    heir = shop.retry(first).job
    granted = shop.begin()
    failure = Failure(kind=FailureKind.PERMANENT, code="odd", message="Odd.")
    shop.store.release(heir.job_id, granted.token, failure)

    again = shop.submit().job
    assert (again.retry_of, again.root_job_id) == (heir.job_id, first.root_job_id)
    assert (again.remote.token, again.remote.phase) == (first.remote.token, RemotePhase.FINISHED)


@pytest.mark.parametrize("how", ["unpaid", "forced", "other parameters"])
def test_what_is_no_retry_of_it_begins_anew(shop, how):
    unpaid = attrs.evolve(BOUGHT, state=CostState.NONE, actual=None)
    old = shop.failed(cost=unpaid if how == "unpaid" else BOUGHT)
    again = shop.submit(force=how == "forced", **({"strength": 2.0} if how == "other parameters" else {}))

    assert isinstance(again, Created)
    assert (again.job.remote, again.job.retry_of) == (None, None)
    assert again.job.root_job_id == again.job.job_id
    assert shop.now(old).remote.heir is None
