"""What a server does beside answering."""

import asyncio
import logging

import pytest

from musproj.errors import BackendUnavailableError
from musproj.http import background
from musproj.http.app import create_app


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(background, "TICK_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(background, "SWEEP_SECONDS", (0.01, 0.02))


async def live(app, seconds):
    async with app.router.lifespan_context(app):
        await asyncio.sleep(seconds)


def test_a_server_looks_at_the_timers_and_after_uploads(api, often):
    ticks, sweeps = [], []
    store, uploads = api.mp.metadata.jobs, api.mp.metadata.assets
    tick, look = store.tick, uploads.uploads_to_look_at
    store.tick = lambda: ticks.append(1) or tick()
    uploads.uploads_to_look_at = lambda *args, **options: sweeps.append(1) or look(*args, **options)

    asyncio.run(live(create_app(api.mp), 0.3))

    assert len(ticks) > 2
    assert len(sweeps) > 2


@pytest.mark.parametrize("error", [BackendUnavailableError("away"), ZeroDivisionError("bug")])
def test_a_chore_that_fails_is_done_again(api, often, caplog, error):
    calls = []

    def failing():
        calls.append(1)
        raise error

    api.mp.metadata.jobs.tick = failing
    with caplog.at_level(logging.WARNING):
        asyncio.run(live(create_app(api.mp), 0.2))

    assert len(calls) > 2
    assert {record.action for record in caplog.records} == {"chore_failed"}


def test_an_app_may_leave_the_chores_to_others(api, often):
    api.mp.metadata.jobs.tick = lambda: pytest.fail("not asked for")

    asyncio.run(live(create_app(api.mp, background=False), 0.1))
