"""Who asks services how far they are: a process that is kept alive, and one look at all that is due."""

import errno
import logging
import os
import subprocess
from contextlib import ExitStack
from datetime import timedelta
from types import SimpleNamespace

import attrs
import pytest

import musproj.worker.poller
from musproj import DEFAULT_OWNER, MusProj, Settings
from musproj.adapters.memory import MemoryAssetStore, MemoryJobStore
from musproj.adapters.memory.accounts import MemoryAccounts
from musproj.adapters.memory.state import MemoryState
from musproj.application import remote_poll
from musproj.application.remote_hearing import MAX_MISSES
from musproj.application.remote_policy import RemotePolicy
from musproj.application.remote_poll import LEADER_LIFE, Poller
from musproj.domain.ledger import Rules
from musproj.domain.remote import CostState, RemoteFault, RemotePhase
from musproj.errors import BackendUnavailableError, RemoteHostRefusedError
from musproj.ports.remote import CallClass, CallError, Caps, RemoteState, Update
from musproj.testing.clock import FakeClock
from musproj.testing.records import new_asset, new_job, new_op, source_version
from musproj.worker.poller import RESTART_S, PollerKeeper, poll_for_ever, poller_of

# ── its process ──────────────────────────────────────────────────────────────────────────────────


class Starter:
    """Starts a process that sleeps; knows all that it started."""

    def __init__(self):
        self.processes = []

    def __call__(self):
        self.processes.append(subprocess.Popen(["sleep", "60"]))
        return self.processes[-1].pid

    def kill(self):
        """Let the last one die, and wait until it is dead; the keeper reaps it."""
        self.processes[-1].kill()
        os.waitid(os.P_PID, self.processes[-1].pid, os.WEXITED | os.WNOWAIT)


@pytest.fixture
def starter():
    starter = Starter()
    yield starter
    for process in starter.processes:
        process.kill()
        process.wait()


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_nothing_is_kept_where_nothing_is_to_be_polled():
    keeper = PollerKeeper(start=None)
    keeper.step(0.0)
    keeper.close()
    assert keeper.pid is None


def test_one_process_is_started_and_kept(starter):
    keeper = PollerKeeper(start=starter)
    for second in range(60):
        keeper.step(float(second))
    assert [process.pid for process in starter.processes] == [keeper.pid]
    keeper.close()


def test_a_process_that_died_is_started_again_but_not_at_once(starter):
    keeper = PollerKeeper(start=starter)
    keeper.step(100.0)
    first = keeper.pid
    starter.kill()

    keeper.step(100.0 + RESTART_S - 0.1)
    assert len(starter.processes) == 1
    keeper.step(100.0 + RESTART_S)
    assert len(starter.processes) == 2
    assert keeper.pid not in (None, first)
    assert not is_there(first), "it is reaped"
    keeper.close()


def test_one_that_dies_again_and_again_is_started_less_and_less_often(starter):
    def start():
        pid = starter()
        starter.kill()
        return pid

    keeper = PollerKeeper(start=start)
    for tenth in range(300):
        keeper.step(tenth / 10)
    assert len(starter.processes) == 3  # at 0, 5 and 15 seconds
    keeper.close()


def test_a_process_that_cannot_be_started_is_tried_again(starter):
    failures = [OSError(errno.EAGAIN, "no process left")] * 2

    def start():
        if failures:
            raise failures.pop()
        return starter()

    keeper = PollerKeeper(start=start)
    for pauses in (0, 1, 3):
        keeper.step(pauses * RESTART_S)
    assert keeper.pid == starter.processes[0].pid
    keeper.close()


def test_closing_leaves_no_process(starter):
    keeper = PollerKeeper(start=starter)
    keeper.step(0.0)
    pid = keeper.pid
    keeper.close()
    assert keeper.pid is None
    assert not is_there(pid)
    keeper.close()


def test_closing_after_its_death_is_no_failure(starter):
    keeper = PollerKeeper(start=starter)
    keeper.step(0.0)
    starter.kill()
    keeper.close()
    assert keeper.pid is None


def test_a_process_that_somebody_else_reaped_is_started_again(starter):
    keeper = PollerKeeper(start=starter)
    keeper.step(0.0)
    starter.processes[0].kill()
    starter.processes[0].wait()
    keeper.step(RESTART_S)
    assert len(starter.processes) == 2
    keeper.close()


# ── what it polls ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def opened(tmp_path):
    """Give a function that opens an installation in memory, by its settings."""
    stores = {"data": tmp_path, "storage": "memory:", "metadata": "memory:", "queue": "memory:"}
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(MusProj.open(Settings(**stores, **settings)))


def test_without_keys_there_is_nothing_to_poll(opened):
    assert poller_of(opened(), "me") is None
    poll_for_ever(opened(), "me")


def test_without_accounts_there_is_nothing_to_poll(opened):
    mp = attrs.evolve(opened(lalal_key="k"), outside=None)
    assert poller_of(mp, "me") is None


def test_a_poller_has_all_services_with_a_key(opened):
    mp = opened(lalal_key="k", auphonic_key="k")
    poller = poller_of(mp, "me")

    assert {name: service.name for name, service in poller.services.items()} == {
        "lalal": "lalal", "auphonic": "auphonic"
    }  # fmt: skip
    assert poller.services["lalal"] is mp.services.open("lalal")
    assert poller.who == "me"


@pytest.mark.parametrize(
    "wrong",
    [
        {"auphonic_key": "k", "auphonic_url": "http://not.private/api"},
        {"auphonic_key": "file:/no/such/file"},
    ],
    ids=["plain http", "no key file"],
)
def test_a_service_that_cannot_be_used_hides_no_other_and_is_told(opened, caplog, wrong):
    with caplog.at_level(logging.ERROR):
        poller = poller_of(opened(lalal_key="k", **wrong), "me")

    assert set(poller.services) == {"lalal"}
    assert {record.action for record in caplog.records} <= {"service_unusable", "key_unreadable"}
    assert caplog.records


def test_a_key_of_a_service_that_is_none_hides_no_other(opened):
    assert set(poller_of(opened(lalal_key="k", service_keys=("nobody=k",)), "me").services) == {"lalal"}


# ── one round ────────────────────────────────────────────────────────────────────────────────────


class FakeService:
    """Answers what it is told to, by token or for all; an exception is raised."""

    account = "default"

    def __init__(self, name, **caps):
        self.name, self.key = name, f"{name}:{self.account}"
        self.caps = Caps(**{"poll_batch": 1, "calls_per_minute": 6_000.0, "burst": 100, **caps})
        self.updates = {}
        self.default = Update(state=RemoteState.RUNNING, fraction=0.5)
        self.polled, self.cancelled, self.cleaned, self.called = [], [], [], []
        self.failure = None

    def poll(self, ops):
        self.polled.append([op.token for op in ops])
        found = {op.token: self.updates.get(op.token, self.default) for op in ops}
        for update in found.values():
            if isinstance(update, BaseException):
                raise update
        return {token: update for token, update in found.items() if update is not None}

    def cancel(self, op):
        self.cancelled.append(op.token)
        self.called.append("cancel")
        self._fail()

    def cleanup(self, op):
        self.cleaned.append(op.token)
        self.called.append("cleanup")
        self._fail()

    def _fail(self):
        if self.failure:
            raise self.failure


@attrs.frozen(kw_only=True)
class Scene:
    """Jobs with operations at two services, in memory, and who polls them."""

    clock: FakeClock
    jobs: MemoryJobStore
    assets: MemoryAssetStore
    accounts: MemoryAccounts
    services: dict
    asset: object

    def poller(self, who="me", **changes):
        given = {
            "jobs": self.jobs, "accounts": self.accounts, "services": self.services, "policy": RemotePolicy(),
            "clock": self.clock, "who": who, **changes,
        }  # fmt: skip
        return Poller(**given)

    def round(self, **changes):
        return self.poller(**changes).round()

    def job(self, service="auphonic", *, due=0.0, ends=None, **changes):
        """Store a job whose operation is due in so many seconds; `ends` cancels it."""
        now = self.clock.now()
        job = new_job(self.asset, now, force=True)
        moment = now + timedelta(seconds=due)
        given = {
            "service": service, "phase": RemotePhase.SUBMITTED, "remote_id": "r", "submitted_at": now,
            "next_poll": moment, "deadline": now + timedelta(hours=2),
        }  # fmt: skip
        self.jobs.submit(attrs.evolve(job, remote=new_op(job, **{**given, **changes})))
        if ends:
            self.jobs.cancel(DEFAULT_OWNER, job.job_id)
        return job.job_id

    def op(self, job_id):
        return self.jobs.find(job_id).remote


@pytest.fixture
def scene():
    clock, state = FakeClock(), MemoryState()
    assets = MemoryAssetStore(state, clock)
    asset = new_asset(clock.now())
    assets.create(asset)
    assets.confirm(DEFAULT_OWNER, asset.asset_id, source_version(asset, clock.now()), ())
    return Scene(
        clock=clock,
        jobs=MemoryJobStore(state, clock, Rules()),
        assets=assets,
        accounts=MemoryAccounts(state, clock),
        services={"auphonic": FakeService("auphonic"), "lalal": FakeService("lalal", poll_batch=200)},
        asset=asset,
    )


def test_only_what_is_due_is_asked_for(scene):
    due, later = scene.job(), scene.job(due=1.0)

    assert scene.round() == 1
    assert scene.services["auphonic"].polled == [[scene.op(due).token]]
    assert scene.op(due).next_poll > scene.clock.now()
    assert scene.jobs.find(due).progress == round(95 * 0.5)
    assert scene.op(later).polls == 0
    assert scene.round() == 0


@pytest.mark.parametrize(
    "failure",
    [
        KeyError("result"),
        AttributeError("'str' object has no attribute 'get'"),
        TypeError("odd"),
        ValueError("odd"),
        RemoteHostRefusedError("It leads to 169.254.169.254."),
        CallError(CallClass.TRANSIENT, "It drips."),
        CallError(CallClass.NOT_SENT, "It is not there."),
        OSError("the disk is full"),
    ],
    ids=lambda failure: f"{type(failure).__name__} {failure}"[:30],
)
def test_an_answer_that_nobody_expected_puts_one_off_and_no_other(scene, failure):
    broken, fine, other = scene.job(), scene.job(), scene.job("lalal")
    scene.services["auphonic"].updates[scene.op(broken).token] = failure

    assert scene.round() == 3

    op = scene.op(broken)
    assert (op.phase, op.tries, op.error.code) == (RemotePhase.SUBMITTED, 1, "remote_unavailable")
    assert timedelta(0) < op.next_poll - scene.clock.now() <= timedelta(seconds=2)
    assert [(scene.op(each).tries, scene.op(each).polls) for each in (fine, other)] == [(0, 1), (0, 1)]


def test_a_batch_that_fails_is_put_off_as_a_whole_and_other_services_go_on(scene):
    batch, other = [scene.job("lalal") for _ in range(3)], scene.job()
    scene.services["lalal"].default = KeyError("label")

    assert scene.round() == 4
    assert [scene.op(each).tries for each in batch] == [1, 1, 1]
    assert scene.op(other).polls == 1


def test_what_was_put_off_is_forgotten_with_the_next_answer(scene):
    job = scene.job()
    auphonic = scene.services["auphonic"]
    auphonic.default = KeyError("status")
    scene.round()
    auphonic.default = Update(state=RemoteState.RUNNING)
    scene.clock.advance(2)
    scene.round()

    assert (scene.op(job).tries, scene.op(job).polls) == (0, 1)


@pytest.mark.parametrize("answer", [KeyError("status"), Update(state=RemoteState.RUNNING), None])
def test_what_never_answers_ends_by_its_deadline_and_is_stopped(scene, answer):
    job = scene.job(deadline=scene.clock.now())
    scene.services["auphonic"].default = answer
    scene.services["auphonic"].failure = KeyError("odd")
    scene.round()

    op = scene.op(job)
    assert (op.phase, op.error.code) == (RemotePhase.FAILED, "remote_deadline")
    assert scene.services["auphonic"].cancelled == [op.token]


@pytest.mark.parametrize(
    ("kind", "code"), [(CallClass.AUTH, "remote_auth"), (CallClass.QUOTA, "remote_quota")], ids=["auth", "quota"]
)
def test_an_account_that_lets_nobody_in_is_paused_for_all(scene, kind, code):
    first, second, other = scene.job(), scene.job(), scene.job("lalal")
    scene.services["auphonic"].default = CallError(kind, "No.")
    scene.round()

    (pause,) = scene.accounts.pauses()
    assert (pause.account, pause.fault.code) == ("auphonic:default", code)
    assert sorted(scene.op(each).tries for each in (first, second)) == [0, 1]
    assert scene.op(other).polls == 1
    assert len(scene.services["auphonic"].polled) == 1, "nobody else is asked for in this round"


@pytest.mark.parametrize(
    ("code", "goes_on"), [("remote_quota", True), ("remote_auth", False), ("remote_unavailable", False)]
)
def test_only_for_want_of_money_what_was_bought_is_still_asked_for(scene, code, goes_on):
    job, ended = scene.job(), scene.job(ends=True)
    auphonic = scene.services["auphonic"]
    auphonic.default = Update(state=RemoteState.FINISHED)
    scene.accounts.pause("auphonic:default", RemoteFault(code=code, message="No."), timedelta(minutes=5))

    assert scene.round() == (2 if goes_on else 0)
    assert (scene.op(job).phase is RemotePhase.FINISHED) is goes_on
    assert (scene.op(ended).cleanup_due is None) is goes_on
    assert bool(auphonic.polled) is goes_on
    scene.clock.advance(300)
    scene.round()
    assert scene.op(job).phase is RemotePhase.FINISHED, "the pause is over"


def test_many_of_a_service_that_nobody_can_ask_hide_no_other(scene, monkeypatch):
    monkeypatch.setattr(remote_poll, "PAGE", 2)
    strangers = [scene.job("unknown", due=-60.0) for _ in range(5)]
    many, other = [scene.job("lalal", due=-30.0) for _ in range(5)], scene.job()

    assert scene.round() == 3
    assert scene.op(other).polls == 1
    assert sum(scene.op(each).polls for each in many) == 2, "a page"
    assert {scene.op(each).polls for each in strangers} == {0}


def test_a_record_that_cannot_be_written_keeps_no_other_waiting(scene, caplog):
    bad, fine = [scene.job("lalal") for _ in range(2)]

    class Store:
        def __getattr__(self, name):
            return getattr(scene.jobs, name)

        def hear(self, job_id, op, **options):
            if job_id == bad:
                raise ValueError("odd")
            return scene.jobs.hear(job_id, op, **options)

    scene.round(jobs=Store())

    assert [scene.op(each).polls for each in (bad, fine)] == [0, 1]
    (record,) = [record for record in caplog.records if record.name == "musproj.services"]
    assert (record.action, record.job) == ("remote_failed", bad)


def test_a_crowd_is_asked_for_less_often(scene):
    crowd = [scene.job() for _ in range(100)]
    scene.services["auphonic"].caps = Caps(calls_per_minute=60.0, burst=200)
    scene.round()

    waits = [(scene.op(each).next_poll - scene.clock.now()).total_seconds() for each in crowd]
    assert min(waits) >= 0.8 * 2 * 99


@pytest.mark.parametrize(("asked", "seconds"), [(7.0, 7.0), (None, 60.0), (0.0, 0.0)])
def test_a_service_that_asks_for_patience_gets_it(scene, asked, seconds):
    first, second = scene.job(), scene.job()
    scene.services["auphonic"].default = CallError(CallClass.REFUSED, "Too many.", retry_after=asked)
    scene.round()

    assert len(scene.services["auphonic"].polled) == 1
    assert sorted(scene.op(each).tries for each in (first, second)) == [0, 1]
    assert scene.accounts.take("auphonic:default", per_minute=6_000, burst=100) == pytest.approx(seconds)


def test_another_poller_waits_until_the_leader_is_gone(scene):
    job = scene.job(deadline=scene.clock.now() + timedelta(days=1))
    scene.round(who="one")
    scene.clock.advance(LEADER_LIFE - timedelta(seconds=1))
    assert scene.round(who="two") == 0
    assert scene.op(job).polls == 1
    scene.clock.advance(2)
    assert scene.round(who="two") == 1


def test_no_more_is_asked_than_the_account_allows(scene):
    scene.services["auphonic"].caps = Caps(calls_per_minute=60.0, burst=2)
    for _ in range(5):
        scene.job()
    assert scene.round() == 2
    assert scene.round() == 0
    scene.clock.advance(1.0)
    assert scene.round() == 1


def test_a_service_without_a_key_here_is_left_to_others(scene):
    job = scene.job()
    assert scene.round(services={}) == 0
    assert scene.op(job).polls == 0


# ── what is heard ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        (RemoteState.QUEUED, RemotePhase.SUBMITTED),
        (RemoteState.RUNNING, RemotePhase.SUBMITTED),
        (RemoteState.FINISHED, RemotePhase.FINISHED),
        (RemoteState.FAILED, RemotePhase.FAILED),
        (RemoteState.CANCELLED, RemotePhase.CANCELLED),
        (RemoteState.GONE, RemotePhase.SUBMITTED),
        (RemoteState.NOT_STARTED, RemotePhase.STAGED),
        (RemoteState.OUTDATED, RemotePhase.STAGED),
        (RemoteState.NEEDS_INPUT, RemotePhase.DRAFT),
    ],
)
def test_every_state_leads_to_its_phase(scene, state, phase):
    job = scene.job()
    scene.services["auphonic"].default = Update(state=state, request_id="r1")
    scene.round()

    op = scene.op(job)
    assert op.phase is phase
    assert op.request_ids == ("r1",)
    assert (op.next_poll is None) is (phase is not RemotePhase.SUBMITTED)
    assert (op.cost.state is CostState.BILLED) is (phase is RemotePhase.FINISHED)


def test_what_it_cost_is_written_down_with_the_end(scene):
    job = scene.job()
    scene.services["auphonic"].default = Update(state=RemoteState.FINISHED, actual=0.75)
    scene.round()
    assert (scene.op(job).cost.actual, scene.op(job).cost.state) == (0.75, CostState.BILLED)


def test_what_is_gone_is_asked_for_again_before_it_is_lost(scene):
    job = scene.job()
    scene.services["auphonic"].default = Update(state=RemoteState.GONE)
    began = scene.clock.now()
    for _ in range(MAX_MISSES):
        scene.round()
        scene.clock.advance(30)

    assert scene.op(job).phase is RemotePhase.LOST
    assert scene.op(job).error.code == "remote_lost"
    assert scene.clock.now() - began >= timedelta(seconds=60)


def test_what_was_missed_in_between_is_not_lost(scene):
    job = scene.job()
    auphonic = scene.services["auphonic"]
    for state in (RemoteState.GONE, RemoteState.GONE, RemoteState.RUNNING, RemoteState.GONE, RemoteState.GONE):
        auphonic.default = Update(state=state)
        scene.round()
        scene.clock.advance(40)
    assert (scene.op(job).phase, scene.op(job).misses) == (RemotePhase.SUBMITTED, 2)


@pytest.mark.parametrize("fraction", [-5.0, 0.0, 0.5, 1.0, 40.0, None])
def test_progress_stays_within_its_bounds_and_leaves_room_for_what_is_left_to_do(scene, fraction):
    job = scene.job()
    scene.services["auphonic"].default = Update(state=RemoteState.RUNNING, fraction=fraction)
    scene.round()
    assert 0 <= scene.jobs.find(job).progress <= 95


# ── what is deleted ──────────────────────────────────────────────────────────────────────────────


def test_what_has_ended_is_deleted_at_the_service(scene):
    job = scene.job(ends=True)
    assert scene.round() == 1

    op = scene.op(job)
    assert scene.services["auphonic"].cleaned == [op.token]
    assert op.cleanup_due is None
    assert scene.round() == 0


@pytest.mark.parametrize(
    ("phase", "remote_id", "calls"),
    [
        (RemotePhase.CANCELLED, "r", ["cancel", "cleanup"]),
        (RemotePhase.LOST, "r", ["cancel", "cleanup"]),
        (RemotePhase.SUBMITTED, "r", ["cancel", "cleanup"]),
        (RemotePhase.CANCELLED, None, ["cleanup"]),
        (RemotePhase.LOST, None, ["cleanup"]),
        (RemotePhase.FAILED, "r", ["cancel", "cleanup"]),
        (RemotePhase.FINISHED, "r", ["cleanup"]),
        (RemotePhase.COMMITTED, "r", ["cleanup"]),
    ],
)
def test_what_may_still_run_is_stopped_before_it_is_deleted(scene, phase, remote_id, calls):
    job = scene.job(ends=True)
    ended = scene.op(job)
    scene.jobs.hear(job, ended.evolve(phase=phase, remote_id=remote_id, upload_ref="u"))
    scene.round()

    assert scene.services["auphonic"].called == calls
    assert scene.op(job).cleanup_due is None


def test_what_could_not_be_stopped_is_not_deleted_yet(scene):
    job = scene.job(ends=True)
    scene.services["auphonic"].failure = CallError(CallClass.TRANSIENT, "Away.")
    scene.round()

    assert scene.services["auphonic"].called == ["cancel"]
    assert scene.op(job).cleanup_due > scene.clock.now()


@pytest.mark.parametrize("failure", [KeyError("odd"), CallError(CallClass.TRANSIENT, "Away."), OSError("full")])
def test_what_could_not_be_deleted_is_tried_later_and_others_are_not_held_up(scene, failure):
    first, other = scene.job(ends=True), scene.job("lalal", ends=True)
    scene.services["auphonic"].failure = failure
    scene.round()

    op = scene.op(first)
    assert (op.cleanups, op.cleanup_due) == (1, scene.clock.now() + timedelta(minutes=1))
    assert (op.cleanup_error.code, op.error) == ("remote_unavailable", None)
    assert scene.op(other).cleanup_due is None
    scene.services["auphonic"].failure = None
    scene.clock.advance(60)
    assert scene.round() == 1
    assert (scene.op(first).cleanup_due, scene.op(first).cleanup_error) == (None, None)


# ── for ever ─────────────────────────────────────────────────────────────────────────────────────


class Jobs:
    """A store that has nothing due, is away as often as is told, and ends the loop at last."""

    def __init__(self, outcomes):
        self.outcomes = outcomes

    def remotes(self, *, limit, service=None, only_due=False):
        assert (service, only_due) == ("lalal", True)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.mark.parametrize(("settings", "nap"), [({}, 0.5), ({"economy": True}, 30.0), ({"remote_poll_s": 60.0}, 5.0)])
def test_records_that_are_away_are_waited_for(opened, monkeypatch, settings, nap):
    mp, naps = opened(**{"lalal_key": "k", "remote_poll_s": 0.5, **settings}), []
    jobs = Jobs([BackendUnavailableError("away"), [], KeyboardInterrupt()])
    monkeypatch.setattr(musproj.worker.poller, "time", SimpleNamespace(sleep=naps.append))

    with pytest.raises(KeyboardInterrupt):
        poll_for_ever(attrs.evolve(mp, metadata=attrs.evolve(mp.metadata, jobs=jobs)), "me")
    assert naps == [2.0, nap]
