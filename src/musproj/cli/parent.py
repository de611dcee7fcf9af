"""A process that ends with the one that started it."""

import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
"""prctl(2)."""
LOOK_SECONDS = 1.0


def drain_with(parent: int) -> None:
    """Send this process SIGTERM as soon as process `parent` has ended, however it ended."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above
            os.kill(os.getpid(), signal.SIGTERM)
    else:
        threading.Thread(target=_look_after, args=(parent,), daemon=True).start()


def _look_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
