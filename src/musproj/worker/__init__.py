"""Run jobs: `work` until told to stop, `run` for one job that a queue of another kind has delivered."""

from collections.abc import Callable

import attrs

from musproj.composition import MusProj
from musproj.domain.ids import job_id as checked_job_id
from musproj.domain.ids import new_token
from musproj.domain.ledger import Granted, Worker
from musproj.worker.events import Teller, WorkerEvent
from musproj.worker.identity import Identity
from musproj.worker.options import WorkerOptions
from musproj.worker.supervisor import Supervisor

__all__ = ["WorkerEvent", "WorkerOptions", "run", "work"]


def work(
    mp: MusProj, options: WorkerOptions | None = None, on_event: Callable[[WorkerEvent], None] | None = None
) -> None:
    """Run jobs in processes of their own until SIGTERM or SIGINT; blocks.

    The first signal stops taking jobs and lets running ones finish for `options.drain_s` seconds; then, or at the
    second signal, they are handed back without an attempt spent. A store that is away is waited for. Call it in the
    main thread of a process that has no other threads: it forks.

    Args:
        mp: The installation; stays open.
        options: How; default: as its settings say.
        on_event: Called with each event, in the same thread; it should return soon.
    """
    _supervise(mp, options or WorkerOptions.from_settings(mp.settings), mp.queue.claim, on_event)


def run(job_id: str) -> None:
    """Run one job, if it is to be run at all, in an installation opened from the settings.

    This is what an entry of a stock RQ worker names. A job that somebody else runs, that has ended or that
    is not due is left alone: its record decides, and it will be delivered again if it has to.

    Raises:
        InvalidError: `job_id` is no job id.
        ConfigurationError: a setting is wrong.
    """
    wanted = checked_job_id(job_id)

    with MusProj.open() as mp:

        def begin(worker: Worker) -> Granted | None:
            answer = mp.metadata.jobs.begin(wanted, worker, new_token())
            return answer if isinstance(answer, Granted) else None

        _supervise(mp, WorkerOptions(concurrency=1, burst=True, max_jobs=1), begin)


def _supervise(
    mp: MusProj,
    options: WorkerOptions,
    claim: Callable[[Worker], Granted | None],
    on_event: Callable[[WorkerEvent], None] | None = None,
) -> None:
    if mp.settings.storage_url.startswith("memory:"):
        # What another process stores there, this one never sees.
        options = attrs.evolve(options, isolation="inline")
    identity = Identity.of_this_process(mp.catalog, options.budget_mb)
    Supervisor(mp, options, identity, Teller(identity.worker_id, on_event), claim=claim).run()
