"""Programs that left their job's process group, to outlive it.

They are told by the temporary folder that their job gave them in their environment. On Linux an orphan of a job
becomes a child of the supervisor, which makes it the nearest place to look; elsewhere strays are not found.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from musproj.worker import memory

_PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h"""
_LIBC = ctypes.CDLL(None)


class Strays:
    """Adopts the orphans of jobs while it is entered."""

    def __init__(self, root: Path) -> None:
        """Look for those whose temporary folder lies below `root`."""
        self._mark = f"TMPDIR={root}/".encode()
        self._before: frozenset[int] = frozenset()

    def __enter__(self) -> Self:
        """Become whom the system hands orphans to."""
        self._before = frozenset(memory.children(os.getpid()))
        _be_subreaper(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Be so no more."""
        _be_subreaper(0)

    def clear(self, known: Container[int]) -> None:
        """Kill and reap what was handed to this process; `known` are children of its own."""
        for pid in memory.children(os.getpid()):
            if pid in known or pid in self._before:
                continue
            if is_marked(pid, self._mark):
                _kill(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def kill_marked(folders: Iterable[str]) -> None:
    """Kill every process of this host whose temporary folder is one of `folders`."""
    marks = [f"TMPDIR={folder}".encode() for folder in folders]
    for pid in _all_processes() if marks else ():
        if any(is_marked(pid, mark) for mark in marks):
            _kill(pid)


def is_marked(pid: int, mark: bytes) -> bool:
    """Tell whether a variable in the environment that `pid` began with starts with `mark`."""
    with suppress(OSError):
        return any(variable.startswith(mark) for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return False


def _all_processes() -> Iterator[int]:
    with suppress(OSError):
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                yield int(path.name)


def _kill(pid: int) -> None:
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _be_subreaper(value: int) -> None:
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, value)
