"""The tree of commands; the modules that have them are imported when it is built, and only those that are asked for."""

import importlib
from typing import Annotated

import typer

from musproj._version import __version__
from musproj.cli.call import new_app
from musproj.cli.output import write

ABOUT = "Uploads, versions and background processing of audio."

COMMANDS = {
    "demo": "demo",
    "serve": "serve",
    "work": "work",
    "upload": "uploads",
    "download": "downloads",
    "submit": "submit",
    "run": "oneoff",
    "assets": "assets",
    "jobs": "jobs",
    "processors": "processors",
    "presets": "presets",
    "doctor": "doctor",
    "gc": "gc",
    "config": "config",
    "help": "topics",
    "version": "topics",
}
"""Command → the module of this package that has it, in the order of the help."""
GROUPS = frozenset({"assets", "jobs", "processors", "presets", "config"})
"""Those that have commands of their own."""


def build(wanted: str | None = None) -> typer.Typer:
    """Return the program; with the one command `wanted` alone, where that is known, it is there sooner."""
    app = new_app(ABOUT, add_completion=wanted not in COMMANDS)
    if wanted in COMMANDS:
        # Typer imports pydantic for the first option that was not given, so `jobs --help` does without the program's.
        app.callback(add_help_option=False)(_nothing)
    else:
        app.callback()(_root)
    names = [wanted] if wanted in COMMANDS else list(COMMANDS)
    for module in dict.fromkeys(COMMANDS[name] for name in names):
        part: typer.Typer = importlib.import_module(f"musproj.cli.{module}").app
        app.add_typer(part, name=module if module in GROUPS else None)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        write(f"musproj {__version__}")
        raise typer.Exit


def _nothing() -> None:
    """Take no option."""


def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""
