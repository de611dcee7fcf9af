"""How much memory a job may take, and how much its processes hold."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from resource import struct_rusage

ALLOWANCE_FACTOR, ALLOWANCE_MB = 1.5, 256
"""A job is killed over its declared memory times this plus this: a fork counts the libraries that were loaded
before it (some 110 MiB for numpy, scipy and soundfile) as its own."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


def limit_bytes(declared: int | None, budget_mb: int) -> int:
    """Return the resident size over which a job is killed."""
    allowed_mb = budget_mb if declared is None else int(ALLOWANCE_FACTOR * declared) + ALLOWANCE_MB
    return allowed_mb << 20


def group_bytes(pid: int) -> int:
    """Return the resident size of `pid` and its descendants; 0 where the system does not tell."""
    return sum(_resident(process) for process in (pid, *descendants(pid)))


def descendants(pid: int) -> list[int]:
    """Return the children of `pid`, theirs, and so on; whichever group or session they put themselves in."""
    found: list[int] = []
    pending = [pid]
    while pending:
        born = children(pending.pop())
        found += born
        pending += born
    return found


def children(pid: int) -> list[int]:
    """Return the children of `pid`; none where the system does not tell."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        for task in (_PROC / str(pid) / "task").iterdir():  # each thread has children of its own
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def virtual_bytes() -> int | None:
    """Return the address space of this process, or None where the system does not tell."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * _PAGE
    return None


def peak_bytes(usage: struct_rusage) -> int:
    """Return the peak resident size of a reaped process; macOS counts bytes, others KiB (getrusage(2))."""
    return usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024


def _resident(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int((_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1]) * _PAGE
    return 0
