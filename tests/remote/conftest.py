"""Installations of every kind before the same fakes, under one clock that only tests move."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from musproj.testing.clock import FakeClock
from musproj.testing.fakes import FakeServices
from musproj.testing.remote import RemoteHarness, clock_of, open_with

MEMORY = {"storage": "memory:", "metadata": "memory:", "queue": "memory:"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fakes(clock) -> Iterator[FakeServices]:
    with FakeServices(clock=clock_of(clock)) as fakes:
        yield fakes


@pytest.fixture
def open_harness(clock, fakes, tmp_path, request) -> Iterator[Callable[..., RemoteHarness]]:
    """Give a function that opens an installation: `memory`, `sqlite` or `redis`, with more settings."""
    with ExitStack() as stack:

        def open_one(kind: str = "memory", **settings) -> RemoteHarness:
            folder = tmp_path / uuid4().hex[:8]
            folder.mkdir()
            stores = dict(MEMORY) if kind == "memory" else {"storage": "memory:"}
            if kind == "redis":
                name = uuid4().hex[:8]
                stores |= {
                    "redis_url": request.getfixturevalue("redis_server").url,
                    "redis_prefix": f"{name}:",
                    "queue_name": f"audio-jobs-{name}",
                }
            mp = stack.enter_context(open_with(fakes, clock, folder, **{**stores, **settings}))
            return RemoteHarness(mp=mp, fakes=fakes, clock=clock, folder=folder, is_one_poller=kind == "redis")

        yield open_one


@pytest.fixture
def harness(open_harness) -> RemoteHarness:
    """Give the memory installation."""
    return open_harness()
