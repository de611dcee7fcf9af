"""The tree of commands, and the one place where errors become messages and exit codes."""

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from musproj._version import __version__
from musproj.cli.call import new_app
from musproj.cli.output import print_error, write

INTERRUPTED = 130
"""128 + SIGINT."""
WRONG_USAGE = 2
CLOSED_PIPE = 141
"""128 + SIGPIPE: what a shell shows for a program that this signal ended."""

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
    "doctor": "doctor",
    "gc": "gc",
    "config": "config",
    "help": "topics",
    "version": "topics",
}
"""Command → the module of this package that has it, in the order of the help."""
GROUPS = frozenset({"assets", "jobs", "processors", "config"})
"""Those that have commands of their own."""

_STANDARD_STREAMS = (0, 1, 2)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's callback
    if wanted:
        write(f"musproj {__version__}")
        raise typer.Exit


def build(wanted: str | None = None) -> typer.Typer:
    """Return the program; with the one command `wanted` alone, where that is known, it is there sooner."""
    app = new_app("Uploads, versions and background processing of audio.", add_completion=True)
    app.callback()(_root)
    names = [wanted] if wanted in COMMANDS else list(COMMANDS)
    for module in dict.fromkeys(COMMANDS[name] for name in names):
        part: typer.Typer = importlib.import_module(f"musproj.cli.{module}").app
        app.add_typer(part, name=module if module in GROUPS else None)
    return app


def _root(
    version: Annotated[  # noqa: ARG001 - the option's callback does it
        bool, typer.Option("--version", "-V", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Uploads, versions and background processing of audio."""


def run(words: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    _open_closed_streams()
    try:
        code = _dispatch(words or ["--help"])
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    return code


def _dispatch(words: Sequence[str]) -> int:
    as_json = "--json" in words or "--ndjson" in words
    try:
        # Without its standalone mode Typer hands errors on, and returns what the command returned.
        answer = build(words[0])(list(words), prog_name="musproj", standalone_mode=False)
    except BrokenPipeError:
        raise
    except TyperException as exc:
        return _wrong_usage(exc, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as exc:  # noqa: BLE001 - the one place that tells a known error from a bug
        return _failed(exc, as_json=as_json, in_full=_verbosity(words) > 1)
    return answer if isinstance(answer, int) else 0


def _wrong_usage(error: TyperException, *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "musproj"
    print_error("validation_failed", error.format_message(), hint=f"{path} --help", facts={}, as_json=as_json)
    return WRONG_USAGE


def _failed(error: Exception, *, as_json: bool, in_full: bool) -> int:
    from musproj.cli.exit_codes import exit_code
    from musproj.cli.failures import describe
    from musproj.errors import MusProjError

    if isinstance(error, MusProjError):
        describe(error, as_json=as_json)
        return exit_code(error)
    if in_full:
        traceback.print_exception(error)
    hint = None if in_full else "Run it again with -vv for the traceback."
    print_error("internal", f"{type(error).__name__}: {error}", hint=hint, facts={}, as_json=as_json)
    return 1


def _verbosity(words: Sequence[str]) -> int:
    return sum(len(word) - 1 if word.startswith("-v") else 1 for word in words if word in ("-v", "-vv", "--verbose"))


def _open_closed_streams() -> None:
    """Put /dev/null in the place of closed standard streams, or the next file opened would get their numbers."""
    for number in _STANDARD_STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - lives as long as we
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
