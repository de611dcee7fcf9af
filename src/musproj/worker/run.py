"""One granted job under its supervisor's eyes."""

import time
from enum import Enum

import attrs

from musproj.application.execution_context import Phase
from musproj.domain.job import FailureKind, Job
from musproj.domain.ledger import Failure
from musproj.errors import (
    BackendUnavailableError,
    OutOfMemoryError,
    ProcessorTimeoutError,
    WorkerCrashedError,
    WorkerLostError,
)
from musproj.worker import memory
from musproj.worker.board import Report
from musproj.worker.needs import Needs
from musproj.worker.process import ChildProcess, Exit

TRANSFER_LIMIT_S = 3_600.0
"""How long fetching, and how long publishing may take: a store that hangs must not hold a slot for ever."""
ASK_GRACE_S, TERMINATE_GRACE_S = 1.0, 0.5
"""Between asking a job to stop, SIGTERM for its programs, and SIGKILL."""
DONE_GRACE_S = 10.0
"""How long the process of a job that has ended may take to leave."""
OOM_SHARE = 0.8
"""A process that somebody else killed at this share of its limit died of its memory."""


class Why(Enum):
    """Why the supervisor ends a run."""

    CANCELLED = "cancelled"
    DRAINED = "drained"
    TIMEOUT = "timeout"
    OVERDUE = "overdue"
    STUCK = "stuck"
    MEMORY = "memory"
    GARBLED = "garbled"
    STALE = "stale"


class Step(Enum):
    """How far a stop has come."""

    ASKED = 0
    TERMINATED = 1
    KILLED = 2


@attrs.define(kw_only=True, eq=False)
class Run:
    """A job, its token, and the process that does it."""

    job: Job
    token: str
    needs: Needs
    process: ChildProcess | None = None
    """None where it has not begun, and where it runs inline."""
    is_started: bool = False
    """Else it waits for memory."""
    report: Report = attrs.field(factory=Report)
    shown: Report = attrs.field(factory=Report)
    """What the record shows of it."""
    is_over: bool = False
    """Its effect is there, or somebody else's: no sign of life is due any more."""
    failure: Failure | None = None
    """What the process itself said it failed of."""
    why: Why | None = None
    """Why it is being stopped."""
    _step: Step = Step.ASKED
    _next_step_at: float = 0.0
    _phase_until: float = 0.0
    _leave_at: float | None = None
    _bytes: int = 0

    def begin(self, process: ChildProcess | None) -> None:
        """Note that it runs: in `process`, or inline."""
        self.process = process
        self.is_started = True
        self._phase_until = time.monotonic() + TRANSFER_LIMIT_S

    @property
    def has_news(self) -> bool:
        """Whether a watcher of the record would see something new."""
        return self.report.percent != self.shown.percent or self.report.stage != self.shown.stage

    def look(self) -> None:
        """Read what the process reports; a new phase has a new time limit."""
        if self.process is None:
            return
        report = self.process.board.read() or self.report
        if report.phase is not self.report.phase:
            seconds = self.needs.seconds if report.phase is Phase.PROCESS else TRANSFER_LIMIT_S
            self._phase_until = time.monotonic() + seconds
        self.report = report

    def watch(self, now: float) -> None:
        """Stop a run that is over its time or memory, and help on one that is being stopped."""
        if self.process is None:
            return
        self.look()
        if self.why is None and not self.is_over:
            self._bytes = memory.group_bytes(self.process.pid)
            if self._bytes > self.needs.limit_bytes:
                self.stop(Why.MEMORY)
            elif now > self._phase_until:
                self.stop(Why.TIMEOUT if self.report.phase is Phase.PROCESS else Why.STUCK)
        self.step(now)

    def stop(self, why: Why) -> None:
        """Begin to stop the run; only a cancelled one is asked first."""
        if self.process is None or (self.why is not None and why is Why.CANCELLED):
            self.why = self.why or why
            return
        self.why = why
        if why is Why.CANCELLED:
            self.process.board.ask_to_stop()
            self._step, self._next_step_at = Step.ASKED, time.monotonic() + ASK_GRACE_S
        else:
            self._kill(self.process)

    def step(self, now: float) -> None:
        """Take the next step of a stop whose time has come."""
        if self.process is None:
            return
        if self._leave_at is not None and now > self._leave_at:
            self._kill(self.process)
        if self.why is None or now < self._next_step_at:
            return
        if self._step is Step.ASKED:
            self.process.terminate()
            self._step, self._next_step_at = Step.TERMINATED, now + TERMINATE_GRACE_S
        elif self._step is Step.TERMINATED:
            self._kill(self.process)

    def finish(self) -> None:
        """Note that the job has ended; the process shall leave by itself."""
        self.is_over = True
        self._leave_at = time.monotonic() + DONE_GRACE_S

    @property
    def next_step_at(self) -> float | None:
        """Monotonic time of the next step of a stop, or None."""
        return self._next_step_at if self.why is not None and self._step is not Step.KILLED else None

    def failure_of(self, ended: Exit | None) -> Failure:
        """Return what the run failed of, given how its process ended."""
        if self.failure is not None and self.why is not Why.CANCELLED:
            return self.failure
        if self.why is not None:
            kind, code, text = _STOPPED[self.why]
            return Failure(kind=kind, code=code, message=text.format(run=self, mib=self._bytes >> 20))
        if ended is None:
            return Failure(kind=FailureKind.INTERRUPTED, code="drain", message="The worker stopped before it began.")
        return self._crash(ended)

    def _crash(self, ended: Exit) -> Failure:
        peak_mib = max(ended.peak_bytes, self._bytes) >> 20
        is_oom = ended.signal == 9 and max(ended.peak_bytes, self._bytes) > OOM_SHARE * self.needs.limit_bytes
        return Failure(
            kind=FailureKind.CRASH,
            code=OutOfMemoryError.code if is_oom else WorkerCrashedError.code,
            message=f"The job's process died: {ended}, at most {peak_mib} MiB.",
        )

    def _kill(self, process: ChildProcess) -> None:
        process.kill()
        self._step = Step.KILLED


_STOPPED: dict[Why, tuple[FailureKind, str, str]] = {
    Why.CANCELLED: (FailureKind.INTERRUPTED, "cancelled", "Somebody cancelled the job."),
    Why.DRAINED: (FailureKind.INTERRUPTED, "drain", "The worker had to stop."),
    Why.TIMEOUT: (
        FailureKind.TIMEOUT,
        ProcessorTimeoutError.code,
        "The processor took longer than {run.needs.seconds:.0f} s.",
    ),
    Why.OVERDUE: (
        FailureKind.TIMEOUT,
        ProcessorTimeoutError.code,
        "The time that the queue gives a job was over.",
    ),
    Why.STUCK: (FailureKind.BACKEND, BackendUnavailableError.code, "A store did not answer for an hour."),
    Why.MEMORY: (FailureKind.CRASH, OutOfMemoryError.code, "The job's processes held {mib} MiB."),
    Why.STALE: (FailureKind.LOST, WorkerLostError.code, "Another run holds the job."),
    Why.GARBLED: (FailureKind.INTERNAL, "internal", "The job's process said something unintelligible."),
}
