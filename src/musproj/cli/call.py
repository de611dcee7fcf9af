"""What every command shares: the flags of its output, its settings, and the opened installation."""

import functools
import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

from musproj.cli.output import Output, write

if TYPE_CHECKING:  # the use cases are imported when a command runs, so that --help stays quick
    from musproj import MusProj, Settings
    from musproj.cli.terminal import Report

P = ParamSpec("P")
R = TypeVar("R")

Flags = dict[str, Any]

SHARED: dict[str, tuple[Any, Any]] = {
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print one JSON document with the HTTP API's field names.")],
        False,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only.")], False),
    "verbose": (
        Annotated[
            int,
            typer.Option("--verbose", "-v", count=True, show_default=False, help="Log to stderr; -vv for everything."),
        ],
        0,
    ),
    "no_color": (Annotated[bool, typer.Option("--no-color", help="Never print colours.")], False),
    "data": (
        Annotated[Path | None, typer.Option(help="Folder of the embedded deployment.", metavar="DIR")],
        None,
    ),
}
"""Flag → its annotation and default; every command has all of them."""


class Call:
    """One run of a command: its output, and the way to what it works on."""

    def __init__(self, *, as_json: bool, quiet: bool, verbose: int, no_color: bool, data: Path | None) -> None:
        """Keep the shared flags."""
        self.out = Output(as_json=as_json, quiet=quiet, no_color=no_color)
        self.verbose = verbose
        self.data = data

    def progress(self, label: str) -> "AbstractContextManager[Report]":
        """Return a bar on stderr for the time of a block, if that is a terminal and more than ids is wanted."""
        from musproj.cli.terminal import progress

        return progress(label, wanted=not self.out.quiet, no_color=self.out.no_color)

    @property
    def flags(self) -> Flags:
        """The shared flags that are settings; None where one was not given."""
        return {"data": self.data, "log": {0: None, 1: "info"}.get(self.verbose, "debug")}

    def settings(self, **flags: object) -> "Settings":
        """Return the settings with `flags` on top, and log as they say.

        Raises:
            ConfigurationError: one of them is unknown or wrong.
        """
        from musproj.cli.logs import configure_logging
        from musproj.settings import Settings

        settings = Settings.load({**self.flags, **flags})
        configure_logging(settings.log)
        if settings.processors:
            import_from_here()
        return settings

    @contextmanager
    def open(self) -> Generator["MusProj"]:
        """Open the installation for the time of the block.

        Raises:
            ConfigurationError: a setting, a URL or an extra is wrong or missing.
            BackendUnavailableError: a store cannot be opened.
        """
        from musproj import MusProj

        with MusProj.open(self.settings(), is_interactive=True) as mp:
            yield mp


def import_from_here() -> None:
    """Let `package.module:object` name a module of the present folder, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def command(function: Callable[Concatenate[Call, P], R]) -> Callable[P, R]:
    """Return `function` with the shared flags as parameters, from which its first one, `call`, is made."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        shared: Flags = {name: kwargs.pop(name) for name in SHARED}
        return function(Call(**shared), *args, **kwargs)

    signature = inspect.signature(function)
    own = [parameter for name, parameter in signature.parameters.items() if name != "call"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in SHARED.items()
    ]
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    run.__signature__ = signature.replace(parameters=[*keyword_only, *shared])  # type: ignore[attr-defined]  # PEP 362
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    return run


def new_app(help_text: str = "", *, add_completion: bool = False) -> typer.Typer:
    """Return a group of commands that starts quickly: without rich in help and tracebacks."""
    return typer.Typer(
        help=help_text,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        add_completion=add_completion,
    )


def new_group(help_text: str) -> typer.Typer:
    """Return a group whose name alone shows its help."""
    app = new_app(help_text)

    @app.callback(invoke_without_command=True, help=help_text)
    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            write(context.get_help())

    return app


def examples(*lines: str) -> str:
    r"""Return the end of a command's help; `\b` keeps its lines as they are."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
