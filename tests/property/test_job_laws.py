"""Random histories: the laws hold on the memory adapter, which is the model of all others."""

from typing import Any

from musproj.domain.ledger import Rules
from musproj.testing.clock import FakeClock
from musproj.testing.ledger import Ledger
from musproj.testing.machine import LedgerMachine, open_model


class MemoryMachine(LedgerMachine):
    def open_subject(self, clock: FakeClock, rules: Rules) -> Ledger:
        return open_model(clock, rules)


TestMemory: Any = MemoryMachine.TestCase
