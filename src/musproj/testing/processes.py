"""Servers as child processes: on free ports of this host, and gone when the test is, however it ends."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"
STARTING_S = 30.0
ENDING_S = 10.0
POLL_S = 0.02

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h."""


def free_ports(count: int = 1) -> list[int]:
    """Return ports that nobody listens on now, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def start(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a program whose output goes to `log`; on Linux it dies with the thread that started it."""
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603 - the caller's own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            cwd=cwd,
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 - it takes no lock
        )


def stop(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    """End a program and reap it; one that has ended already, too."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)  # a paused one would not hear the other
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    try:
        process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_up(is_up: Callable[[], bool], processes: Sequence[subprocess.Popen[bytes]], log: Path) -> None:
    """Return as soon as `is_up`; an `OSError` of it means not yet.

    Raises:
        RuntimeError: a process ended, or it took too long; with the end of `log`.
    """
    deadline = time.monotonic() + STARTING_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            if is_up():
                return
        if any(process.poll() is not None for process in processes):
            break
        time.sleep(POLL_S)
    raise RuntimeError(f"The server does not come up:\n{log.read_text(encoding='utf-8', errors='replace')[-4000:]}")


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def preexec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return preexec
