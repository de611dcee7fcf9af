"""An opened database in a folder of its own, and its stores as one installation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from musproj.adapters.local.accounts import LocalAccounts
from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.local.queue import LocalJobQueue
from musproj.domain.ledger import Rules
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "musproj.db"


@pytest.fixture
def database(path: Path, clock: FakeClock) -> Iterator[LocalDatabase]:
    with LocalDatabase.open(path, clock=clock) as opened:
        yield opened


@pytest.fixture
def ledger(database: LocalDatabase, clock: FakeClock) -> Ledger:
    return ledger_of(database, clock)


def ledger_of(database: LocalDatabase, clock: FakeClock, rules: Rules | None = None) -> Ledger:
    rules = rules or Rules()
    return Ledger(
        clock=clock,
        rules=rules,
        assets=LocalAssetStore(database, clock),
        jobs=LocalJobStore(database, clock, rules),
        queue=LocalJobQueue(database, clock, rules),
        accounts=LocalAccounts(database, clock),
    )
