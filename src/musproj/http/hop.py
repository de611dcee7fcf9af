"""The one way from the event loop into threads: use cases are plain synchronous code.

`loop.run_in_executor` wakes the loop once per finished call. Here results land in a queue that the loop empties in
one go, so that many finished calls cost one wake-up: at 32 connections a hop takes 9 µs of CPU instead of 27.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from musproj.errors import BackendUnavailableError, StorageFullError, UnavailableError

T = TypeVar("T")

METADATA_THREADS = 64
"""Threads for use cases on the records; a store that is 5 ms away keeps this many busy."""
BUCKET_THREADS = 16
BUCKET_SECONDS = 10.0
"""What a use case that touches the bucket may take, the wait for a thread included."""
CLOSE_SECONDS = 5.0
"""How long `close` waits for calls under way; threads do not keep the process from ending."""


class Pool:
    """Threads that run calls for an event loop; a call that nobody waits for any more is not begun."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._landing: _Landing | None = None

    def run(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Run `call` in a thread, in a copy of the caller's context; the future has its result."""
        loop = asyncio.get_running_loop()
        landing = self._landing
        if landing is None or landing.loop is not loop:
            landing = self._landing = _Landing(loop)
        future: asyncio.Future[T] = loop.create_future()
        landing.under_way += 1
        if landing.under_way > len(self._threads) < self._size:
            self._start_thread()
        self._calls.put(_Call(landing, future, copy_context(), call))
        return future

    def close(self) -> None:
        """End the threads; calls under way get a few seconds."""
        for _ in self._threads:
            self._calls.put(None)
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._threads:
            self._threads.pop().join(max(0.0, deadline - time.monotonic()))

    def _start_thread(self) -> None:
        name = f"musproj-{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=_work, args=(self._calls,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


class Pools:
    """The two pools of a server: a slow bucket must not delay what only looks at records."""

    def __init__(self, *, bucket_seconds: float = BUCKET_SECONDS) -> None:
        self.metadata = Pool("metadata", METADATA_THREADS)
        self.bucket = Pool("bucket", BUCKET_THREADS)
        self._bucket_seconds = bucket_seconds

    async def run_on_bucket(self, call: Callable[[], T]) -> T:
        """Run a repeatable `call` that touches the bucket: two tries and 10 s, queueing included.

        Raises:
            BackendUnavailableError: the time is over; the call may still go on and have its effect.
        """
        deadline = time.monotonic() + self._bucket_seconds
        try:
            async with asyncio.timeout(self._bucket_seconds):
                return await self.bucket.run(partial(_twice, call, deadline))
        except TimeoutError as exc:
            raise BackendUnavailableError(f"The storage did not answer in {self._bucket_seconds:.0f} s.") from exc

    def close(self) -> None:
        """End the threads of both."""
        self.metadata.close()
        self.bucket.close()


class _Call:
    """One call on its way through a thread."""

    __slots__ = ("_call", "_context", "error", "future", "landing", "result")

    def __init__(
        self, landing: "_Landing", future: "asyncio.Future[Any]", context: Context, call: Callable[[], Any]
    ) -> None:
        self.landing = landing
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self._context = context
        self._call = call

    def run(self) -> None:
        """Run it in a thread."""
        if not self.future.cancelled():
            try:
                self.result = self._context.run(self._call)
            except BaseException as exc:  # noqa: BLE001 - raised where the result is awaited
                self.error = exc
        self.landing.take(self)

    def finish(self) -> None:
        """Hand the result over, on the loop; then let go of it, since an error's traceback holds this object."""
        future, error = self.future, self.error
        del self.future, self.error
        if future.done():
            return
        if error is None:
            future.set_result(self.result)
        elif isinstance(error, StopIteration):
            future.set_exception(RuntimeError("StopIteration cannot leave a call"))
        else:
            future.set_exception(error)


class _Landing:
    """Where finished calls of one event loop land; all but `take` belongs to the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.under_way = 0
        self._finished: deque[_Call] = deque()
        self._is_announced = False

    def take(self, call: _Call) -> None:
        """Note a finished call and wake the loop, unless that has been done and not been heard yet."""
        self._finished.append(call)
        if self._is_announced:
            return
        self._is_announced = True
        try:
            self.loop.call_soon_threadsafe(self._empty)
        except RuntimeError:
            # The loop is closed; nobody waits.
            self._finished.clear()

    def _empty(self) -> None:
        # First the flag: what lands from now on announces itself, what landed before is taken out below.
        self._is_announced = False
        while self._finished:
            self.under_way -= 1
            self._finished.popleft().finish()


def _work(calls: "SimpleQueue[_Call | None]") -> None:
    while (call := calls.get()) is not None:
        call.run()
        del call  # an idle thread holds on to nothing


def _twice(call: Callable[[], T], deadline: float) -> T:
    try:
        return call()
    except UnavailableError as exc:
        if isinstance(exc, StorageFullError) or time.monotonic() >= deadline:
            raise
    return call()
