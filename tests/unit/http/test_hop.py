"""From the loop into threads and back."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from musproj.errors import BackendUnavailableError, StorageFullError
from musproj.http.hop import Pool, Pools

WHO: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool("test", 4)
    yield pool
    pool.close()


@pytest.fixture
def pools() -> Iterator[Pools]:
    pools = Pools(bucket_seconds=0.3)
    yield pools
    pools.close()


def raising(error: Exception):
    def call():
        raise error

    return call


def test_a_call_runs_in_a_thread_with_the_callers_context(pool):
    async def main():
        WHO.set("me")
        return await pool.run(lambda: (WHO.get(), threading.current_thread().name))

    who, thread = asyncio.run(main())

    assert who == "me"
    assert thread.startswith("musproj-test-")


def test_what_a_call_sets_stays_there(pool):
    async def main():
        await pool.run(lambda: WHO.set("other"))
        return WHO.get()

    assert asyncio.run(main()) == "nobody"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit()])
def test_an_error_arrives_where_the_call_is_awaited(pool, error):
    async def main():
        try:
            await pool.run(raising(error))
        except BaseException as exc:  # noqa: BLE001 - those too
            return exc
        return None

    assert asyncio.run(main()) is error


def test_a_stop_iteration_arrives_as_the_bug_that_it_is(pool):
    async def main():
        await pool.run(lambda: next(iter(())))

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(main())


def test_no_more_threads_than_allowed_run_calls_at_once(pool):
    running, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    async def main():
        await asyncio.gather(*(pool.run(work) for _ in range(40)))

    asyncio.run(main())

    assert most == 4


def test_one_call_after_another_needs_one_thread(pool):
    async def main():
        return {await pool.run(threading.get_ident) for _ in range(20)}

    assert len(asyncio.run(main())) == 1


def test_a_call_that_nobody_waits_for_is_not_begun(pool):
    begun = []

    async def main():
        blocked = [pool.run(lambda: time.sleep(0.1)) for _ in range(4)]
        given_up = pool.run(lambda: begun.append(1))
        given_up.cancel()
        await asyncio.gather(*blocked)
        await pool.run(lambda: None)

    asyncio.run(main())

    assert begun == []


def test_a_call_that_outlives_its_loop_harms_nobody(pool):
    released = threading.Event()

    async def leave():
        pool.run(released.wait).cancel()
        await asyncio.sleep(0)

    asyncio.run(leave())
    released.set()

    async def main():
        return await pool.run(lambda: 7)

    assert asyncio.run(main()) == 7


# ── the bucket ──


def test_a_call_on_the_bucket_has_two_tries(pools):
    tries = []

    def flaky():
        tries.append(1)
        if len(tries) == 1:
            raise BackendUnavailableError
        return "there"

    assert asyncio.run(pools.run_on_bucket(flaky)) == "there"


@pytest.mark.parametrize(
    ("error", "count"), [(BackendUnavailableError(), 2), (StorageFullError(), 1), (ValueError(), 1)]
)
def test_a_call_that_fails_again_has_failed(pools, error, count):
    tries = []

    def failing():
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        asyncio.run(pools.run_on_bucket(failing))

    assert len(tries) == count


def test_a_slow_bucket_is_given_up_in_time_and_delays_no_record(pools):
    released = threading.Event()

    async def main():
        slow = [asyncio.create_task(pools.run_on_bucket(released.wait)) for _ in range(64)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await pools.metadata.run(lambda: None)
        took = time.monotonic() - began
        outcomes = await asyncio.gather(*slow, return_exceptions=True)
        released.set()
        return took, outcomes, time.monotonic() - began

    took, outcomes, all_of_it = asyncio.run(main())

    assert took < 0.1
    assert {type(outcome) for outcome in outcomes} == {BackendUnavailableError}
    assert all_of_it < 2
