"""Random histories: SQLite answers and keeps what the memory adapter, the model, does."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from musproj.adapters.local.accounts import LocalAccounts
from musproj.adapters.local.assets import LocalAssetStore
from musproj.adapters.local.database import LocalDatabase
from musproj.adapters.local.jobs import LocalJobStore
from musproj.adapters.local.queue import LocalJobQueue
from musproj.domain.ledger import Rules
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger
from musproj.testing.machine import LedgerMachine


class SqliteMachine(LedgerMachine):
    def open_subject(self, clock: FakeClock, rules: Rules) -> Ledger:
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        database = self.stack.enter_context(LocalDatabase.open(Path(folder, "machine.db"), clock=clock))
        return Ledger(
            clock=clock,
            rules=rules,
            assets=LocalAssetStore(database, clock),
            jobs=LocalJobStore(database, clock, rules),
            queue=LocalJobQueue(database, clock, rules),
            accounts=LocalAccounts(database, clock),
        )

    def teardown(self) -> None:
        self.stack.close()


TestSqlite: Any = SqliteMachine.TestCase
