"""Workers that are killed, stopped, paused and drained at random while they run real jobs: one effect per job.

A seed is a history of signals, not of what they hit: the same seed tries again, it does not replay. What was done
and how long the jobs took is printed.
"""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress

import attrs
import pytest

from musproj.domain.job import JobStatus
from musproj.testing.workers import Installation, WorkerProcess, account_for, add_asset, job_now, submit

pytestmark = pytest.mark.timeout(240)

JOBS, WORKERS = 40, 3
TYPES = ("copy", "stems", "dice", "peaks", "look")
PATIENCE_S = 120.0
STRIKING_S = 40.0
"""Then it is quiet: a job whose process is killed each time waits twice as long after each, here without a limit."""
PAUSES_S = (0.05, 0.35)
"""Between two signals."""
STOPS_S = (0.2, 2.5)
"""How long a worker stands still, with a lease of 1 s."""


@attrs.define
class Chaos:
    """Three workers, and somebody who does not wish them well."""

    installation: Installation
    random: random.Random
    stack: ExitStack
    workers: list[WorkerProcess] = attrs.field(factory=list)
    done: Counter[str] = attrs.field(factory=Counter)
    timers: list[threading.Timer] = attrs.field(factory=list)

    def start(self) -> None:
        self.workers.append(self.stack.enter_context(self.installation.worker(concurrency=2)))

    def strike(self) -> None:
        """Do one thing to one worker, and keep their number."""
        worker = self.random.choice(self.workers)
        deed = self.random.choice([self.kill, self.kill_child, self.kill_child, self.stop, self.drain, self.drain_hard])
        self.done[deed.__name__] += 1
        deed(worker)
        for gone in [w for w in self.workers if w.process.poll() is not None]:
            self.workers.remove(gone)
            self.start()

    def kill(self, worker: WorkerProcess) -> None:
        worker.kill()

    def kill_child(self, worker: WorkerProcess) -> None:
        for child in worker.children()[:1]:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def stop(self, worker: WorkerProcess) -> None:
        worker.signal(signal.SIGSTOP)
        timer = threading.Timer(self.random.uniform(*STOPS_S), worker.signal, [signal.SIGCONT])
        timer.start()
        self.timers.append(timer)

    def drain(self, worker: WorkerProcess) -> None:
        worker.signal(signal.SIGTERM)

    def drain_hard(self, worker: WorkerProcess) -> None:
        worker.signal(signal.SIGTERM)
        time.sleep(0.05)
        worker.signal(signal.SIGTERM)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_job_has_one_effect_whatever_happens_to_its_workers(deploy, tmp_path, seed, capsys):
    # Without a limit to crashes every job must succeed in the end; that the limit holds is tested elsewhere.
    installation = deploy(tmp_path, crash_limit=1_000)
    begun = time.monotonic()
    with ExitStack() as stack, installation.opened() as mp:
        chaos = Chaos(installation, random.Random(seed), stack)
        assets = [add_asset(mp, seed=n) for n in range(3)]
        jobs = [
            submit(mp, assets[n % len(assets)], TYPES[n % len(TYPES)], seed=n, seconds=chaos.random.uniform(0.1, 0.9))
            for n in range(JOBS)
        ]
        for _ in range(WORKERS):
            chaos.start()
        while any(not job_now(mp, job).is_terminal for job in jobs):
            assert time.monotonic() < begun + PATIENCE_S, [job_now(mp, job) for job in jobs]
            time.sleep(chaos.random.uniform(*PAUSES_S))
            if time.monotonic() < begun + STRIKING_S:
                chaos.strike()
        seconds = time.monotonic() - begun
        for timer in chaos.timers:
            timer.join()
        for worker in chaos.workers:
            worker.signal(signal.SIGCONT)
            worker.kill()

    assert installation.leftovers() == []
    account = account_for(installation, jobs)
    with capsys.disabled():
        runs, lost = sum(job.attempts for job in account.jobs), sum(job.lost for job in account.jobs)
        crashes, handed = sum(job.crashes for job in account.jobs), sum(job.interrupts for job in account.jobs)
        sys.stdout.write(
            f"\nseed {seed}: {sum(chaos.done.values())} signals {dict(sorted(chaos.done.items()))}, {seconds:.1f} s; "
            f"{len(jobs)} jobs, {runs} runs, {crashes} crashes, {lost} losses, {handed} handed back; "
            f"{len(account.versions)} versions, {len(account.garbage)} objects for gc\n"
        )
    assert {job.status for job in account.jobs} == {JobStatus.SUCCEEDED}
