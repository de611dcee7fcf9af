"""Signs of life for the jobs that run here, and what the records answer."""

from collections.abc import Sequence

import attrs

from musproj.domain.job import JobStatus
from musproj.domain.ledger import BeatAnswer, BeatOk, Done, Stale
from musproj.ports.changes import ChangeFeed
from musproj.ports.jobs import Beat, JobStore
from musproj.worker.events import Teller
from musproj.worker.outage import Outage
from musproj.worker.run import Run, Why


@attrs.frozen(kw_only=True)
class Attendance:
    """Beats for runs; a run that lost its job is killed at once, one that is to be cancelled is told to stop."""

    jobs: JobStore
    outage: Outage
    tell: Teller

    def beat(self, runs: Sequence[Run]) -> None:
        """Renew the leases of `runs` and write their progress, all in one call."""
        runs = [run for run in runs if not run.is_over]
        if not runs:
            return
        for run in runs:
            run.look()
        with self.outage.tolerated():
            answers = self.jobs.beat([_sign_of_life(run) for run in runs])
            for run, answer in zip(runs, answers, strict=True):
                self._take(run, answer)

    def look_for_cancels(self, runs: Sequence[Run], feed: ChangeFeed) -> None:
        """Read the records of `runs` where `feed` tells that something changed."""
        if not feed.poll():
            return
        with self.outage.tolerated(proves=False):
            for run in runs:
                if not run.is_over:
                    self._look(run)

    def _take(self, run: Run, answer: BeatAnswer) -> None:
        match answer:
            case BeatOk(cancel):
                if run.has_news:
                    run.shown = run.report
                    percent, stage = run.report.percent, run.report.stage
                    self.tell("job_progress", f"{percent} %", run.job, progress=percent, stage=stage)
                if cancel:
                    run.stop(Why.CANCELLED)
            case Done():
                pass  # its commit's answer was lost; the process asks again and hears of it
            case Stale():
                self._lose(run)

    def _look(self, run: Run) -> None:
        job = self.jobs.find(run.job.job_id)
        if job is None or job.token != run.token or job.status is not JobStatus.RUNNING:
            # A beat tells for sure: the job may have ended under this very token.
            self.beat([run])
        elif job.cancel_requested_at is not None:
            run.stop(Why.CANCELLED)

    def _lose(self, run: Run) -> None:
        run.is_over = True
        run.stop(Why.STALE)
        self.tell("job_fenced", "Another run holds the job; this one is dropped.", run.job)


def _sign_of_life(run: Run) -> Beat:
    # The record of a job that is being cancelled says so as its stage.
    stage = None if run.why is Why.CANCELLED else run.report.stage
    return Beat(job_id=run.job.job_id, token=run.token, progress=run.report.percent, stage=stage)
