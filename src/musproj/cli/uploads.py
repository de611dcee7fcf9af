"""`musproj upload`: local files in, ready assets out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Form, Table

if TYPE_CHECKING:
    from musproj import AssetView, MusProj, ThenRequest
    from musproj.cli.terminal import Report

app = new_app()


@app.command("upload", epilog=examples("musproj upload take.wav", "musproj upload recordings/ --ndjson"))
@command
def upload(
    call: Call,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders, patterns, `-` or @list.")],
    name: Annotated[str | None, typer.Option(help="Name of the asset; default: the file's.")] = None,
    then: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="Job to submit on the new asset; may be repeated.")
    ] = None,
    ndjson: Annotated[bool, typer.Option("--ndjson", help="One JSON line per file, as soon as it is there.")] = False,
) -> int:
    """Upload audio files and confirm them.

    Folders are searched for files with a known extension. One that fails does not stop the others.
    """
    from musproj import ThenRequest
    from musproj.cli import failures, wire
    from musproj.cli.files import audio_files
    from musproj.cli.references import expand_paths
    from musproj.errors import InvalidError

    files = audio_files(expand_paths(paths))
    if name is not None and len(files) > 1:
        raise InvalidError(f"--name names one asset, but {len(files)} files are given.")
    jobs = [ThenRequest(type=kind) for kind in then or ()]
    done: list[AssetView] = []
    with call.open() as mp, call.progress("upload") as report:
        put = _putter(mp, report, files, name, jobs)
        for view in failures.each(call.out, files, put):
            done.append(view)
            if ndjson:
                call.out.event("asset", wire.asset(view))
    if done and not ndjson:
        _print(call, done, is_single=len(files) == 1)
    return failures.outcome(files, done)


def _putter(
    mp: "MusProj", report: "Report", files: Sequence[Path], name: str | None, then: "Sequence[ThenRequest]"
) -> "Callable[[Path], AssetView]":
    """Return what uploads one file and tells how far all of them are."""
    from musproj import DEFAULT_OWNER
    from musproj.cli.files import readable

    total = sum(file.stat().st_size for file in files if file.is_file()) or 1
    before = 0

    def put(path: Path) -> "AssetView":
        nonlocal before
        start, before = before, before + readable(path).stat().st_size
        asset = mp.uploads.put_file(
            DEFAULT_OWNER, path, name=name, then=then, progress=lambda sent: report((start + sent) / total, path.name)
        )
        return mp.assets.get(DEFAULT_OWNER, asset.asset_id)

    return put


def _print(call: Call, views: "Sequence[AssetView]", *, is_single: bool) -> None:
    from musproj.cli import wire

    call.out.result(
        "asset" if is_single else "assets",
        lambda: wire.asset(views[0]) if is_single else wire.assets(views),
        ids=[view.asset.asset_id for view in views],
        shape=lambda form: Table(("asset", "name", "length", "format", "size"), [_row(form, view) for view in views]),
    )


def _row(form: Form, view: "AssetView") -> tuple[str, ...]:
    source = view.versions[-1].primary
    return (
        view.asset.asset_id,
        view.asset.name or "",
        form.duration(source.duration),
        form.audio(source.sample_rate, source.channels),
        form.size(source.size_bytes),
    )
