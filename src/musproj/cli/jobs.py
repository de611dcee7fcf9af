"""`musproj jobs`: list, show, watch, cancel, retry."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_group
from musproj.cli.paging import All, Cursor, Limit, Ndjson, Since, pages, stream, tell_more

if TYPE_CHECKING:
    from musproj import Job
    from musproj.ports.assets import Page

app = new_group("Jobs: how far each is, and what came of it.")

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job.")]
JobArguments = Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids of jobs, `-` or @list.")]

NEWEST = '"$(musproj jobs list -q --limit 1)"'
"""How an example names a job that is there."""
CANCEL_SECONDS = 5.0
"""How long `cancel` waits to see which side won: a running job stops within two."""


@app.command("list", epilog=examples("musproj jobs list --status failed --since 1d"))
@command
def list_(
    call: Call,
    asset: Annotated[str | None, typer.Option(metavar="ASSET", help="Only those on this asset.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="queued, running, succeeded, failed or cancelled.")
    ] = None,
    since: Since = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    every: All = False,
    ndjson: Ndjson = False,
) -> None:
    """List jobs, newest first."""
    from musproj import DEFAULT_OWNER, JobStatus
    from musproj.cli import references, tables, wire
    from musproj.ports.jobs import JobFilter

    wanted = references.choice(JobStatus, status, "--status")
    on_asset = None if asset is None else references.asset_id(asset)
    with call.open() as mp:
        after = references.since(since, mp.clock.now())
        filters = JobFilter(asset_id=on_asset, status=wanted, created_after=after)

        def read(size: int, at: str | None) -> "Page[Job]":
            return mp.jobs.list(DEFAULT_OWNER, filters, limit=size, cursor=at)

        if ndjson:
            for page in stream(read, limit, cursor, every=every):
                for job in page.items:
                    call.out.event("job", wire.job(job))
            return
        page = pages(read, limit, cursor, every=every)
    call.out.result(
        "jobs",
        lambda: wire.job_page(page),
        ids=[job.job_id for job in page.items],
        shape=lambda form: tables.jobs(form, page.items),
    )
    tell_more(call.out, page)


@app.command("show", epilog=examples(f"musproj jobs show {NEWEST}"))
@command
def show(call: Call, jobs: JobArguments) -> int:
    """Show jobs with parameters, result, error and attempts.

    Of a waiting one also why it waits, and what would help.
    """
    from musproj import DEFAULT_OWNER
    from musproj.cli import failures, tables, waiting, wire
    from musproj.cli.references import expand, job_id

    wanted = list(expand(jobs))
    with call.open() as mp:
        found = list(failures.each(call.out, wanted, lambda text: mp.jobs.get(DEFAULT_OWNER, job_id(text))))
        if len(wanted) > 1:
            print_jobs(call, found, is_single=False)
        else:
            job = found[0]
            call.out.result(
                "job",
                lambda: wire.job(job, with_attempts=True),
                ids=[job.job_id],
                shape=lambda form: tables.job(
                    form, job, waiting.hints(job, mp.catalog.specs, mp.metadata.jobs.workers)
                ),
            )
    return failures.outcome(wanted, found)


@app.command("watch", epilog=examples(f"musproj jobs watch {NEWEST} --timeout 5m"))
@command
def watch(
    call: Call,
    job: JobArgument,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Leave after 90s, 5m, … with exit 124; the job goes on.")
    ] = None,
    ndjson: Annotated[bool, typer.Option("--ndjson", help="One JSON line per change.")] = False,
) -> int:
    """Follow a job to its end; exit 0, 7 or 8 as it ends."""
    from musproj.cli import waiting, wire
    from musproj.cli.references import job_id, seconds

    limit = None if timeout is None else seconds(timeout)
    with call.open() as mp:
        last = waiting.follow(
            call,
            mp,
            job_id(job),
            timeout=limit,
            on_change=(lambda seen: call.out.event("job", wire.job(seen))) if ndjson else None,
        )
    if not ndjson:
        print_jobs(call, [last], is_single=True)
    return waiting.exit_of(last)


@app.command("cancel", epilog=examples(f"musproj jobs cancel {NEWEST}"))
@command
def cancel(call: Call, jobs: JobArguments) -> int:
    """Cancel jobs, and print which side won.

    A waiting job is cancelled at once, a running one within seconds.
    """
    from musproj import DEFAULT_OWNER, JobStatus
    from musproj.cli import failures
    from musproj.cli.references import expand, job_id

    wanted = list(expand(jobs))
    with call.open() as mp:
        asked = failures.each(call.out, wanted, lambda text: mp.jobs.cancel(DEFAULT_OWNER, job_id(text)))
        done = [mp.jobs.wait(DEFAULT_OWNER, job.job_id, timeout=CANCEL_SECONDS) for job in asked]
    print_jobs(call, done, is_single=len(wanted) == 1)
    return failures.outcome(wanted, [job for job in done if job.status is JobStatus.CANCELLED])


@app.command("retry", epilog=examples("musproj jobs list -q --status failed | musproj jobs retry -"))
@command
def retry(call: Call, jobs: JobArguments) -> int:
    """Submit failed or cancelled jobs anew, as new jobs."""
    from musproj import DEFAULT_OWNER
    from musproj.cli import failures
    from musproj.cli.references import expand, job_id

    wanted = list(expand(jobs))
    with call.open() as mp:
        done = list(failures.each(call.out, wanted, lambda text: mp.jobs.retry(DEFAULT_OWNER, job_id(text)).job))
    print_jobs(call, done, is_single=len(wanted) == 1)
    return failures.outcome(wanted, done)


def print_jobs(call: Call, jobs: "Sequence[Job]", *, is_single: bool) -> None:
    """Print what became of one job, or of several."""
    from musproj.cli import tables, wire

    call.out.result(
        "job" if is_single else "jobs",
        lambda: wire.job(jobs[0]) if is_single else wire.jobs(jobs),
        ids=[job.job_id for job in jobs],
        shape=lambda form: tables.job(form, jobs[0]) if is_single else tables.jobs(form, jobs),
    )
