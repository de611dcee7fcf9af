"""`musproj gc`: objects that provably belong to nobody."""

from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Document, Table

if TYPE_CHECKING:
    from musproj.application.gc import GcReport, Removal

app = new_app()


@app.command("gc", epilog=examples("musproj gc", "musproj gc --run"))
@command
def collect(
    call: Call,
    run: Annotated[bool, typer.Option("--run", help="Delete; without it gc only shows what it would do.")] = False,
    orphans: Annotated[bool, typer.Option("--orphans", help="Also objects whose job's record is lost.")] = False,
) -> None:
    """Find objects that belong to nobody.

    Those that no record names, and those of deleted assets whose time is over. Nothing is deleted without --run.
    """
    from musproj.cli.text import human_size

    with call.open() as mp:
        report = mp.collector.collect(dry_run=not run, orphans=orphans)
    call.out.result(
        "gc",
        lambda: _document(report, run=run),
        ids=[removal.key for removal in report.removals],
        shape=lambda form: Table(
            ("object", "size", "what", "why"),
            [
                (removal.key, form.size(removal.size_bytes), _fate(removal, run=run), removal.reason)
                for removal in report.removals
            ],
        ),
    )
    going = [removal for removal in report.removals if removal.is_garbage]
    size = human_size(sum(removal.size_bytes for removal in going))
    call.out.note(f"{len(going)} objects, {size}" + (" deleted." if run else "; --run deletes them."))


def _fate(removal: "Removal", *, run: bool) -> str:
    if not removal.is_garbage:
        return "stays"
    return "deleted" if run else "would go"


def _document(report: "GcReport", *, run: bool) -> Document:
    removals = [
        {
            "objectKey": item.key,
            "size": item.size_bytes,
            "reason": item.reason,
            "removed": item.removed,
            "garbage": item.is_garbage,
        }
        for item in report.removals
    ]
    return {"data": removals, "dryRun": not run, "freedBytes": report.freed_bytes}
