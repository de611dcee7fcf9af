"""Fork, and leave the child by the back door."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress

FAILED = 70
"""Exit code of a child whose body raised (EX_SOFTWARE of sysexits.h)."""


def fork(body: Callable[[], None], *, closing: Iterable[int] = ()) -> int:
    """Run `body` in a child that ignores SIGTERM and SIGINT, and return the child's pid.

    `closing` are descriptors of the parent that the child must not hold open. The child ends by `os._exit`: what
    it has inherited, such as the handles of a database, is never closed there, since that could release what its
    parent holds (SQLite, How To Corrupt A Database, section 2.6).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = FAILED
    try:
        _forget_parent(closing)
        body()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it must not unwind into the parent's frames
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _forget_parent(closing: Iterable[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in closing:
        with suppress(OSError):  # a connection that broke a moment ago
            os.close(descriptor)
