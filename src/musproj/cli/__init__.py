"""The command line. `main` is the `musproj` script; it exists without the `cli` extra too."""

import sys
from collections.abc import Sequence

from musproj._version import __version__

VERSION_FLAGS = (["--version"], ["-V"])
INTERRUPTED = 130
"""128 + SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; without Typer it prints the pip line and returns 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words in VERSION_FLAGS:
        # Before Typer is imported: scripts ask for it often.
        print(f"musproj {__version__}")  # noqa: T201 - the one line that needs nothing of output.py
        return 0
    try:
        return _run(words)
    except KeyboardInterrupt:  # while modules are imported; from then on app.py minds it
        return INTERRUPTED


def _run(words: Sequence[str]) -> int:
    try:
        from musproj.cli.app import run
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != "typer":
            raise
        line = "error[missing_extra]: 'typer' is needed here. Install it with: pip install 'musproj[cli]'"
        print(line, file=sys.stderr)  # noqa: T201 - output.py belongs to the extra
        return 2
    return run(words)
