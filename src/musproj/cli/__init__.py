"""The command line. `main` is the `musproj` script; it exists without the `cli` extra too."""

import sys
from collections.abc import Sequence

from musproj._version import __version__

VERSION_FLAGS = (["--version"], ["-V"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; without Typer it prints the pip line and returns 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words in VERSION_FLAGS:
        # Before Typer is imported: scripts ask for it often.
        print(f"musproj {__version__}")  # noqa: T201 - the one line that needs nothing of output.py
        return 0
    try:
        import typer  # noqa: F401 - only to see whether it is there
    except ModuleNotFoundError:
        line = "error[missing_extra]: 'typer' is needed here. Install it with: pip install 'musproj[cli]'"
        print(line, file=sys.stderr)  # noqa: T201 - output.py belongs to the extra
        return 2
    from musproj.cli.app import run

    return run(words)
