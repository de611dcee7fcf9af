"""Run a job in the supervisor's own process: for debugging, and for stores that only this process can see."""

from collections.abc import Callable
from pathlib import Path

import attrs

from musproj.application.execution import Execution, Phase, Pulse, RunEnd, classify
from musproj.errors import JobCancelledError
from musproj.worker.run import Run


class InlinePulse(Pulse):
    """Lets the supervisor do its work whenever the processor looks up."""

    __slots__ = ("_keep_alive", "_run")

    def __init__(self, run: Run, keep_alive: Callable[[], None]) -> None:
        """Report to `run`."""
        self._run = run
        self._keep_alive = keep_alive

    def enter(self, phase: Phase) -> None:
        """Note the phase."""
        self._run.report = attrs.evolve(self._run.report, phase=phase)

    def report(self, percent: int, stage: str | None) -> None:
        """Note percent and stage."""
        self._run.report = attrs.evolve(self._run.report, percent=percent, stage=stage or self._run.report.stage)

    def check(self) -> None:
        """Beat where it is due; end where the run is to be stopped."""
        self._keep_alive()
        if self._run.why is not None:
            raise JobCancelledError


def run_inline(run: Run, execution: Execution, workdir: Path, keep_alive: Callable[[], None]) -> RunEnd | None:
    """Do the job; None where it failed, which `run.failure` tells then."""
    try:
        return execution.run(run.job, run.token, workdir, InlinePulse(run, keep_alive))
    except JobCancelledError as exc:
        if run.why is None:
            run.failure = classify(exc, run.job)
    except Exception as exc:  # noqa: BLE001 - whatever other people's code raises
        run.failure = classify(exc, run.job)
    return None
