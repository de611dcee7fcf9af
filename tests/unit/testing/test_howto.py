"""What the guide for adapter authors shows is what works."""

import re
from pathlib import Path

import pytest

from musproj.adapters.memory import MemoryAssetStore, MemoryJobQueue, MemoryJobStore, MemoryState
from musproj.domain.ledger import Rules
from musproj.ports.storage import Storage
from musproj.testing.clock import FakeClock

GUIDE = Path(__file__).parents[3] / "docs" / "howto" / "write-an-adapter.md"


@pytest.fixture(scope="module")
def shown():
    """Everything that the guide's blocks define, with the memory adapters for the floppy's."""
    names = {
        "FloppyDisk": MemoryState,
        "FloppyAssetStore": MemoryAssetStore,
        "FloppyJobStore": MemoryJobStore,
        "FloppyJobQueue": MemoryJobQueue,
    }
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        exec(block, names)
    return names


def test_a_forgotten_method_is_told(shown):
    assert Storage in shown["FloppyStorage"].__mro__
    with pytest.raises(TypeError, match="abstract"):
        shown["FloppyStorage"]()


def test_the_shown_fixtures_open_what_the_suites_need(shown):
    ledger = shown["open_floppy_ledger"](FakeClock(), Rules())
    for suite in ("TestFloppyJobs", "TestFloppyQueue"):
        assert shown[suite].open_ledger.__wrapped__(None) is shown["open_floppy_ledger"]
    shown["TestFloppyJobs"]().test_a_commit_is_repeatable(ledger)
    with pytest.raises(pytest.skip.Exception, match="first in"):
        shown["TestFloppyQueue"]().test_priority_then_time_then_id()


def test_the_shown_machine_runs(shown):
    machine = shown["FloppyMachine"]()
    machine.start_with_two_assets()
    machine.both_show_the_same()
    machine.teardown()


def test_every_power_is_in_the_guide(shown):
    ledger = shown["open_floppy_ledger"](FakeClock(), Rules())
    text = GUIDE.read_text()
    for power in ("again", "cut_off", "plant_version"):
        assert getattr(ledger, power) is None
        assert f"`Ledger.{power}`" in text
