"""What a worker may be told."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

import attrs
from attrs.validators import ge, in_, optional

from musproj.settings import Settings

MEMORY_SHARE = 0.75
"""Of the host's or the container's memory: the rest is the system's, the API's and the page cache's."""

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

StartMethod = Literal["fork", "spawn"]


def default_start_method() -> StartMethod:
    """Return `fork` where it is safe: on macOS a fork after Apple's frameworks were used may hang or crash."""
    return "fork" if sys.platform == "linux" else "spawn"


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """How a worker runs jobs."""

    concurrency: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """Jobs at once; None: one per core."""
    memory_mb: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """MiB that all running jobs together may declare; None: three quarters of what this machine has."""
    burst: bool = False
    """End when there is nothing left to run, nor due within a minute."""
    drain_s: float = attrs.field(default=300.0, validator=ge(0))
    """Seconds that running jobs may go on after the first signal."""
    isolation: str = attrs.field(default="process", validator=in_(("process", "inline")))
    """`inline` runs one job at a time in the worker's own process: for debugging, nothing can stop it."""
    max_jobs: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """End after so many jobs."""
    start_method: StartMethod = attrs.field(factory=default_start_method)
    """How a job's process begins."""
    economy: bool = False
    """Look at the timers once a minute: where commands are paid for, and a lost worker's job may wait for 90 s."""

    @classmethod
    def from_settings(cls, settings: Settings, *, burst: bool = False, max_jobs: int | None = None) -> Self:
        """Return what the settings say."""
        return cls(
            concurrency=settings.concurrency,
            memory_mb=settings.memory_mb,
            drain_s=settings.drain_s,
            isolation=settings.isolation,
            economy=settings.economy,
            burst=burst,
            max_jobs=max_jobs,
        )

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return 1 if self.isolation == "inline" else self.concurrency or available_cores()

    @property
    def budget_mb(self) -> int:
        """MiB for all of them."""
        return self.memory_mb or max(1, int(MEMORY_SHARE * available_memory_mb()))


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory_mb() -> int:
    """Return MiB of the host, or of the container where that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # not Linux, another cgroup version, or "max"
            found.append(int(Path(path).read_text(encoding="ascii")))
    return min(found) >> 20
