"""`musproj download`: one file of a version, checked against its record."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Fields, write_bytes

if TYPE_CHECKING:
    from musproj import File, MusProj
    from musproj.cli.terminal import Report

app = new_app()

STDOUT = "-"


@app.command(
    "download",
    epilog=examples(
        'musproj download "$(musproj assets list -q --limit 1)" -o enhanced.wav',
        'musproj download "$(musproj assets list -q --limit 1)@1" -o - > source.wav',
    ),
)
@command
def download(
    call: Call,
    asset: Annotated[str, typer.Argument(metavar="ASSET[@VERSION]", help="VERSION: a number, latest, head (default).")],
    file: Annotated[str | None, typer.Option("--file", metavar="NAME", help="Which file; default: the first.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="OUT", help="File or folder to write; `-` is stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Download a file of a version.

    It appears whole, and only if its sha256 is the recorded one.
    """
    from musproj import DEFAULT_OWNER
    from musproj.cli.files import written_whole
    from musproj.cli.references import asset_ref

    ref = asset_ref(asset)
    with call.open() as mp:
        number, found, name = mp.assets.find_file(DEFAULT_OWNER, ref.asset_id, ref.version, file=file or ref.file)
        if output == STDOUT:
            for block in _verified(mp, found):
                write_bytes(block)
            return
        target = _target(output, name)
        with call.progress(name) as report, written_whole(target, force=force) as part:
            part.writelines(_reported(_verified(mp, found), found.size_bytes, report))
    _print(call, ref.asset_id, number, found, target)


def _target(output: str | None, name: str) -> Path:
    """Return where to write; the name comes from whoever uploaded, so it never leaves the folder."""
    from musproj.cli.text import visible

    plain = visible(name).lstrip(".") or "download"
    if output is None:
        return Path(plain)
    path = Path(output)
    return path / plain if path.is_dir() or output.endswith("/") else path


def _verified(mp: "MusProj", file: "File") -> Iterator[bytes]:
    import hashlib

    from musproj.errors import ChecksumMismatchError

    digest = hashlib.sha256()
    for block in mp.opened_storage.storage.read(file.object_key, etag=file.etag):
        digest.update(block)
        yield block
    if digest.hexdigest() != file.sha256:
        raise ChecksumMismatchError(f"{file.object_key} is damaged: its sha256 is not the recorded one.")


def _reported(blocks: Iterator[bytes], size: int, report: "Report") -> Iterator[bytes]:
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        report(done / (size or 1), "")


def _print(call: Call, asset_id: str, number: int, file: "File", target: Path) -> None:
    facts = {"assetId": asset_id, "version": number, "file": file.name, "path": str(target), "sha256": file.sha256}
    call.out.result(
        "download",
        lambda: {**facts, "size": file.size_bytes},
        ids=[str(target)],
        shape=lambda form: Fields(
            [
                ("wrote", str(target)),
                ("version", f"{asset_id}@{number}"),
                ("size", form.size(file.size_bytes)),
                ("sha256", file.sha256),
            ]
        ),
    )
