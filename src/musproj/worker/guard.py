"""A tiny process that outlives its supervisor by a moment, to kill what the supervisor cannot any more.

On Linux the kernel kills a job's own process with its supervisor, but not the programs that it started, and
other systems kill nothing at all. The guard holds the other end of a pipe: when that closes without a good-bye, the
groups that were named on it go.
"""

import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

from musproj.worker.fork import fork
from musproj.worker.strays import kill_marked


class Guard:
    """The supervisor's end of the pipe."""

    __slots__ = ("_pid", "_pipe")

    def __init__(self) -> None:
        """Start the process; do it before anything big is loaded."""
        reading, self._pipe = os.pipe()
        self._pid = fork(lambda: _watch(reading), closing=(self._pipe,))
        os.close(reading)

    @property
    def pid(self) -> int:
        """The guard's process."""
        return self._pid

    @property
    def descriptor(self) -> int:
        """What every other child must close, or the guard never sees the end."""
        return self._pipe

    def add(self, group: int, temporary: Path) -> None:
        """Have a process group, and all that uses its `temporary` folder, killed when the supervisor vanishes."""
        self._tell(f"+{group} {temporary}\n")

    def remove(self, group: int) -> None:
        """Forget a group that has ended: its number may become somebody else's."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the guard; what it watches by then is killed."""
        os.close(self._pipe)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _tell(self, text: str) -> None:
        # A guard that was killed leaves the kernel's own ways; the supervisor goes on.
        with suppress(BrokenPipeError):
            os.write(self._pipe, text.encode())


def _watch(reading: int) -> None:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    # It uses nothing of what it inherited, and must not be why somebody else waits for an end.
    os.closerange(3, reading)
    os.closerange(reading + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with os.fdopen(reading, encoding="utf-8") as pipe:
        groups: dict[int, str] = {}
        for line in pipe:
            number, _, temporary = line[1:].rstrip("\n").partition(" ")
            if line[0] == "+":
                groups[int(number)] = temporary
            else:
                groups.pop(int(number), None)
    for group in groups:
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    kill_marked(groups.values())
