"""The memory adapter passes what every adapter must."""

from collections.abc import Callable

import pytest

from musproj.adapters.memory import MemoryAssetStore, MemoryJobQueue, MemoryJobStore, MemoryState, MemoryStorage
from musproj.adapters.memory.accounts import MemoryAccounts
from musproj.domain.asset import Asset
from musproj.domain.ledger import Rules
from musproj.domain.version import Version
from musproj.ports.storage import Storage
from musproj.testing.clock import FakeClock
from musproj.testing.jobs import JobStoreContract
from musproj.testing.ledger import Ledger, OpenLedger
from musproj.testing.metadata import AssetStoreContract
from musproj.testing.queue import JobQueueContract
from musproj.testing.storage_contract import StorageContract


def open_memory(
    clock: FakeClock, rules: Rules, state: MemoryState | None = None, accounts: MemoryAccounts | None = None
) -> Ledger:
    state = state or MemoryState()
    accounts = accounts or MemoryAccounts(state, clock)

    def plant(asset: Asset, version: Version) -> None:
        state.versions[asset.asset_id][version.number] = version

    return Ledger(
        clock=clock,
        rules=rules,
        assets=MemoryAssetStore(state, clock),
        jobs=MemoryJobStore(state, clock, rules),
        queue=MemoryJobQueue(state, clock, rules),
        accounts=accounts,
        again=lambda: open_memory(clock, rules, state, accounts),
        plant_version=plant,
    )


class Memory:
    @pytest.fixture
    def open_ledger(self) -> OpenLedger:
        return open_memory


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage(FakeClock())

    @pytest.fixture
    def reopened(self, storage: Storage) -> Callable[[], Storage]:
        return lambda: storage


class TestMemoryAssetStore(Memory, AssetStoreContract):
    pass


class TestMemoryJobStore(Memory, JobStoreContract):
    race_rounds = 1000


class TestMemoryJobQueue(Memory, JobQueueContract):
    pass
