from datetime import UTC, datetime, timedelta

import pytest

from musproj.testing.clock import NOON, FakeClock


def test_it_stands_still_until_it_is_moved():
    clock = FakeClock()
    assert clock.now() == clock.now() == NOON
    assert clock.advance(1.5) == clock.now() == NOON + timedelta(seconds=1.5)
    assert clock.advance(timedelta(hours=1)) == NOON + timedelta(hours=1, seconds=1.5)


def test_it_shows_whole_milliseconds():
    clock = FakeClock(datetime(2026, 1, 1, microsecond=1999, tzinfo=UTC))
    assert clock.now().microsecond == 1000
    clock.advance(0.0019)
    assert clock.now().microsecond == 2000
    clock.set(NOON.replace(microsecond=7))
    assert clock.now() == NOON


def test_only_set_goes_back():
    clock = FakeClock()
    with pytest.raises(ValueError, match="set"):
        clock.advance(-1)
    clock.set(NOON - timedelta(hours=1))
    assert clock.now() == NOON - timedelta(hours=1)
