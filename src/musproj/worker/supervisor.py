"""The loop of a worker: one thread, one selector, a process per job.

One thread because it forks: a lock that another thread held at the moment of the fork would stay held in the
child for ever. It knows the stores by their ports alone and serves every deployment.
"""

import selectors
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import partial

from musproj.application.execution import Parked, classify
from musproj.composition import MusProj
from musproj.domain.job import FailureKind
from musproj.domain.ledger import Failure, Granted, Worker
from musproj.worker.attendance import Attendance
from musproj.worker.burst import Burst
from musproj.worker.child import Assignment
from musproj.worker.chores import Chores
from musproj.worker.ear import Ear
from musproj.worker.events import Teller
from musproj.worker.guard import Guard
from musproj.worker.identity import Identity
from musproj.worker.inline import run_inline
from musproj.worker.launch import Launcher, execution_of, launcher_for, poller_starter, sweep_starter
from musproj.worker.maintenance import Maintenance
from musproj.worker.needs import needs_of
from musproj.worker.options import WorkerOptions
from musproj.worker.outage import Outage
from musproj.worker.poller import PollerKeeper, poller_of
from musproj.worker.presence import Presence
from musproj.worker.process import ChildProcess, Exit
from musproj.worker.run import Run, Why
from musproj.worker.settlement import Settlement, Settler
from musproj.worker.signals import StopSignals
from musproj.worker.strays import Strays
from musproj.worker.switchboard import ALL, Switchboard
from musproj.worker.workdirs import TEMPORARY, Workdirs

BUSY_S = 60.0
"""How long after a job the feed is asked as often as it likes."""
CALM_INTERVAL_S = 0.025
"""Between two looks at the feed after that: 0.4 % of a core less, and 25 ms are soon enough."""
NO_PIDFD_S = 0.05
"""Between two looks for ended processes where the system cannot wake the selector for them."""
FAREWELL_S = 5.0
"""How long a worker that stops goes on trying to hand jobs back to a store that is away."""


class Supervisor:
    """Runs jobs of `mp` until it is told to stop."""

    def __init__(
        self,
        mp: MusProj,
        options: WorkerOptions,
        identity: Identity,
        tell: Teller,
        *,
        claim: Callable[[Worker], Granted | None],
        heeds_alarm: bool = False,
    ) -> None:
        """Take jobs by `claim`, and stop them where SIGALRM is to be heeded and comes; nothing is started yet."""
        self._mp = mp
        self._options = options
        self._identity = identity
        self._tell = tell
        self._claim = claim
        self._heeds_alarm = heeds_alarm
        self._budget_mb = options.budget_mb
        self._outage = Outage(tell)
        self._settle = Settler(jobs=mp.metadata.jobs, queue=mp.queue, outage=self._outage, tell=tell)
        self._switchboard = Switchboard(
            jobs=mp.metadata.jobs,
            accounts=mp.metadata.accounts,
            settle=self._settle,
            outage=self._outage,
            tell=tell,
        )
        self._attendance = Attendance(jobs=mp.metadata.jobs, outage=self._outage, tell=tell)
        self._workdirs = Workdirs()
        self._runs: list[Run] = []
        self._started = 0
        self._is_hungry = True
        # Where each question is paid for, it is asked when a job may have been put off; else the tick tells.
        self._is_curious = True
        self._run_at: float | None = None
        self._busy_until = 0.0
        self._draining_until: float | None = None
        self._signals_seen = 0
        self._last_end_at = 0.0
        lease_s = mp.rules.lease.total_seconds()
        self._chores = Chores(lease_s, is_economical=options.economy)
        self._burst = Burst(jobs=mp.metadata.jobs, outage=self._outage, lease_s=lease_s)
        self._presence = Presence(
            jobs=mp.metadata.jobs, outage=self._outage, sign=lambda: identity.live(options.slots, mp.clock.now())
        )
        # Not epoll: it goes on watching a connection that was closed and opened anew under the same number.
        self._selector = selectors.PollSelector()
        self._work = Ear(mp.queue.listen, self._selector, self._outage)
        listen_for_stops = partial(mp.metadata.jobs.listen, only_stops=True)
        self._stops = Ear(listen_for_stops, self._selector, self._outage, self._see_stop)
        self._guard: Guard | None = None

    def run(self) -> None:
        """Work until a signal, or, in a burst, until nothing is left; blocks."""
        with ExitStack() as stack:
            self._open(stack)
            self._last_end_at = time.monotonic()
            self._tell("worker_started", f"Worker {self._identity.worker_id} runs {self._options.slots} jobs at once.")
            while not self._is_finished():
                self._wait()
                self._step()
        self._tell("worker_stopped", "The worker has stopped.")

    # ── start and end ──

    def _open(self, stack: ExitStack) -> None:
        self._signals = stack.enter_context(StopSignals(heeds_alarm=self._heeds_alarm))
        stack.enter_context(self._selector)
        self._selector.register(self._signals, selectors.EVENT_READ, self._signals.drain)
        self._strays = stack.enter_context(Strays(self._workdirs.root))
        if self._options.isolation == "process":
            self._guard = Guard()
            stack.callback(self._guard.close)
        self._identity.preload()
        self._launch: Launcher = launcher_for(self._mp, self._options.start_method, self._descriptors)
        for ear in (self._work, self._stops):
            stack.callback(ear.close)
        start_sweep = sweep_starter(self._mp, self._options.start_method, self._descriptors)
        self._maintenance = Maintenance(start=start_sweep, outage=self._outage)
        stack.callback(self._maintenance.close)
        self._poller, self._poll = self._polling()
        stack.callback(self._poller.close)
        stack.callback(self._leave)
        with self._outage.tolerated():
            self._workdirs.sweep(self._mp.metadata.jobs.find)

    def _polling(self) -> tuple[PollerKeeper, Callable[[], int]]:
        """Return what keeps a poller alive, and what polls in this very process where no other sees the records."""
        who = self._identity.worker_id
        if self._options.isolation == "process":
            return PollerKeeper(start=poller_starter(self._mp, who)), lambda: 0
        poller = poller_of(self._mp, who)
        return PollerKeeper(start=None), poller.round if poller else lambda: 0

    def _see_stop(self) -> None:
        if self._runs:
            self._chores.hurry("flags")
        else:
            self._stops.poll()

    def _leave(self) -> None:
        """Leave no process behind, whatever ended the loop."""
        for run in list(self._runs):
            run.stop(Why.DRAINED)
            self._bury(run)
        self._settle.settle()
        self._presence.withdraw()

    def _descriptors(self) -> list[int]:
        """Return what a forked child must close: what would keep others from seeing an end."""
        feeds = (self._work.fileno(), self._stops.fileno())
        found = [*self._signals.descriptors, *(descriptor for descriptor in feeds if descriptor is not None)]
        if self._guard is not None:
            found.append(self._guard.descriptor)
        for run in self._runs:
            if run.process is not None:
                found += [d for d in (run.process.line.fileno(), run.process.pidfd) if d is not None]
        return found

    def _is_finished(self) -> bool:
        if self._runs:
            return False
        if self._draining_until is not None:
            return self._settle.is_done or time.monotonic() > self._last_end_at + FAREWELL_S
        if not self._settle.is_done:
            return False
        if self._is_spent or not self._options.burst:
            return self._is_spent
        return not self._is_hungry and self._burst.is_over(self._run_at, self._last_end_at)

    # ── the loop ──

    def _wait(self) -> None:
        """Sleep until something happens or is due; take what the selector brings."""
        self._stops.listen()
        if self._has_room() and not self._is_hungry and self._work.listen():
            self._is_hungry = True  # what came between the last look and the opening was told to nobody
        for key, _ in self._selector.select(self._timeout()):
            if key.data is not None:
                key.data()

    def _timeout(self) -> float:
        now = time.monotonic()
        due = [self._chores.next_of(["tick"]), self._maintenance.due_at]
        if self._options.isolation == "inline" and self._mp.services.names():
            due.append(self._chores.next_of(["poll"]))
        if self._runs:
            due.append(self._chores.next_of(["beat", "watch", "news", "flags"]))
            due += [at for run in self._runs if (at := run.next_step_at) is not None]
        if any(run.process is not None and run.process.pidfd is None for run in self._runs):
            due.append(now + NO_PIDFD_S)
        if not self._settle.is_done:
            due.append(self._chores.next_of(["settle"]))
        due.append(self._chores.next_of(["announce"]) if self._draining_until is None else self._draining_until)
        if self._has_room():
            due.append(now + self._interval(now) if not self._is_hungry else self._outage.retry_at)
            due += [self._run_at] if self._run_at is not None else []
        return max(0.0, min(due) - now)

    def _interval(self, now: float) -> float:
        interval = self._work.interval
        return interval if now < self._busy_until else max(interval, CALM_INTERVAL_S)

    def _step(self) -> None:
        now = time.monotonic()
        self._heed_signals(now)
        if self._runs:
            self._look_for_ends()
            self._keep_alive()
        if not self._settle.is_done and self._chores.take("settle"):
            self._settle.settle()
        if self._draining_until is None:
            if self._chores.take("announce"):
                self._presence.lapse()
            self._presence.renew()
        if self._chores.take("tick"):
            self._tick()
        self._maintenance.step(now)
        self._poller.step(now)
        if self._options.isolation == "inline" and self._chores.take("poll"):
            with self._outage.tolerated():
                self._is_hungry = self._poll() > 0 or self._is_hungry
        self._look_for_work(now)

    def _keep_alive(self) -> None:
        """Do what running jobs need."""
        now = time.monotonic()
        if self._chores.take("beat"):
            self._attendance.beat(self._runs)
            if self._outage.is_on:
                self._chores.retry("beat")
        if self._chores.take("watch"):
            for run in self._runs:
                run.watch(now)
        if self._chores.take("news", is_remote=self._stops.is_woken):
            self._attendance.beat([run for run in self._runs if run.has_news])
        if self._chores.take("flags"):
            self._attendance.look_for_cancels(self._runs, self._stops)
        for run in self._runs:
            run.step(now)

    def _tick(self) -> None:
        if time.monotonic() < self._outage.retry_at:
            return
        with self._outage.tolerated():
            tick = self._mp.metadata.jobs.tick()
            if tick.requeued:
                self._tell("lease_expired", f"Jobs of lost workers wait again: {tick.requeued}.", count=tick.requeued)
            self._is_hungry = True
            if tick.next_run_at is not None:  # nothing is told where another process ticked a moment ago
                self._expect(tick.next_run_at)
            self._workdirs.sweep(self._mp.metadata.jobs.find, but={(run.job.job_id, run.token) for run in self._runs})

    # ── stopping ──

    def _heed_signals(self, now: float) -> None:
        if self._draining_until is not None and now >= self._draining_until:
            self._stop_all(Why.DRAINED)
        if self._signals.is_time_over:
            self._stop_all(Why.OVERDUE)
        if self._signals.count == self._signals_seen:
            return
        if self._signals_seen == 0:
            seconds = self._options.drain_s
            self._draining_until = now + seconds
            self._tell("worker_draining", _farewell(len(self._runs), seconds), seconds=seconds)
            self._work.close()
            self._presence.withdraw()
            for run in [run for run in self._runs if not run.is_started]:
                run.stop(Why.DRAINED)
                self._bury(run)
        if self._signals.count > 1:
            self._stop_all(Why.DRAINED)
        self._signals_seen = self._signals.count

    def _stop_all(self, why: Why) -> None:
        for run in self._runs:
            if not run.is_over:
                run.stop(why)

    # ── taking jobs ──

    def _look_for_work(self, now: float) -> None:
        has_news = self._work.poll()
        if self._run_at is not None and now >= self._run_at:
            self._run_at, self._is_hungry = None, True
        self._is_hungry = self._is_hungry or has_news
        for run in [run for run in self._runs if not run.is_started]:
            self._start_if_room(run)
        if has_news and not self._has_room():
            self._work.close()  # a feed may have taken a job, which others shall run then
        while self._is_hungry and self._has_room() and time.monotonic() >= self._outage.retry_at:
            with self._outage.tolerated(proves=False):
                self._take_one()
        if self._is_spent:
            self._work.close()

    @property
    def _is_spent(self) -> bool:
        return self._options.max_jobs is not None and self._started >= self._options.max_jobs

    def _has_room(self) -> bool:
        if self._draining_until is not None or self._is_spent:
            return False
        is_held_up = any(not run.is_started for run in self._runs)
        return not is_held_up and len(self._runs) < self._options.slots

    def _take_one(self) -> None:
        granted = self._claim(self._identity.able(self._free_mb()))
        self._work.follow()
        if granted is None:
            self._is_hungry = False
            if self._options.burst or self._is_curious or not self._work.is_woken:
                self._is_curious = False
                self._expect(self._mp.queue.next_run_at())
            return
        self._started += 1
        self._busy_until = time.monotonic() + BUSY_S
        self._admit(granted)

    def _expect(self, run_at: datetime | None) -> None:
        """Note when a job comes due by itself, of which no feed tells."""
        self._run_at = None
        if run_at is not None:
            self._run_at = time.monotonic() + max(0.0, (run_at - self._mp.clock.now()).total_seconds())

    def _admit(self, granted: Granted) -> None:
        job, token = granted.job, granted.token
        try:
            spec = self._mp.catalog.get(job.type).spec
            needs = needs_of(job, spec, self._mp.metadata.assets, self._budget_mb)
        except Exception as exc:  # noqa: BLE001 - what a spec declares of memory is other people's code
            self._settle(Settlement(job=job, token=token, failure=classify(exc, job)))
            return
        run = Run(job=job, token=token, needs=needs)
        if not self._runs:  # its lease is fresh, and nobody was told of anything for a while
            self._chores.postpone("beat")
            self._chores.postpone("news", is_remote=self._stops.is_woken)
        self._runs.append(run)
        self._start_if_room(run)

    def _free_mb(self) -> int:
        return self._budget_mb - sum(run.needs.memory_mb for run in self._runs if run.is_started)

    def _start_if_room(self, run: Run) -> None:
        """Start the run; one that alone wants more than there is starts when nothing else runs."""
        is_alone = not any(other.is_started for other in self._runs)
        if run.needs.memory_mb > self._free_mb() and not is_alone:
            return
        self._tell("job_begun", f"Attempt {run.job.attempts} begins.", run.job)
        if self._options.isolation == "inline":
            self._run_inline(run)
        else:
            self._start(run)

    def _start(self, run: Run) -> None:
        try:
            workdir = self._workdirs.make(run.job.job_id, run.token)
            process = self._launch(
                Assignment(
                    job=run.job,
                    token=run.token,
                    versions=run.needs.versions,
                    workdir=workdir,
                    memory_limit=run.needs.limit_bytes,
                    parent=self._identity.pid,
                )
            )
        except OSError as exc:
            text = f"The worker's host cannot start a process: {exc.strerror}."
            run.failure = Failure(kind=FailureKind.BACKEND, code="backend_unavailable", message=text)
            self._bury(run)
            return
        run.begin(process)
        if self._guard is not None:
            self._guard.add(process.pid, workdir / TEMPORARY)
        self._selector.register(process.line, selectors.EVENT_READ, lambda: self._hear(run))
        if process.pidfd is not None:
            self._selector.register(process.pidfd, selectors.EVENT_READ, None)

    def _run_inline(self, run: Run) -> None:
        run.begin(None)
        workdir = self._workdirs.make(run.job.job_id, run.token)
        answer = run_inline(run, execution_of(self._mp), workdir, self._attend_inline)
        if isinstance(answer, Parked):
            self._switchboard.parked(run, answer.answer)
        elif answer is not None:
            self._switchboard.ended(run, answer)
        self._bury(run)

    def _attend_inline(self) -> None:
        self._heed_signals(time.monotonic())
        self._keep_alive()

    # ── what processes say, and how they end ──

    def _hear(self, run: Run) -> None:
        if run.process is not None and not self._switchboard.hear(run):
            self._selector.unregister(run.process.line)

    def _look_for_ends(self) -> None:
        for run in list(self._runs):
            has_ended = run.process.has_ended() if run.process is not None else run.why is not None
            if has_ended:
                self._bury(run)

    def _bury(self, run: Run) -> None:
        """Take the run off the worker: free what it held, settle what it left open."""
        ended = None
        if run.process is not None:
            self._switchboard.hear(run, ALL)  # what it said last
            ended = self._reap(run.process)
        self._runs.remove(run)
        self._strays.clear(self._own_processes())
        self._workdirs.remove(run.job.job_id, run.token)
        self._is_hungry = self._is_curious = True
        self._last_end_at = time.monotonic()
        if not run.is_over:
            self._settle(Settlement(job=run.job, token=run.token, failure=run.failure_of(ended)))

    def _own_processes(self) -> set[int]:
        found = [run.process.pid for run in self._runs if run.process is not None]
        others = (self._maintenance.pid, self._poller.pid, self._guard.pid if self._guard is not None else None)
        return {*found, *(pid for pid in others if pid is not None)}

    def _reap(self, process: ChildProcess) -> Exit:
        for descriptor in (process.line, process.pidfd):
            if descriptor is not None:
                with suppress(KeyError):  # its line was closed before
                    self._selector.unregister(descriptor)
        if self._guard is not None:
            self._guard.remove(process.pid)
        return process.reap()


def _farewell(running: int, seconds: float) -> str:
    if not running:
        return "Nothing runs; the worker stops."
    return f"Jobs running: {running}; they have {seconds:.0f} s. A second signal hands them back at once."
