"""How the store's routes stay whole when a request is cancelled while a thread works for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Run(Protocol):
    """Runs a blocking call off the event loop."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """Return what `call` returns, or raise what it raises."""
        ...


async def hop(run: Run, call: Callable[[], T]) -> T:
    """Run `call` to its end, even if this task is cancelled meanwhile: a file must not be closed under a thread."""
    running = asyncio.ensure_future(run(call))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # looked at, so that nobody reports it as forgotten
        raise
