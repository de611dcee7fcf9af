"""Run jobs: `work` until told to stop, `run` for one job that a queue of another kind has delivered."""

import logging
from collections.abc import Callable

import attrs

from musproj.composition import MusProj
from musproj.domain.ids import job_id as checked_job_id
from musproj.domain.ids import new_token
from musproj.domain.ledger import Granted
from musproj.worker.events import Teller, WorkerEvent
from musproj.worker.identity import Identity
from musproj.worker.options import WorkerOptions
from musproj.worker.supervisor import Supervisor

__all__ = ["WorkerEvent", "WorkerOptions", "run", "work"]

log = logging.getLogger(__name__)


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
    options, identity = _prepared(mp, options or WorkerOptions.from_settings(mp.settings))
    Supervisor(mp, options, identity, Teller(identity.worker_id, on_event), claim=mp.queue.claim).run()


def run(job_id: str) -> None:
    """Run one job, if it is to be run at all, in an installation opened from the settings.

    This is what an entry of a stock RQ worker names. A job that somebody else runs, that has ended or that
    is not due is left alone: its record decides, and it will be delivered again if it has to. Whatever comes of the
    job stands in its record, so nothing is returned or raised for it. When RQ's time for the entry is over, the job
    is stopped and its attempt spent; SIGTERM lets it finish for `drain_s` seconds.

    Raises:
        InvalidError: `job_id` is no job id.
        ConfigurationError: a setting is wrong.
        BackendUnavailableError: the records cannot be reached; the job will be delivered again.
    """
    wanted = checked_job_id(job_id)

    with MusProj.open() as mp:
        asked = WorkerOptions.from_settings(mp.settings, burst=True, max_jobs=1)
        options, identity = _prepared(mp, attrs.evolve(asked, concurrency=1))
        answer = mp.metadata.jobs.begin(wanted, identity.able(options.budget_mb), new_token())
        if not isinstance(answer, Granted):
            log.info("Job %s is left alone: %s.", wanted, answer, extra={"action": "job_left_alone", "job": wanted})
            return
        tell = Teller(identity.worker_id)
        Supervisor(mp, options, identity, tell, claim=lambda _: answer, heeds_alarm=True).run()


def _prepared(mp: MusProj, options: WorkerOptions) -> tuple[WorkerOptions, Identity]:
    if mp.settings.storage_url.startswith("memory:"):
        # What another process stores there, this one never sees.
        options = attrs.evolve(options, isolation="inline")
    return options, Identity.of_this_process(mp.catalog, mp.services.usable(), options.budget_mb)
