"""What an API process does beside answering: the look at the timers, and the look after uploads."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from musproj.errors import MusProjError
from musproj.http.site import Site

log = logging.getLogger(__name__)

TICK_SECONDS = (12.0, 14.5)
"""A lost lease is noticed within 15 s of its end; the spread keeps several processes apart."""
SWEEP_SECONDS = (14.0, 16.0)


@asynccontextmanager
async def chores(site: Site) -> AsyncGenerator[None]:
    """Do the chores of a server while the context lasts; their blocking calls run in the pools."""
    mp, pools = site.mp, site.pools
    tasks = [
        asyncio.create_task(_repeat("tick", TICK_SECONDS, lambda: pools.metadata.run(mp.metadata.jobs.tick))),
        asyncio.create_task(_repeat("sweep", SWEEP_SECONDS, lambda: pools.bucket.run(mp.uploads.sweep))),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(name: str, seconds: tuple[float, float], chore: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await chore()
        except MusProjError as exc:
            log.warning("The %s failed: %s", name, exc, extra={"action": "chore_failed", "chore": name})
        except Exception:
            log.exception("The %s failed.", name, extra={"action": "chore_failed", "chore": name})
        await asyncio.sleep(random.uniform(*seconds))  # noqa: S311 - spread, no secret
