"""Long polls: many held requests, one subscription, no thread parked."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from functools import partial

import attrs

from musproj.domain.ids import JobId, Owner
from musproj.domain.job import Job
from musproj.errors import MusProjError
from musproj.http.hop import Pool
from musproj.ports.changes import ChangeFeed
from musproj.ports.jobs import JobStore

log = logging.getLogger(__name__)

REST_SECONDS = 0.02
"""Between two looks at the watched jobs, however fast the store changes: bounds the reads, and the delay too."""

LINGER_SECONDS = 30.0

Key = tuple[Owner, JobId]


@attrs.frozen(eq=False)
class _Hold:
    """One held request."""

    is_enough: Callable[[Job], bool]
    future: "asyncio.Future[Job | MusProjError | None]"


class JobWatcher:
    """Tells held requests when their job has changed; used on one event loop.

    While somebody waits, one task asks the store's change feed and, after a change, reads each watched job once,
    all in one hop. While nobody waits, nothing runs.
    """

    def __init__(self, jobs: JobStore, pool: Pool) -> None:
        self._jobs = jobs
        self._pool = pool
        self._holds: dict[Key, set[_Hold]] = {}
        self._is_dirty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    async def wait_for(
        self, owner: Owner, job_id: JobId, is_enough: Callable[[Job], bool], *, seconds: float
    ) -> Job | None:
        """Return the job as soon as it `is_enough`, or None when the time is over or the server stops.

        Raises:
            JobNotFoundError: the job is gone.
            BackendUnavailableError: the store cannot be reached.
        """
        if self._is_closing:
            return None
        hold = _Hold(is_enough, asyncio.get_running_loop().create_future())
        holds = self._holds.setdefault((owner, job_id), set())
        holds.add(hold)
        self._is_dirty.set()  # what changed since the caller read the job was perhaps heard before it was held
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="musproj-watch")
        try:
            async with asyncio.timeout(seconds):
                outcome = await hold.future
        except TimeoutError:
            return None
        finally:
            holds.discard(hold)
            if not holds and self._holds.get((owner, job_id)) is holds:
                del self._holds[owner, job_id]
        if isinstance(outcome, MusProjError):
            raise outcome
        return outcome

    def release(self) -> None:
        """Let every held request go at once: the server is about to stop."""
        self._is_closing = True
        for holds in self._holds.values():
            _settle(holds, None)

    async def close(self) -> None:
        """Let all go and end the subscription."""
        self.release()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        try:
            feed = self._jobs.listen()
            try:
                while self._holds or await self._is_wanted_again():
                    await self._until_changed(feed)
                    await self._look()
                    await asyncio.sleep(REST_SECONDS)
            finally:
                feed.close()
        except Exception:
            # Whoever is held gets the job as it is when the time is over; whoever comes next starts another task.
            log.exception("Watching jobs failed.", extra={"action": "watch_failed"})

    async def _is_wanted_again(self) -> bool:
        """Keep the feed open for a while, since clients that wait mostly wait again."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                return await self._is_dirty.wait()
        except TimeoutError:
            return bool(self._holds)

    async def _until_changed(self, feed: ChangeFeed) -> None:
        """Return when the feed has something, or somebody new waits."""
        descriptor = feed.fileno()
        if descriptor is not None:
            asyncio.get_running_loop().add_reader(descriptor, self._hear, descriptor)
        try:
            while not self._is_dirty.is_set() and not feed.poll():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(feed.interval):
                        await self._is_dirty.wait()
        finally:
            if descriptor is not None:
                asyncio.get_running_loop().remove_reader(descriptor)
        feed.poll()  # what it heard until now is answered by the reads that follow
        self._is_dirty.clear()

    def _hear(self, descriptor: int) -> None:
        # Once: it stays readable until the feed is polled, and would call again and again until then.
        asyncio.get_running_loop().remove_reader(descriptor)
        self._is_dirty.set()

    async def _look(self) -> None:
        """Read each watched job and settle who waited for what it has become."""
        outcomes = await self._pool.run(partial(_read, self._jobs, tuple(self._holds)))
        for key, outcome in outcomes:
            holds = self._holds.get(key, ())
            if isinstance(outcome, MusProjError):
                _settle(holds, outcome)
            else:
                _settle((hold for hold in holds if hold.is_enough(outcome)), outcome)


def _read(jobs: JobStore, keys: Iterable[Key]) -> list[tuple[Key, Job | MusProjError]]:
    outcomes: list[tuple[Key, Job | MusProjError]] = []
    for owner, job_id in keys:
        try:
            outcomes.append(((owner, job_id), jobs.get(owner, job_id)))
        except MusProjError as exc:
            outcomes.append(((owner, job_id), exc))
    return outcomes


def _settle(holds: Iterable[_Hold], outcome: Job | MusProjError | None) -> None:
    for hold in holds:
        if not hold.future.done():
            hold.future.set_result(outcome)
