"""The worker process beside the API: started, started again when it dies, drained with it."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a dead worker is started again; doubled each time."""
STEADY = 60.0
"""A worker that lived this long begins with the first pause again."""


class Companion:
    """One `musproj work` as a process of its own session, so that a Ctrl-C on the terminal reaches it through us."""

    def __init__(self, flags: Sequence[str]) -> None:
        """Prepare the command line; nothing runs yet."""
        self._command = [sys.executable, "-m", "musproj", "work", *flags, "--parent", str(os.getpid())]
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        # Re-entrant: a signal may come, and ask for a drain, while this very thread starts the process.
        self._lock = threading.RLock()
        self._watcher = threading.Thread(target=self._watch, name="musproj-companion", daemon=True)

    @property
    def pid(self) -> int | None:
        """The number of the present process; None before the start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the worker, and look after it from now on."""
        self._launch()
        self._watcher.start()

    def drain(self) -> None:
        """Tell the worker to drain; told again, it hands its jobs back at once."""
        self._ending.set()
        with self._lock, suppress(ProcessLookupError):
            if self._process is not None:
                self._process.send_signal(signal.SIGTERM)

    def end(self, timeout: float) -> None:
        """Drain the worker, unless that was begun, and kill it if it is not over in `timeout` seconds."""
        if not self._ending.is_set():
            self.drain()
        if self._process is None:
            return
        self._watcher.join(timeout)
        if self._watcher.is_alive():
            self._process.kill()

    def _launch(self) -> None:
        with self._lock:
            if self._ending.is_set():
                return
            # Its lines go to stderr: stdout belongs to what the API says.
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                self._command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True
            )
            if self._ending.is_set():
                self._process.send_signal(signal.SIGTERM)

    def _watch(self) -> None:
        pause = FIRST_PAUSE
        while self._process is not None:
            began = time.monotonic()
            code = self._process.wait()
            if self._ending.is_set():
                return
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY else pause
            log.error(
                "The worker ended (%s); it starts again in %.0f s.",
                _in_words(code),
                pause,
                extra={"action": "worker_died", "exit_code": code},
            )
            self._ending.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            self._launch()


def _in_words(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
