"""`musproj help` and `musproj version`."""

import platform
from typing import Annotated

import typer

from musproj._version import __version__
from musproj.cli.call import Call, command, examples, new_app
from musproj.cli.output import Fields, Table
from musproj.cli.tree import build

app = new_app()


@app.command("help", epilog=examples("musproj help exit-codes", "musproj help jobs watch"))
@command
def help_(
    call: Call,
    words: Annotated[list[str] | None, typer.Argument(metavar="[exit-codes | COMMAND...]")] = None,
) -> None:
    """Show the exit codes, or the help of a command."""
    if words == ["exit-codes"]:
        _exit_codes(call)
        return
    asked = [*(words or ()), "--help"]
    build(asked[0])(asked, prog_name="musproj", standalone_mode=False)


@app.command("version", epilog=examples("musproj version --json"))
@command
def version(call: Call) -> None:
    """Show the versions of musproj and Python."""
    found = {"musproj": __version__, "python": platform.python_version()}
    call.out.result("version", lambda: found, ids=[__version__], shape=lambda _: Fields(list(found.items())))


def _exit_codes(call: Call) -> None:
    from musproj.cli.exit_codes import MEANINGS

    call.out.result(
        "exitCodes",
        lambda: {"data": [{"code": int(code), "meaning": meaning} for code, meaning in MEANINGS.items()]},
        ids=[str(int(code)) for code in MEANINGS],
        shape=lambda _: Table(("code", "meaning"), [(str(int(code)), text) for code, text in MEANINGS.items()]),
    )
