"""A job's process may speak for its own job alone."""

import socket
import subprocess
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from musproj.adapters.memory.accounts import MemoryAccounts
from musproj.adapters.memory.state import MemoryState
from musproj.codec import to_plain
from musproj.domain.job import FailureKind
from musproj.domain.keys import ObjectKey
from musproj.domain.ledger import (
    AssetDeleted,
    CancelledFirst,
    Committed,
    Ended,
    Failure,
    Moved,
    Noted,
    NumberTaken,
    Requeued,
    Reserved,
    Stale,
)
from musproj.errors import BackendUnavailableError, CorruptRecordError, JobNotFoundError
from musproj.ports.jobs import Publication
from musproj.ports.processor import service_need
from musproj.testing.clock import FakeClock
from musproj.testing.records import made_attachment, made_version, new_asset, new_job, new_op
from musproj.worker.board import Board
from musproj.worker.events import Teller
from musproj.worker.line import AskAccount, Commit, Failed, Inbox, Note, Park, Reserve, Stopped, encode, receive
from musproj.worker.needs import Needs
from musproj.worker.outage import Outage
from musproj.worker.process import ChildProcess
from musproj.worker.run import Run, Why
from musproj.worker.settlement import Settler
from musproj.worker.switchboard import Switchboard

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASSET = new_asset(NOON)
JOB = new_job(ASSET, NOON)


class Jobs:
    """A store that says what it is told to, and keeps what it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def reserve(self, job_id, token, *, above=0):
        return self._say("reserve", job_id, token, above)

    def commit(self, job_id, token, publication):
        return self._say("commit", job_id, token, publication)

    def note(self, job_id, token, op):
        return self._say("note", job_id, token, op)

    def park(self, job_id, token, op, *, until, stage):
        return self._say("park", job_id, token, op, until, stage)

    def _say(self, *asked):
        self.asked.append(asked)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Queue:
    def __init__(self):
        self.acked = []

    def ack(self, job_id):
        self.acked.append(job_id)


@attrs.frozen
class Desk:
    board: Switchboard
    run: Run
    child: socket.socket
    jobs: Jobs
    queue: Queue
    events: list

    def say(self, *sayings):
        for saying in sayings:
            self.child.sendall(encode(saying))
        return self.board.hear(self.run)

    def answers(self):
        return receive(self.child, Inbox())

    def actions(self):
        return [event.action for event in self.events]


@pytest.fixture
def desk_of():
    opened = []

    def make(answer=None, *, job=JOB, accounts=None):
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(["sleep", "60"], start_new_session=True)
        opened.append((ours, theirs, process))
        needs = Needs(versions={}, memory_mb=1, limit_bytes=1 << 30, seconds=60)
        run = Run(job=job, token="t", needs=needs)
        run.begin(ChildProcess(pid=process.pid, line=ours, board=Board.anonymous(), pidfd=None))
        events = []
        tell, jobs, queue = Teller("w", events.append), Jobs(answer), Queue()
        outage = Outage(tell)
        settle = Settler(jobs=jobs, queue=queue, outage=outage, tell=tell)
        board = Switchboard(jobs=jobs, accounts=accounts, settle=settle, outage=outage, tell=tell)
        return Desk(board, run, theirs, jobs, queue, events)

    yield make
    for ours, theirs, process in opened:
        ours.close()
        theirs.close()
        process.kill()
        process.wait()


def version(number=2):
    return made_version(ASSET, JOB, number, NOON)


def test_a_number_is_asked_for_in_the_name_of_the_job(desk_of):
    desk = desk_of(Reserved(4))
    assert desk.say(Reserve(3))
    assert desk.jobs.asked == [("reserve", JOB.job_id, "t", 3)]
    assert desk.answers() == [{"is": "Reserved", "number": 4}]


def test_a_commit_ends_the_run_and_acknowledges_the_delivery(desk_of):
    desk = desk_of(Committed(JOB))
    publication = Publication(version=version(), moves_head=True)
    desk.say(Commit(publication))
    assert desk.jobs.asked == [("commit", JOB.job_id, "t", publication)]
    assert desk.answers() == [{"is": "Committed", "again": False}]
    assert desk.run.is_over
    assert desk.queue.acked == [JOB.job_id]
    assert desk.actions() == ["job_committed"]


def test_a_repeated_commit_is_told_of_once(desk_of):
    desk = desk_of(Committed(JOB))
    desk.say(Commit(Publication()), Commit(Publication()))
    assert desk.actions() == ["job_committed"]
    assert desk.queue.acked == [JOB.job_id]


@pytest.mark.parametrize(
    ("answer", "action", "is_acked"),
    [(CancelledFirst(JOB), "job_cancelled", True), (Stale(), "job_fenced", False)],
)
def test_a_commit_that_came_too_late_ends_the_run_too(desk_of, answer, action, is_acked):
    desk = desk_of(answer)
    desk.say(Commit(Publication()))
    assert desk.run.is_over
    assert desk.actions() == [action]
    assert desk.queue.acked == ([JOB.job_id] if is_acked else [])


@pytest.mark.parametrize("answer", [NumberTaken(), AssetDeleted()])
def test_a_refused_commit_leaves_the_run_to_its_process(desk_of, answer):
    desk = desk_of(answer)
    desk.say(Commit(Publication()))
    assert not desk.run.is_over
    assert desk.answers() == [{"is": type(answer).__name__}]


def test_a_run_that_lost_its_job_gets_no_number(desk_of):
    desk = desk_of(Reserved(4))
    desk.run.is_over = True
    desk.say(Reserve(0))
    assert desk.answers() == [{"is": "Stale"}]
    assert desk.jobs.asked == []


@pytest.mark.parametrize(
    ("error", "away", "actions"),
    [(BackendUnavailableError("gone"), True, ["backend_down"]), (JobNotFoundError("gone"), False, [])],
)
def test_a_store_that_fails_is_told_to_the_process(desk_of, error, away, actions):
    desk = desk_of(error)
    desk.say(Reserve(0))
    assert desk.answers() == [{"is": "error", "message": "gone", "away": away}]
    assert desk.actions() == actions


def test_a_failure_is_kept_until_the_process_has_ended(desk_of):
    desk = desk_of()
    failure = Failure(kind=FailureKind.PERMANENT, code="not_audio", message="no audio")
    desk.say(Failed(failure), Stopped())
    assert desk.run.failure == failure
    assert desk.events == []


def test_the_end_of_the_line_is_told(desk_of):
    desk = desk_of()
    desk.child.close()
    assert desk.board.hear(desk.run) is False


FOREIGN = attrs.evolve(version(), files=(attrs.evolve(version().files[0], object_key=ObjectKey("assets/x/v1/y.wav")),))
SOURCE = attrs.evolve(
    version(), files=(attrs.evolve(version().files[0], object_key=ObjectKey(f"assets/{ASSET.asset_id}/v1/source.wav")),)
)
BESIDE = attrs.evolve(
    made_attachment(ASSET, JOB, NOON),
    file=attrs.evolve(version().files[0], object_key=ObjectKey(f"assets/{ASSET.asset_id}0/v1/peaks.json")),
)


@pytest.mark.parametrize(
    "publication",
    [
        Publication(version=FOREIGN),
        Publication(version=SOURCE),
        Publication(attachments=(BESIDE,)),
        Publication(version=version(), attachments=(made_attachment(ASSET, JOB, NOON),)),
    ],
    ids=["foreign asset", "version 1", "asset of a longer name", "attachment beside a version"],
)
def test_files_that_are_not_the_jobs_own_are_never_published(desk_of, publication):
    desk = desk_of(Committed(JOB))
    assert desk.say(Commit(publication)) is False
    assert desk.run.why is Why.GARBLED
    assert desk.jobs.asked == []


def test_an_attachment_lies_under_its_input_version(desk_of):
    desk = desk_of(Committed(JOB))
    desk.say(Commit(Publication(attachments=(made_attachment(ASSET, JOB, NOON),))))
    assert desk.run.is_over


def test_nonsense_is_the_end_of_the_process(desk_of):
    desk = desk_of()
    desk.child.sendall(b"\xff" * 64)
    assert desk.board.hear(desk.run) is False
    assert desk.run.why is Why.GARBLED
    assert desk.run.failure_of(None).code == "internal"


def test_a_process_that_asks_without_listening_is_ended(desk_of):
    desk = desk_of(Reserved(1))
    desk.child.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    while desk.run.why is None:
        desk.say(*[Reserve(0)] * 100)
    assert desk.run.why is Why.GARBLED


def test_a_record_that_cannot_be_read_is_no_reason_to_go_on(desk_of):
    desk = desk_of(CorruptRecordError("garbage"))
    assert desk.say(Reserve(0)) is False
    assert desk.run.why is Why.GARBLED


# ── outside services ─────────────────────────────────────────────────────────────────────────────

PAID_JOB = attrs.evolve(JOB, needs=(service_need("auphonic"),))
OP = new_op(PAID_JOB)
FOREIGN_OP = attrs.evolve(OP, service="lalal")
PARK = Park(OP, NOON + timedelta(minutes=10), "waiting for auphonic")
FAULT = {"code": "remote_auth", "message": "The key is wrong."}
QUESTIONS = {
    "take": {"per_minute": 60.0, "burst": 10},
    "hold": {"seconds": 5.0},
    "pause": {"fault": FAULT, "life": 60.0},
    "spend": {"day": "2026-01-01", "token": OP.token, "amount": 1.0, "limit": None},
}


@pytest.fixture
def accounts():
    return MemoryAccounts(MemoryState(), FakeClock())


@pytest.fixture
def paid(desk_of, accounts):
    """Give a desk whose job is done by Auphonic."""
    return lambda answer=None, **how: desk_of(answer, **{"job": PAID_JOB, "accounts": accounts, **how})


def ask(method, **arguments):
    return AskAccount(method, arguments)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Noted(PAID_JOB), {"is": "Noted"}),
        (Stale(), {"is": "Stale"}),
        (Moved(OP), {"is": "Moved", "op": to_plain(OP)}),
    ],
    ids=["noted", "stale", "moved"],
)
def test_an_operation_is_noted_in_the_name_of_the_job(paid, answer, told):
    desk = paid(answer)
    assert desk.say(Note(OP))
    assert desk.jobs.asked == [("note", PAID_JOB.job_id, "t", OP)]
    assert desk.answers() == [told]
    assert not desk.run.is_over


@pytest.mark.parametrize(
    ("answer", "action", "is_acked"),
    [
        (Requeued(PAID_JOB), "job_parked", True),
        (Ended(PAID_JOB), "job_cancelled", True),
        (Stale(), "job_fenced", False),
    ],
    ids=["waits", "was cancelled", "is another's"],
)
def test_a_run_that_waits_for_its_service_is_over(paid, answer, action, is_acked):
    desk = paid(answer)
    desk.say(PARK)
    assert desk.jobs.asked == [("park", PAID_JOB.job_id, "t", OP, PARK.until, PARK.stage)]
    assert desk.answers() == [{"is": type(answer).__name__}]
    assert desk.run.is_over
    assert desk.actions() == [action]
    assert desk.queue.acked == ([PAID_JOB.job_id] if is_acked else [])


def test_a_run_that_was_overtaken_by_the_poller_goes_on(paid):
    desk = paid(Moved(OP))
    desk.say(PARK)
    assert not desk.run.is_over
    assert (desk.events, desk.queue.acked) == ([], [])


@pytest.mark.parametrize("saying", [Note(OP), PARK], ids=["note", "park"])
def test_a_run_that_lost_its_job_writes_nothing_of_its_operation(paid, saying):
    desk = paid(Noted(PAID_JOB))
    desk.run.is_over = True
    desk.say(saying)
    assert desk.answers() == [{"is": "Stale"}]
    assert desk.jobs.asked == []


def test_a_run_parks_once(paid):
    desk = paid(Requeued(PAID_JOB))
    desk.say(PARK, PARK)
    assert len(desk.jobs.asked) == 1
    assert desk.queue.acked == [PAID_JOB.job_id]
    assert desk.actions() == ["job_parked"]


@pytest.mark.parametrize("saying", [Note(OP), PARK], ids=["note", "park"])
def test_records_that_are_away_are_told_to_the_process_and_the_run_goes_on(paid, saying):
    desk = paid(BackendUnavailableError("gone"))
    assert desk.say(saying)
    assert desk.answers() == [{"is": "error", "message": "gone", "away": True}]
    assert not desk.run.is_over
    assert desk.actions() == ["backend_down"]


@pytest.mark.parametrize(
    "saying",
    [
        Note(FOREIGN_OP),
        Park(FOREIGN_OP, PARK.until, PARK.stage),
        *[ask(method, account="lalal:default", **rest) for method, rest in QUESTIONS.items()],
        ask("running", service="lalal"),
        ask("take", account="auphonic2:default", **QUESTIONS["take"]),
    ],
    ids=["note", "park", *QUESTIONS, "running", "longer name"],
)
def test_the_account_of_another_service_is_never_touched(paid, accounts, saying):
    desk = paid(Noted(PAID_JOB))
    assert desk.say(saying) is False
    assert desk.run.why is Why.GARBLED
    assert desk.answers() == []
    assert desk.jobs.asked == []
    assert accounts.pauses() == []
    assert accounts.take("lalal:default", per_minute=1.0, burst=1) == 0, "nothing was taken, and nothing is held"


@pytest.mark.parametrize("saying", [Note(OP), PARK, ask("running", service="auphonic")], ids=["note", "park", "ask"])
def test_a_job_that_asked_for_no_service_has_none(desk_of, accounts, saying):
    desk = desk_of(Noted(JOB), accounts=accounts)
    assert desk.say(saying) is False
    assert desk.run.why is Why.GARBLED
    assert desk.jobs.asked == []


def test_an_account_is_asked_in_the_words_of_its_port(paid, accounts):
    desk = paid()
    desk.say(
        *[ask(method, account="auphonic:default", **rest) for method, rest in QUESTIONS.items()],
        ask("running", service="auphonic"),
        ask("pauses"),
    )
    *answers, pauses = [answer["value"] for answer in desk.answers()]
    assert answers == [0.0, None, None, None, 0]
    assert [(one["account"], one["fault"]) for one in pauses] == [("auphonic:default", FAULT)]
    assert [one.until for one in accounts.pauses()] == [NOON + timedelta(minutes=1)]
    assert accounts.take("auphonic:default", per_minute=60.0, burst=10) == 5.0


@pytest.mark.parametrize(
    "saying",
    [
        ask("lead", account="auphonic:default", who="me", life=60.0),
        ask("resume", account="auphonic:default"),
        ask("__init__"),
        ask("take", account="auphonic:default"),
        ask("pauses", account="auphonic:default"),
        ask("pause", account="auphonic:default", fault="odd", life=60.0),
        ask("pause", account="auphonic:default", fault={"code": 1}, life=60.0),
    ],
    ids=["lead", "resume", "init", "too little", "too much", "no fault", "half a fault"],
)
def test_nothing_else_is_asked_of_an_account(paid, saying):
    desk = paid()
    assert desk.say(saying) is False
    assert desk.run.why is Why.GARBLED
    assert desk.answers() == []


def test_an_installation_without_accounts_answers_no_question_of_them(paid):
    desk = paid(accounts=None)
    assert desk.say(ask("pauses")) is False
    assert desk.run.why is Why.GARBLED
