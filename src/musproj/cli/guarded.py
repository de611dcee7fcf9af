"""One check of `musproj doctor`, whatever comes of it."""

from collections.abc import Callable, Iterator

from musproj.errors import MusProjError
from musproj.ports.findings import Finding


def guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what `check` finds; that it fails is a finding too."""
    try:
        yield from check()
    except MusProjError as exc:
        yield Finding(name, "problem", exc.message, exc.hint)
    except OSError as exc:
        yield Finding(name, "problem", str(exc))
