"""`musproj work`: run jobs until told to stop."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Fields
from musproj.cli.serve import Concurrency

if TYPE_CHECKING:
    from musproj import MusProj
    from musproj.worker import WorkerEvent, WorkerOptions

app = new_app()

_ENDS = {
    "job_committed": "succeeded",
    "job_failed": "failed",
    "job_cancelled": "cancelled",
    "job_released": "released",
    "job_fenced": "fenced",
}
"""Event → what the summary counts it as."""
_LOGGED = frozenset({"job_failed", "job_fenced", "backend_down", "lease_expired"})
"""The log shows them at its default level."""


@app.command("work", epilog=examples("musproj work --concurrency 2 --burst"))
@command
def work(  # noqa: PLR0913, PLR0917 - a flag is a parameter
    call: Call,
    concurrency: Concurrency = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when there is nothing left to run.")] = False,
    max_jobs: Annotated[int | None, typer.Option(min=1, metavar="N", help="End after so many jobs.")] = None,
    drain: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long running jobs may go on after SIGTERM: 90s, 5m.")
    ] = None,
    isolation: Annotated[
        str | None,
        typer.Option(metavar="process|inline", help="`inline` runs a job in the worker itself, to debug it."),
    ] = None,
    economy: Annotated[
        bool,
        typer.Option("--economy", help="Fewer commands where each is paid for; a killed worker's job waits 90 s."),
    ] = False,
    parent: Annotated[int | None, typer.Option(hidden=True, help="Drain when this process ends.")] = None,
    storage: Annotated[str | None, typer.Option(hidden=True)] = None,
    metadata: Annotated[str | None, typer.Option(hidden=True)] = None,
    queue: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run queued jobs, each in a process of its own.

    At SIGTERM or Ctrl-C running jobs may finish; a second signal hands them back at once. Neither costs an attempt.
    Any number of workers may run on the same stores. On Redis, stock RQ workers can run the same queue with
    `rq worker --serializer json`, but they trust whoever can write to Redis.
    """
    from musproj import MusProj
    from musproj.cli.parent import drain_with
    from musproj.cli.references import seconds
    from musproj.worker import WorkerOptions
    from musproj.worker import work as supervise

    if parent is not None:
        drain_with(parent)
    settings = call.settings(
        concurrency=concurrency,
        drain_s=None if drain is None else seconds(drain),
        isolation=isolation,
        economy=economy or None,
        storage=storage,
        metadata=metadata,
        queue=queue,
    )
    options = WorkerOptions.from_settings(settings, burst=burst, max_jobs=max_jobs)
    counts: Counter[str] = Counter()
    with MusProj.open(settings) as mp:
        supervise(mp, options, lambda event: _tell(call, mp, options, counts, event))
    _print(call, counts)


def _tell(call: Call, mp: "MusProj", options: "WorkerOptions", counts: Counter[str], event: "WorkerEvent") -> None:
    if event.action in _ENDS:
        counts[_ENDS[event.action]] += 1
    if event.action == "worker_started":
        call.out.note(_ready(mp, options))
    elif event.action.startswith("worker_"):
        call.out.note(event.text)
    elif event.action in _ENDS and event.action not in _LOGGED and event.job is not None:
        call.out.note(f"{event.job.job_id} {event.job.type}: {event.text}")


def _ready(mp: "MusProj", options: "WorkerOptions") -> str:
    return (
        f"ready  queue={mp.settings.queue_name} concurrency={options.slots} memory={options.budget_mb / 1024:.1f}GiB "
        f"processors={len(mp.catalog.runnable())} lease={mp.settings.lease_s:g}s"
    )


def _print(call: Call, counts: Counter[str]) -> None:
    found = {name: counts[name] for name in _ENDS.values()}
    call.out.result(
        "work", lambda: found, ids=[], shape=lambda _: Fields([(name, str(n)) for name, n in found.items() if n])
    )
