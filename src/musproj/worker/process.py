"""A job's process as its supervisor holds it: started, looked at, stopped, reaped."""

import os
import signal
import socket
from contextlib import suppress

import attrs

from musproj.worker import memory
from musproj.worker.board import Board
from musproj.worker.line import Inbox


@attrs.frozen
class Exit:
    """How a process ended."""

    signal: int | None
    """The signal that killed it, or None."""
    code: int
    """Its exit code, where no signal did."""
    peak_bytes: int
    """The most memory it ever held."""

    def __str__(self) -> str:
        """Return it in words."""
        if self.signal is None:
            return f"exit code {self.code}"
        with suppress(ValueError):
            return signal.Signals(self.signal).name
        return f"signal {self.signal}"


@attrs.define(kw_only=True, eq=False)
class ChildProcess:
    """One process, the leader of a process group of its own."""

    pid: int
    line: socket.socket
    board: Board
    pidfd: int | None
    """Readable once the process has ended; None where the system has no such thing."""
    inbox: Inbox = attrs.field(factory=Inbox)
    _ended: Exit | None = attrs.field(default=None, init=False)

    def terminate(self) -> None:
        """Ask the group to end; the job's own process ignores it, programs that it started may not."""
        _signal_group(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the group, and descendants that left it."""
        others = memory.descendants(self.pid)
        _signal_group(self.pid, signal.SIGKILL)
        for pid in others:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Tell whether the process has ended."""
        return self._wait(os.WNOHANG) is not None

    def reap(self) -> Exit:
        """Wait for the end, kill what is left of the group, and free everything."""
        ended = self._wait(0)
        assert ended is not None
        _signal_group(self.pid, signal.SIGKILL)
        self._free()
        return ended

    def _wait(self, options: int) -> Exit | None:
        if self._ended is None:
            pid, status, usage = os.wait4(self.pid, options)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                peak = memory.peak_bytes(usage)
                self._ended = Exit(signal=-code if code < 0 else None, code=code, peak_bytes=peak)
        return self._ended

    def _free(self) -> None:
        self.line.close()
        self.board.close()
        if self.pidfd is not None:
            os.close(self.pidfd)


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when `pid` ends (Linux 5.3), or None."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _signal_group(pid: int, number: int) -> None:
    # EPERM: on macOS a group whose last process is a zombie.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
