import json
import uuid
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musproj.codec import from_plain, to_plain
from musproj.domain import ledger
from musproj.domain.ids import JobId
from musproj.domain.remote import (
    CLEANUP_BASE,
    CLEANUP_CAP,
    CLEANUP_RARELY,
    CLEANUP_TRIES,
    KEEP_FAILED,
    KEPT_REQUESTS,
    Cost,
    CostState,
    RemoteFault,
    RemoteOp,
    RemotePhase,
    as_key,
    operation_token,
)
from musproj.errors import CorruptRecordError
from musproj.testing.clock import NOON
from musproj.testing.records import new_asset, new_job, new_op

ROOT = JobId("01JGFJJZ000000000000000000")
TOKEN = "a954b127-bc8b-5850-9f6f-60356482891e"
FAULT = RemoteFault(code="remote_unavailable", message="It did not answer.")
MOMENT = timedelta(milliseconds=1)


def op(**changes) -> RemoteOp:
    return new_op(new_job(new_asset(NOON), NOON), **changes)


def cost(state: CostState, **changes) -> Cost:
    return Cost(unit="minute", estimate=2.5, state=state, **changes)


# ── the record ──

texts = st.text(max_size=20)
times = st.none() | st.integers(0, 10**7).map(lambda ms: NOON + timedelta(milliseconds=ms))
amounts = st.floats(0, 1e9, allow_nan=False)
counts = st.integers(0, 1000)
faults = st.none() | st.builds(RemoteFault, code=texts, message=texts)
costs = st.builds(Cost, unit=texts, estimate=amounts, actual=st.none() | amounts, state=st.sampled_from(CostState))
ops = st.builds(
    RemoteOp,
    service=texts,
    account=texts,
    token=texts,
    request_digest=texts,
    cost=costs,
    phase=st.sampled_from(RemotePhase),
    intent=st.none() | texts,
    input_mode=st.sampled_from(["upload", "url"]),
    upload_ref=st.none() | texts,
    upload_expires=times,
    remote_id=st.none() | texts,
    submitted_at=times,
    deadline=times,
    next_poll=times,
    polls=counts,
    misses=counts,
    restarts=counts,
    tries=counts,
    fetches=counts,
    request_ids=st.lists(texts, max_size=5).map(tuple),
    error=faults,
    cleanup_due=times,
    cleanups=counts,
    heir=st.none() | texts,
    rev=st.integers(1, 10**6),
)


@given(ops)
def test_an_operation_comes_back_as_it_was_stored(kept):
    assert from_plain(RemoteOp, json.loads(json.dumps(to_plain(kept)))) == kept


@given(ops, st.dictionaries(st.text(min_size=1).map("x_".__add__), st.integers() | st.none() | texts))
def test_what_a_newer_writer_added_is_ignored(kept, added):
    plain = to_plain(kept)
    newer = {**added, **plain, "cost": {**added, **plain["cost"]}}
    assert from_plain(RemoteOp, newer) == kept


def test_a_phase_that_nobody_knows_is_no_record():
    with pytest.raises(CorruptRecordError):
        from_plain(RemoteOp, {**to_plain(op()), "phase": "dreaming"})


def test_times_are_aware_and_costs_not_negative():
    with pytest.raises(ValueError, match="next_poll must carry a time zone"):
        op(next_poll=NOON.replace(tzinfo=None))
    with pytest.raises(ValueError, match="estimate"):
        Cost(unit="minute", estimate=-0.1)


def test_what_it_costs_is_what_is_known_best():
    assert cost(CostState.MAYBE).known == 2.5
    assert cost(CostState.BILLED, actual=0.0).known == 0.0


# ── changes ──


@given(ops, st.sampled_from(RemotePhase))
def test_each_change_is_a_revision(before, phase):
    assert before.evolve().rev == before.rev + 1
    entered = before.enter(phase)
    assert (entered.rev, entered.phase) == (before.rev + 1, phase)
    assert (entered.intent, entered.tries, entered.error) == (None, 0, None)
    assert before.cleaned().rev == before.not_cleaned(FAULT, NOON).rev == before.rev + 1
    assert before.ended(succeeded=True, cancelled=False, now=NOON).rev == before.rev + 1


def test_a_phase_may_be_entered_with_more():
    draft = op(intent="create", tries=3, error=FAULT)
    staged = draft.enter(RemotePhase.STAGED, intent="submit", remote_id="r")
    assert staged == attrs.evolve(
        draft, phase=RemotePhase.STAGED, intent="submit", remote_id="r", tries=0, error=None, rev=2
    )


def test_the_last_request_ids_are_kept():
    known = op()
    assert known.heard_of(None) is known
    assert known.heard_of("") is known
    for number in range(KEPT_REQUESTS + 3):
        known = known.heard_of(str(number))
    assert known.request_ids == tuple(str(number) for number in range(3, KEPT_REQUESTS + 3))
    assert known.rev == 1


@pytest.mark.parametrize(
    ("facts", "is_at_service"),
    [({}, False), ({"remote_id": "r"}, True), ({"upload_ref": "u"}, True), ({"intent": "create"}, True)],
)
def test_a_call_whose_outcome_is_unknown_may_have_left_something(facts, is_at_service):
    assert op(**facts).is_at_service is is_at_service


# ── the end ──


@pytest.mark.parametrize(
    ("ending", "phase", "pause"),
    [
        ({"succeeded": True, "cancelled": False}, RemotePhase.COMMITTED, timedelta(0)),
        ({"succeeded": False, "cancelled": True}, RemotePhase.CANCELLED, timedelta(0)),
        ({"succeeded": False, "cancelled": False}, RemotePhase.SUBMITTED, KEEP_FAILED),
    ],
)
def test_how_a_job_ended_says_when_its_service_is_cleaned_up(ending, phase, pause):
    there = op(phase=RemotePhase.SUBMITTED, remote_id="r").ended(**ending, now=NOON)
    assert (there.phase, there.cleanup_due) == (phase, NOON + pause)
    nowhere = op(phase=RemotePhase.SUBMITTED).ended(**ending, now=NOON)
    assert (nowhere.phase, nowhere.cleanup_due) == (phase, None)


def test_what_is_lost_is_kept_for_nobody():
    lost = op(phase=RemotePhase.LOST, intent="submit").ended(succeeded=False, cancelled=False, now=NOON)
    assert (lost.phase, lost.cleanup_due) == (RemotePhase.LOST, NOON)


def test_only_what_was_committed_is_called_cleaned():
    for phase in RemotePhase:
        cleaned = op(phase=phase, remote_id="r", cleanup_due=NOON).cleaned()
        assert cleaned.cleanup_due is None
        assert cleaned.phase is (RemotePhase.CLEANED if phase is RemotePhase.COMMITTED else phase)


def test_the_cleaning_up_backs_off_and_is_tried_daily_in_the_end():
    left, now, pauses = op(phase=RemotePhase.COMMITTED, remote_id="r", cleanup_due=NOON), NOON, []
    for _ in range(CLEANUP_TRIES + 3):
        left = left.not_cleaned(FAULT, now)
        pauses.append(left.cleanup_due - now)
        now = left.cleanup_due
    assert (left.cleanups, left.cleanup_error) == (CLEANUP_TRIES + 3, FAULT)
    assert pauses[: CLEANUP_TRIES - 1] == [min(CLEANUP_CAP, CLEANUP_BASE * 2**n) for n in range(CLEANUP_TRIES - 1)]
    assert timedelta(days=2) < sum(pauses[: CLEANUP_TRIES - 1], timedelta(0)) < timedelta(days=4)
    assert set(pauses[CLEANUP_TRIES - 1 :]) == {CLEANUP_RARELY}


# ── retry ──

GOES_ON = [
    RemotePhase.PLANNED,
    RemotePhase.DRAFT,
    RemotePhase.STAGED,
    RemotePhase.SUBMITTED,
    RemotePhase.FINISHED,
]
THERE = {"remote_id": "r", "upload_ref": "u", "upload_expires": NOON, "intent": "submit", "error": FAULT}


@pytest.mark.parametrize("state", CostState)
@pytest.mark.parametrize("phase", GOES_ON)
def test_a_retry_goes_on_where_it_was(phase, state):
    retried = op(phase=phase, cost=cost(state), submitted_at=NOON, **THERE).for_retry()
    assert retried.phase is phase
    assert (retried.remote_id, retried.upload_ref, retried.intent, retried.error) == ("r", "u", "submit", None)
    assert retried.submitted_at == NOON


@pytest.mark.parametrize("phase", [RemotePhase.FAILED, RemotePhase.CANCELLED])
def test_what_cost_nothing_is_tried_anew(phase):
    retried = op(phase=phase, cost=cost(CostState.NONE), **THERE).for_retry()
    assert retried.phase is RemotePhase.PLANNED
    assert (retried.remote_id, retried.upload_ref, retried.upload_expires, retried.error) == (None, None, None, None)


@pytest.mark.parametrize(("there", "intent"), [(True, "create"), (False, None)])
def test_who_takes_over_what_bears_its_name_deletes_that_by_its_name(there, intent):
    old = op(phase=RemotePhase.CANCELLED, cost=cost(CostState.NONE), **(THERE if there else {}))
    retried = old.for_retry()
    assert (retried.intent, retried.is_at_service) == (intent, there)


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        (RemotePhase.FAILED, CostState.MAYBE),
        (RemotePhase.FAILED, CostState.BILLED),
        (RemotePhase.CANCELLED, CostState.MAYBE),
        (RemotePhase.CANCELLED, CostState.BILLED),
        (RemotePhase.LOST, CostState.MAYBE),
        (RemotePhase.LOST, CostState.BILLED),
    ],
)
def test_what_may_have_been_paid_is_not_paid_again(phase, state):
    retried = op(phase=phase, cost=cost(state), submitted_at=NOON, **THERE).for_retry()
    assert (retried.phase, retried.remote_id, retried.error) == (phase, "r", FAULT)


@pytest.mark.parametrize("state", CostState)
def test_what_was_cancelled_before_it_was_bought_is_planned_anew(state):
    retried = op(phase=RemotePhase.CANCELLED, cost=cost(state), **THERE).for_retry()
    assert (retried.phase, retried.error) == (RemotePhase.PLANNED, None)


@given(ops)
def test_a_retry_is_the_same_operation_with_new_counters(before):
    retried = before.for_retry()
    assert (retried.token, retried.request_digest, retried.cost) == (before.token, before.request_digest, before.cost)
    assert (retried.service, retried.account) == (before.service, before.account)
    assert (retried.cleanup_due, retried.cleanups, retried.rev) == (None, 0, 1)
    assert (retried.tries, retried.fetches, retried.polls, retried.misses, retried.restarts) == (0, 0, 0, 0, 0)
    assert retried.for_retry() == retried


# ── tokens ──


def test_a_token_never_changes():
    assert operation_token(ROOT) == operation_token(ROOT, "1") == TOKEN
    assert uuid.UUID(TOKEN).version == 5
    assert len({operation_token(ROOT), operation_token(ROOT, "2"), operation_token(JobId(f"{ROOT[:-1]}1"))}) == 3


@given(st.text(min_size=1), st.text(min_size=1))
def test_its_key_is_a_random_uuid_to_whoever_looks(root, step):
    token = operation_token(JobId(root), step)
    key = uuid.UUID(as_key(token))
    assert (key.version, key.variant) == (4, uuid.RFC_4122)
    assert as_key(token) == as_key(token) != token


# ── when somebody has to look ──


@pytest.mark.parametrize("phase", RemotePhase)
def test_a_live_job_is_looked_at_while_its_service_works(phase):
    job = new_job(new_asset(NOON), NOON)
    assert job.remote_due is None
    job = attrs.evolve(job, remote=new_op(job, phase=phase, next_poll=NOON, cleanup_due=NOON + MOMENT))
    assert job.remote_due == (NOON if phase is RemotePhase.SUBMITTED else None)
    assert job.end_cancelled(now=NOON).remote_due is None
    job = attrs.evolve(job, remote=job.remote.evolve(remote_id="r"))
    assert job.end_cancelled(now=NOON + MOMENT).remote_due == NOON + MOMENT


@given(ops, ops, st.sampled_from([-1, 0, 1, 2]))
def test_only_the_next_revision_follows(recorded, news, step):
    job = new_job(new_asset(NOON), NOON, remote=recorded)
    news = attrs.evolve(news, rev=max(1, recorded.rev + step))
    after, answer = ledger.hear(job, news, percent=None, now=NOON)
    if news.rev == recorded.rev + 1 or news == recorded:
        assert answer == ledger.Noted(after)
        assert after.remote == news
    else:
        assert (after, answer) == (job, ledger.Stale())
