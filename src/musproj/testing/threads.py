"""Many calls at one moment."""

import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""No call of a suite takes this long on any machine."""


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Start all `calls` together, each in a thread of its own; return their results in the same order."""
    barrier = threading.Barrier(len(calls), timeout=PATIENCE_SECONDS)

    def run(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with _restless(), ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(PATIENCE_SECONDS) for future in [pool.submit(run, call) for call in calls]]


@contextmanager
def _restless() -> Generator[None]:
    """Let the interpreter switch threads so often that a race shows within a few rounds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def error_of(call: Callable[[], object], expected: type[Exception]) -> Exception | None:
    """Return the expected error of `call`, or None where it succeeds."""
    try:
        call()
    except expected as exc:
        return exc
    return None
