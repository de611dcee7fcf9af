"""Beats, and what a run does about their answers."""

import pytest

from musproj.domain.ledger import BeatOk, Done, Stale
from musproj.errors import BackendUnavailableError
from musproj.testing.clock import NOON
from musproj.testing.records import new_asset, new_job
from musproj.worker.attendance import Attendance
from musproj.worker.board import Report
from musproj.worker.events import Teller
from musproj.worker.needs import Needs
from musproj.worker.outage import Outage
from musproj.worker.run import Run, Why


class Jobs:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.beats = []

    def beat(self, beats):
        self.beats.append(list(beats))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def events():
    return []


def run_of(percent=0, stage=None):
    job = new_job(new_asset(NOON), NOON)
    run = Run(job=job, token="t", needs=Needs(versions={}, memory_mb=1, limit_bytes=1, seconds=1))
    run.report = Report(percent=percent, stage=stage)
    return run


def attend(jobs, events):
    tell = Teller("w", events.append)
    return Attendance(jobs=jobs, outage=Outage(tell), tell=tell)


def test_all_runs_beat_in_one_call_with_their_progress(events):
    jobs = Jobs([BeatOk(cancel=False), BeatOk(cancel=False)])
    runs = [run_of(10, "reading"), run_of()]
    attend(jobs, events).beat(runs)
    (beats,) = jobs.beats
    assert [(beat.progress, beat.stage) for beat in beats] == [(10, "reading"), (0, None)]
    assert [event.action for event in events] == ["job_progress"]
    assert not any(run.has_news for run in runs)


def test_nobody_beats_for_what_is_over(events):
    jobs, run = Jobs(), run_of()
    run.is_over = True
    attend(jobs, events).beat([run])
    assert jobs.beats == []


def test_a_cancelled_run_is_told_to_stop_and_keeps_the_stage_that_says_so(events):
    jobs = Jobs([BeatOk(cancel=True)], [BeatOk(cancel=True)])
    run = run_of(10, "reading")
    attendance = attend(jobs, events)
    attendance.beat([run])
    attendance.beat([run])
    assert run.why is Why.CANCELLED
    assert jobs.beats[1][0].stage is None


def test_a_run_that_lost_its_job_is_dropped(events):
    run = run_of()
    attend(Jobs([Stale()]), events).beat([run])
    assert (run.why, run.is_over) == (Why.STALE, True)
    assert [event.action for event in events] == ["job_fenced"]


def test_a_job_that_ended_under_this_token_is_left_to_its_process(events):
    """The answer of its commit was lost: the process asks again."""
    run = run_of()
    attend(Jobs([Done()]), events).beat([run])
    assert (run.why, run.is_over, events) == (None, False, [])


def test_a_beat_that_nobody_heard_harms_no_run(events):
    run = run_of()
    attend(Jobs(BackendUnavailableError("away")), events).beat([run])
    assert (run.why, run.is_over) == (None, False)
    assert [event.action for event in events] == ["backend_down"]
