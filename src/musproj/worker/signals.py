"""SIGTERM and SIGINT as something a selector can wait for."""

import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Self

STOPPING = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Counts requests to stop while it is entered; what was installed before comes back at the exit.

    Only the main thread can take signals; in another one nothing is installed and nothing ever comes.
    """

    def __init__(self, *, heeds_alarm: bool = False) -> None:
        """Install nothing yet; `heeds_alarm` takes SIGALRM too, by which a carrier says that its time is over."""
        self.count = 0
        self.is_time_over = False
        self._heeds_alarm = heeds_alarm
        self._before: dict[int, Any] = {}
        self._woken, self._waking = socket.socketpair()
        for end in (self._woken, self._waking):
            end.settimeout(0)

    def __enter__(self) -> Self:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            self._wakeup_before = signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
            for number in STOPPING:
                self._before[number] = signal.signal(number, self._note)
            if self._heeds_alarm:
                # Its own handler raises an exception, in whatever line is executed then.
                self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._note_alarm)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put back what was there."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._before:
            signal.set_wakeup_fd(self._wakeup_before)
        self._woken.close()
        self._waking.close()

    def fileno(self) -> int:
        """Return what becomes readable when a signal has come."""
        return self._woken.fileno()

    @property
    def descriptors(self) -> tuple[int, int]:
        """What a child must not hold open."""
        return self._woken.fileno(), self._waking.fileno()

    def drain(self) -> None:
        """Take the bytes that woke the selector."""
        try:
            while self._woken.recv(64):
                pass
        except BlockingIOError:
            return

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def _note_alarm(self, _number: int, _frame: FrameType | None) -> None:
        self.is_time_over = True
