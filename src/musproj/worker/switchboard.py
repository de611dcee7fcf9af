"""Answers what the processes of jobs ask: each may speak for its own job alone."""

import logging
import socket
from collections.abc import Callable

import attrs

from musproj.domain.job import Job
from musproj.domain.keys import version_prefix
from musproj.domain.ledger import (
    CancelledFirst,
    CommitAnswer,
    Committed,
    Ended,
    NoteAnswer,
    ParkAnswer,
    Requeued,
    Stale,
)
from musproj.domain.remote import RemoteOp, operation_token
from musproj.errors import CorruptRecordError, MusProjError, UnavailableError
from musproj.ports.jobs import JobStore, Publication
from musproj.ports.processor import needed_service
from musproj.ports.remote import RemoteAccounts
from musproj.worker.events import Teller
from musproj.worker.line import (
    Answer,
    AskAccount,
    Commit,
    Failed,
    Note,
    Park,
    Reserve,
    Saying,
    Stopped,
    account_arguments,
    encode_answer,
    encode_error,
    encode_value,
    read_saying,
    receive,
)
from musproj.worker.outage import Outage
from musproj.worker.run import Run, Why
from musproj.worker.settlement import Settlement, Settler

log = logging.getLogger(__name__)

SOME, ALL = 64, 1_000_000
"""Reads of a line: while its process lives and may go on for ever, and after its end."""


@attrs.frozen(kw_only=True)
class Switchboard:
    """Stands between runs and the records."""

    jobs: JobStore
    accounts: RemoteAccounts | None = None
    settle: Settler
    outage: Outage
    tell: Teller

    def hear(self, run: Run, reads: int = SOME) -> bool:
        """Answer what the run's process has said; return whether it may still say more."""
        if run.process is None:
            return False
        try:
            messages = receive(run.process.line, run.process.inbox, reads)
            for message in messages or ():
                self._answer(run, run.process.line, read_saying(message))
        except CorruptRecordError:
            run.stop(Why.GARBLED)
            return False
        except Exception:  # whatever a process that runs other people's code can say must not end the worker
            log.exception("Job %s says what nobody understands.", run.job.job_id, extra={"action": "run_garbled"})
            run.stop(Why.GARBLED)
            return False
        return messages is not None

    def ended(self, run: Run, answer: CommitAnswer) -> None:
        """Take note of a commit's answer."""
        match answer:
            case Committed(job):
                run.finish()
                self.tell("job_committed", _effect(job), job, version=job.created_version)
                self.settle(Settlement(job=job, token=run.token))
            case CancelledFirst(job):
                run.finish()
                self.tell("job_cancelled", "The cancel came before the commit.", job)
                self.settle(Settlement(job=job, token=run.token))
            case Stale():
                run.finish()
                self.tell("job_fenced", "Another run holds the job; this one's commit was refused.", run.job)
            case _:
                pass

    def parked(self, run: Run, answer: ParkAnswer) -> None:
        """Take note that a run waits for its service, and holds no worker any more."""
        match answer:
            case Requeued(job):
                run.finish()
                self.tell("job_parked", f"It is {job.stage}.", job)
                self.settle(Settlement(job=job, token=run.token))
            case Ended(job):
                run.finish()
                self.tell("job_cancelled", "The cancel came before the wait.", job)
                self.settle(Settlement(job=job, token=run.token))
            case Stale():
                run.finish()
                self.tell("job_fenced", "Another run holds the job.", run.job)
            case _:
                pass

    def _answer(self, run: Run, line: socket.socket, saying: Saying) -> None:
        match saying:
            case Failed(failure):
                run.failure = failure
            case Stopped():
                pass
            case Reserve(above):
                _reply(line, self._ask(lambda: encode_answer(self._reserve(run, above))))
            case Commit(publication):
                _reply(line, self._ask(lambda: encode_answer(self._commit(run, publication))))
            case Note():
                _reply(line, self._ask(lambda: encode_answer(self._note(run, saying))))
            case Park():
                _reply(line, self._ask(lambda: encode_answer(self._park(run, saying))))
            case AskAccount():
                _reply(line, self._ask(lambda: encode_value(self._ask_account(run, saying))))

    def _reserve(self, run: Run, above: int) -> Answer:
        return Stale() if run.is_over else self.jobs.reserve(run.job.job_id, run.token, above=above)

    def _commit(self, run: Run, publication: Publication) -> Answer:
        _refuse_foreign(run.job, publication)
        answer = self.jobs.commit(run.job.job_id, run.token, publication)
        if not run.is_over:
            self.ended(run, answer)
        return answer

    def _note(self, run: Run, saying: Note) -> NoteAnswer:
        _refuse_foreign_op(run.job, saying.op)
        return Stale() if run.is_over else self.jobs.note(run.job.job_id, run.token, saying.op)

    def _park(self, run: Run, saying: Park) -> ParkAnswer:
        _refuse_foreign_op(run.job, saying.op)
        if run.is_over:
            return Stale()
        answer = self.jobs.park(run.job.job_id, run.token, saying.op, until=saying.until, stage=saying.stage)
        self.parked(run, answer)
        return answer

    def _ask_account(self, run: Run, saying: AskAccount) -> object:
        if self.accounts is None:
            raise CorruptRecordError("This installation keeps no accounts.")
        arguments = account_arguments(saying)
        named = arguments.get("account") or arguments.get("service")
        if named is not None:
            _refuse_foreign_service(run.job, str(named).partition(":")[0])
        return getattr(self.accounts, saying.method)(**arguments)

    def _ask(self, question: Callable[[], bytes]) -> bytes:
        try:
            frame = question()
        except CorruptRecordError:
            raise
        except UnavailableError as exc:
            self.outage.note(exc)
            return encode_error(exc)
        except MusProjError as exc:
            return encode_error(exc)
        self.outage.clear()
        return frame


def _refuse_foreign_op(job: Job, op: RemoteOp) -> None:
    """Refuse another job's operation: what lies at the service under its names would be deleted as this job's."""
    _refuse_foreign_service(job, op.service)
    if op.token != operation_token(job.root_job_id):
        raise CorruptRecordError(f"Job {job.job_id} tells of an operation that is not its own.")


def _refuse_foreign_service(job: Job, service: str) -> None:
    """Refuse the account of a service that the job has nothing to do with."""
    if service not in {needed_service(need) for need in job.needs}:
        raise CorruptRecordError(f"Job {job.job_id} wants to use {service}, which it did not ask for.")


def _refuse_foreign(job: Job, publication: Publication) -> None:
    """Refuse files that are not under the job's own prefixes: its process ran code over untrusted bytes."""
    version = publication.version
    allowed = [version_prefix(job.asset_id, job.input_version)]
    if version is not None:
        allowed = [version_prefix(job.asset_id, version.number)]
    files = [*(version.files if version else ()), *(a.file for a in publication.attachments)]
    if not all(file.object_key.startswith(tuple(allowed)) for file in files):
        raise CorruptRecordError(f"Job {job.job_id} wants to publish what is not its own.")


def _reply(line: socket.socket, frame: bytes) -> None:
    # A process that has died meanwhile hears nothing; its end is seen elsewhere. One that asks without reading the
    # answers shall not make the supervisor wait.
    try:
        sent = line.send(frame, socket.MSG_DONTWAIT)
    except BlockingIOError:
        sent = 0
    except OSError:
        return
    if sent != len(frame):
        raise CorruptRecordError("A job's process does not listen.")


def _effect(job: Job) -> str:
    return "Done." if job.created_version is None else f"Version {job.created_version} is there."
