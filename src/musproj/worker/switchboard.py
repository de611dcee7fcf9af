"""Answers what the processes of jobs ask: each may speak for its own job alone."""

import socket
from collections.abc import Callable

import attrs

from musproj.domain.job import Job
from musproj.domain.keys import version_prefix
from musproj.domain.ledger import CancelledFirst, CommitAnswer, Committed, Stale
from musproj.errors import CorruptRecordError, MusProjError, UnavailableError
from musproj.ports.jobs import JobStore, Publication
from musproj.worker.events import Teller
from musproj.worker.line import (
    Answer,
    Commit,
    Failed,
    Reserve,
    Saying,
    Stopped,
    encode_answer,
    encode_error,
    read_saying,
    receive,
)
from musproj.worker.outage import Outage
from musproj.worker.run import Run, Why
from musproj.worker.settlement import Settlement, Settler

SOME, ALL = 64, 1_000_000
"""Reads of a line: while its process lives and may go on for ever, and after its end."""


@attrs.frozen(kw_only=True)
class Switchboard:
    """Stands between runs and the records."""

    jobs: JobStore
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

    def _answer(self, run: Run, line: socket.socket, saying: Saying) -> None:
        match saying:
            case Failed(failure):
                run.failure = failure
            case Stopped():
                pass
            case Reserve(above):
                _reply(line, self._ask(lambda: self._reserve(run, above)))
            case Commit(publication):
                _reply(line, self._ask(lambda: self._commit(run, publication)))

    def _reserve(self, run: Run, above: int) -> Answer:
        return Stale() if run.is_over else self.jobs.reserve(run.job.job_id, run.token, above=above)

    def _commit(self, run: Run, publication: Publication) -> Answer:
        _refuse_foreign(run.job, publication)
        answer = self.jobs.commit(run.job.job_id, run.token, publication)
        if not run.is_over:
            self.ended(run, answer)
        return answer

    def _ask(self, question: Callable[[], Answer]) -> bytes:
        try:
            answer = question()
        except CorruptRecordError:
            raise
        except UnavailableError as exc:
            self.outage.note(exc)
            return encode_error(exc)
        except MusProjError as exc:
            return encode_error(exc)
        self.outage.clear()
        return encode_answer(answer)


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
