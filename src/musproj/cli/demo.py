"""`musproj demo`: the main job of an audio app, once, step by step."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musproj.cli.call import Call, command, examples, new_app

if TYPE_CHECKING:
    from musproj import Settings

app = new_app()


@app.command("demo", epilog=examples("musproj demo", "musproj demo take.wav --keep"))
@command
def demo(
    call: Call,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A recording; default: one is made.")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Work in the real data folder and leave take.wav and the result here.")
    ] = False,
) -> int:
    """Show the whole flow: upload, enhance, download.

    Runs a real job on the embedded queue with a worker process; in a temporary folder unless --keep.
    """
    from musproj.cli.files import readable
    from musproj.cli.walkthrough import Walkthrough

    if file is not None:
        readable(file)
    with _place(call, keep=keep) as (settings, folder):
        return Walkthrough(call.out, settings, folder, is_kept=keep).run(file)


@contextmanager
def _place(call: Call, *, keep: bool) -> Generator[tuple["Settings", Path]]:
    """Yield the settings to work with and the folder for files."""
    import tempfile

    if keep:
        yield call.settings(), Path()
        return
    with tempfile.TemporaryDirectory(prefix="musproj-demo-") as name:
        data = Path(name, "data")
        database = f"sqlite:{data / 'musproj.db'}"
        settings = call.settings(data=data, storage=f"file:{data / 'objects'}", metadata=database, queue=database)
        yield settings, Path(name)
