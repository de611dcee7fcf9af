"""A process beside the supervisor, which waits for none."""

import os
import signal
from contextlib import suppress

import attrs


@attrs.define(kw_only=True, eq=False)
class SideProcess:
    """At most one child process at a time."""

    pid: int | None = None
    """None: none runs that is known of."""

    def is_running(self) -> bool:
        """Tell whether it runs; one that has ended is reaped."""
        if self.pid is None:
            return False
        with suppress(ChildProcessError):
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                return True
        self.pid = None
        return False

    def kill(self) -> None:
        """Kill it where it runs, and reap it."""
        if self.pid is None:
            return
        with suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.pid = None
