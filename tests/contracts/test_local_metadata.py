"""The SQLite adapters pass what every adapter must."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from musproj.adapters.local import rows
from musproj.adapters.local.accounts import LocalAccounts
from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.local.queue import LocalJobQueue
from musproj.domain.asset import Asset
from musproj.domain.ledger import Rules
from musproj.domain.version import Version
from musproj.testing.clock import FakeClock
from musproj.testing.jobs import JobStoreContract
from musproj.testing.ledger import Ledger, OpenLedger
from musproj.testing.metadata import AssetStoreContract
from musproj.testing.queue import JobQueueContract


def open_local(clock: FakeClock, rules: Rules, *, path: Path, stack: ExitStack) -> Ledger:
    database = stack.enter_context(LocalDatabase.open(path, clock=clock))

    def plant(asset: Asset, version: Version) -> None:
        database.write(partial(rows.insert_version, asset=asset, version=version, job_id=None, moves_head=False))

    return Ledger(
        clock=clock,
        rules=rules,
        assets=LocalAssetStore(database, clock),
        jobs=LocalJobStore(database, clock, rules),
        queue=LocalJobQueue(database, clock, rules),
        accounts=LocalAccounts(database, clock),
        again=lambda: open_local(clock, rules, path=path, stack=stack),
        cut_off=database.close,
        plant_version=plant,
    )


class Local:
    @pytest.fixture
    def open_ledger(self, tmp_path: Path) -> Iterator[OpenLedger]:
        with ExitStack() as stack:
            yield lambda clock, rules: open_local(
                clock, rules, path=tmp_path / f"{len(list(tmp_path.iterdir()))}.db", stack=stack
            )


class TestLocalAssetStore(Local, AssetStoreContract):
    pass


class TestLocalJobStore(Local, JobStoreContract):
    pass


class TestLocalJobQueue(Local, JobQueueContract):
    pass
